"""Subtract the bias that each pixel begins its ramp with."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from processors.detector1.arrays import image, writable
from processors.invalid import neutral
from processors.options import Options
from processors.steps import step
from schemas.dq import DQ
from schemas.products import Ramp
from schemas.references import References


class SuperbiasOptions(Options):
    """There are none."""


@step(options=SuperbiasOptions, references=("superbias",), status="S_SUPERB")
def superbias(ramp: Ramp, references: References, options: SuperbiasOptions) -> Ramp:
    """Subtract the superbias from all groups and from the zero frame, and add its flags to PIXELDQ.

    Where the reference has no finite value nothing is subtracted, and the pixel is UNRELIABLE_BIAS. Zero
    frame values of 0 mean that there is none, and stay.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN.
    references : References
        ``superbias``.
    options : SuperbiasOptions
        None.

    Returns
    -------
    Ramp
        Float32.

    Raises
    ------
    Unprocessable
        If the reference has no finite value.
    """
    bias, dq = neutral(image(references, "superbias", ramp), DQ.UNRELIABLE_BIAS)
    out = writable(ramp, "data", "pixeldq")
    np.bitwise_or(out.pixeldq, dq, out=out.pixeldq)
    subtract(out.data.reshape(-1, *bias.shape), bias, False)
    if out.zeroframe is not None:
        subtract(out.zeroframe, bias, True)
    return out


@njit(cache=True, parallel=True)
def subtract(frames, image, keep_zero):
    """Subtract an image from frames, in place.

    Parameters
    ----------
    frames : ndarray of float32 (nframe, ny, nx)
        Changed.
    image : ndarray of float32 (ny, nx)
        What is subtracted.
    keep_zero : bool
        Whether zeros stay.
    """
    for y in prange(frames.shape[1]):
        what = image[y]
        for k in range(frames.shape[0]):
            frame = frames[k, y]
            for x in range(frame.size):
                frame[x] -= np.float32(0) if keep_zero and frame[x] == 0 else what[x]
