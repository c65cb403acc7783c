"""Rescale groups that were averaged on board with a divisor that is not the number of frames."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from processors.detector1.arrays import writable
from processors.options import Options
from processors.steps import NotApplicable, step
from schemas.meta import Meta
from schemas.products import Ramp
from schemas.references import References


class GroupScaleOptions(Options):
    """There are none."""


@step(options=GroupScaleOptions, status="S_GRPSCL")
def group_scale(ramp: Ramp, references: References, options: GroupScaleOptions) -> Ramp:
    """Multiply all groups by FRMDIVSR / NFRAMES.

    Frames are averaged on board by adding them up and dividing by a power of two (FRMDIVSR). Where their
    number (NFRAMES) is another one, the average is wrong by the ratio of the two.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN.
    references : References
        None are used.
    options : GroupScaleOptions
        None.

    Returns
    -------
    Ramp
        Float32.

    Raises
    ------
    NotApplicable
        If the two are equal, or FRMDIVSR is not known and NFRAMES is a power of two.
    """
    scale = _scale(ramp.meta)
    out = writable(ramp, "data")
    _multiply(out.data.reshape(-1, *out.data.shape[2:]), scale)
    return out


def _scale(meta: Meta) -> np.float32:
    nframes, divisor = meta.get("NFRAMES"), meta.get("FRMDIVSR")
    if not nframes:
        raise NotApplicable("the header does not say NFRAMES")
    if divisor is None and nframes & (nframes - 1) == 0:
        raise NotApplicable(f"NFRAMES = {nframes} is a power of two")
    if divisor is None:
        raise NotApplicable("the header does not say FRMDIVSR")
    if nframes == divisor:
        raise NotApplicable(f"NFRAMES and FRMDIVSR are both {nframes}")
    return np.float32(divisor / nframes)


@njit(cache=True, parallel=True)
def _multiply(frames, scale):
    for y in prange(frames.shape[1]):
        for k in range(frames.shape[0]):
            for x in range(frames.shape[2]):
                frames[k, y, x] *= scale
