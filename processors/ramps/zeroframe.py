"""Rates of ramps that are saturated from their first group on, from the frame that was kept of it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps import gls, ols
from processors.ramps.covariance import Float32, PixelNoise, Pixels, ReadPattern


def without_groups(groupdq: NDArray[np.uint8], zeroframe: Float32) -> Pixels:
    """Return the pixels that have no unflagged group, and a value in the zero frame.

    Parameters
    ----------
    groupdq : ndarray (ngroup, ny, nx)
        Group flags.
    zeroframe : ndarray (ny, nx)
        DN; 0 where there is none.
    """
    rows, columns = np.nonzero((groupdq != 0).all(axis=0) & (zeroframe != 0) & np.isfinite(zeroframe))
    return rows, columns


def add_median_rate(rate: NDArray[np.float64], pixels: Pixels, zeroframe: Float32, time: float) -> None:
    """Add to the sum (ny, nx) of the integrations' median rates those of such pixels, in place."""
    rate[pixels] += zeroframe[pixels].astype(np.float64) / time


def fit_gls(
    found: gls.Slopes,
    pixels: Pixels,
    ramps: tuple[Float32, NDArray[np.uint8], Float32, NDArray[np.uint32]],
    pattern: ReadPattern,
    noise: PixelNoise,
    time: float,
) -> gls.Slopes:
    """Return slopes in which such pixels have the rate of their zero frame, with the noise of a single read.

    Parameters
    ----------
    found : Slopes
        Of all pixels; its arrays are changed.
    pixels : tuple of ndarray
        Rows and columns.
    ramps : tuple of ndarray
        Data and GROUPDQ (ngroup, ny, nx), zero frame and PIXELDQ (ny, nx).
    pattern : ReadPattern
        Of the groups.
    noise : PixelNoise
        Of all pixels.
    time : float
        When the zero frame was read, seconds after the reset.
    """
    data, groupdq, pixeldq = _gathered(pixels, ramps)
    # the later groups are flagged: their times only have to be later
    frames = ReadPattern.of_groups([[time], *([time * (2 + g)] for g in range(len(data) - 1))])
    made = gls.fit_slopes(
        data,
        groupdq,
        frames,
        noise.of_pixels(pixels),
        pixeldq=pixeldq,
        suppress_one_group=False,
        shares=found.shares is not None,
    )
    if made.shares is not None:
        ratio = np.divide(gls.whole_information(frames), gls.whole_information(pattern))
        made = replace(made, shares=made.shares * ratio[:, None, None].astype(np.float32))
    return _scattered(found, pixels, made)


def fit_ols(
    found: gls.Slopes,
    pixels: Pixels,
    ramps: tuple[Float32, NDArray[np.uint8], Float32, NDArray[np.uint32]],
    timing: ols.Timing,
    noise: PixelNoise,
    rate: NDArray[np.float64],
) -> gls.Slopes:
    """Return slopes in which such pixels have the rate of their zero frame, as the standard pipeline's.

    Parameters
    ----------
    found, pixels, ramps, noise
        As for `fit_gls`.
    timing : Timing
        Of the groups.
    rate : ndarray (ny, nx)
        Mean of the exposure's median rates, DN/s.
    """
    data, groupdq, pixeldq = _gathered(pixels, ramps)
    # a group whose mean time is that of the frame; the read noise stays that of a group
    frames = replace(timing, frame_time=2 * timing.frame_time / (timing.nframes + 1))
    made = ols.fit_slopes(
        data,
        groupdq,
        frames,
        noise.of_pixels(pixels),
        pixeldq=pixeldq,
        rate=rate[pixels][np.newaxis],
        suppress_one_group=False,
    )
    return _scattered(found, pixels, made)


def _gathered(pixels: Pixels, ramps: Any) -> tuple[Float32, NDArray[np.uint8], NDArray[np.uint32]]:
    """Return data, group flags (ngroup, 1, npixel) and pixel flags with the zero frame as first group."""
    data, groupdq, zeroframe, pixeldq = ramps
    values = np.ascontiguousarray(data[:, *pixels][:, np.newaxis], np.float32)
    flags = groupdq[:, *pixels][:, np.newaxis]
    values[0, 0], flags[0, 0] = zeroframe[pixels], 0
    return values, flags, pixeldq[pixels][np.newaxis]


def _scattered(found: gls.Slopes, pixels: Pixels, made: gls.Slopes) -> gls.Slopes:
    for field in fields(found):
        plane, new = getattr(found, field.name), getattr(made, field.name)
        if plane is not None:
            plane[..., *pixels] = new[..., 0, :]
    return found
