"""How the detector was read, and what noise that gives: from an exposure's keywords and references."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from processors.invalid import require_values
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.references import References


def read_pattern(meta: Meta, ngroup: int) -> ReadPattern:
    """Return the read times of an exposure's groups.

    Parameters
    ----------
    meta : Meta
        NFRAMES, GROUPGAP, TFRAME and, where it is there, DRPFRMS1.
    ngroup : int
        Number of groups.

    Raises
    ------
    Unprocessable
        If a keyword is missing or makes no sense.
    """
    nframes, gap = int(meta.require("NFRAMES")), int(meta.require("GROUPGAP"))
    frame_time, dropped = float(meta.require("TFRAME")), int(meta.get("DRPFRMS1") or 0)
    if nframes < 1 or gap < 0 or dropped < 0 or not frame_time > 0 or not np.isfinite(frame_time):
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the product')}: NFRAMES = {nframes}, GROUPGAP = {gap}, "
            f"TFRAME = {frame_time} and DRPFRMS1 = {dropped} describe no readout; mend the header"
        )
    return _pattern(ngroup, nframes, gap, frame_time, dropped)


@lru_cache(maxsize=64)
def _pattern(ngroup: int, nframes: int, gap: int, frame_time: float, dropped: int) -> ReadPattern:
    return ReadPattern.regular(ngroup, nframes, gap, frame_time, dropped)


def pixel_noise(
    references: References, shape: tuple[int, ...], dark_current: np.ndarray | None = None, scale: float = 1.0
) -> PixelNoise:
    """Return the noise of each pixel.

    Parameters
    ----------
    references : References
        With ``gain`` (electrons per DN) and ``readnoise`` (DN, of a difference of two reads).
    shape : tuple of int
        (ny, nx) of the exposure.
    dark_current : ndarray of float32 (ny, nx), optional
        Average dark current in electrons per second, which was subtracted and left its noise.
    scale : float
        GAINFACT of data that were multiplied by it.

    Raises
    ------
    Unprocessable
        If a reference has other pixels, or no positive value.
    """
    gain, readnoise = references.image("gain"), references.image("readnoise")
    for reference in (gain, readnoise):
        if reference.data.shape != shape:
            raise Unprocessable(
                f"{reference.name}: this {reference.reftype} reference has shape {reference.data.shape}, the "
                f"exposure {shape}; give one of the exposure's subarray"
            )
        require_values(reference, reference.data, positive=True)
    electrons, noise = gain.data, readnoise.data
    if scale != 1.0:
        electrons, noise = electrons / np.float32(scale), noise * np.float32(scale)
    dark = None
    if dark_current is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            dark = np.where(electrons > 0, dark_current / electrons, 0).astype(np.float32)
    return PixelNoise(electrons, noise, dark)
