"""Correct the detector's non-linear response."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from processors.detector1.arrays import image, writable
from processors.invalid import INFINITE, require_values
from processors.options import Options
from processors.steps import step
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.products import Ramp
from schemas.references import ImageReference, References

NO_LIN_CORR = np.uint32(DQ.NO_LIN_CORR)
SATURATED = np.uint8(DQ.SATURATED)


class LinearityOptions(Options):
    """There are none."""


@step(options=LinearityOptions, references=("linearity",), status="S_LINEAR")
def linearity(ramp: Ramp, references: References, options: LinearityOptions) -> Ramp:
    """Replace each value by the reference's polynomial of it.

    ``F_c = c_0 + c_1 F + c_2 F^2 + ...``, pixel by pixel (JWST documentation, linearity step; Hilbert 2008,
    WFC3-2008-39). Saturated groups stay as they are. Pixels whose coefficients are flagged NO_LIN_CORR, not
    finite, or have no linear term stay too and get the flag NO_LIN_CORR. Zero frame values of 0 mean that
    there is none, and stay.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN above the bias.
    references : References
        ``linearity``, coefficients (ncoeff, ny, nx), lowest order first.
    options : LinearityOptions
        None.

    Returns
    -------
    Ramp
        Float32.

    Raises
    ------
    Unprocessable
        If the reference has no finite coefficient, or fewer than two for each pixel.
    """
    reference = image(references, "linearity", ramp)
    _check(reference)
    out = writable(ramp, "data", "pixeldq")
    frames = out.data.reshape(-1, *out.pixeldq.shape)
    flags = out.groupdq.reshape(frames.shape)
    bad = np.empty(out.pixeldq.shape, np.bool_)
    _find_bad(reference.data, reference.dq, bad)
    _flag_pixels(out.pixeldq, reference.dq, bad)
    _linearise(frames, flags, reference.data, bad)
    if out.zeroframe is not None:
        missing = np.where(out.zeroframe == 0, SATURATED, np.uint8(0))
        _linearise(out.zeroframe, missing, reference.data, bad)
    return out


def _check(reference: ImageReference) -> None:
    if reference.data.ndim != 3 or len(reference.data) < 2:
        raise Unprocessable(
            f"{reference.name}: this linearity reference has coefficients of shape {reference.data.shape}, "
            "where (ncoeff, ny, nx) with at least two are needed; give another file"
        )
    require_values(reference, reference.data)


@njit(cache=True, parallel=True)
def _find_bad(coefficients, dq, bad):
    ncoeff, ny, nx = coefficients.shape
    for y in prange(ny):
        row, flags, slope = bad[y], dq[y], coefficients[1, y]
        for x in range(nx):
            row[x] = ((flags[x] & NO_LIN_CORR) != 0) | (slope[x] == 0)
        for j in range(ncoeff):
            values = coefficients[j, y]
            for x in range(nx):
                row[x] |= not abs(values[x]) < INFINITE


@njit(cache=True, parallel=True)
def _flag_pixels(pixeldq, dq, bad):
    for y in prange(pixeldq.shape[0]):
        for x in range(pixeldq.shape[1]):
            pixeldq[y, x] |= dq[y, x] | (NO_LIN_CORR if bad[y, x] else np.uint32(0))


@njit(cache=True, parallel=True)
def _linearise(frames, flags, coefficients, bad):
    ncoeff, ny, nx = coefficients.shape
    for y in prange(ny):
        result = np.empty(nx, np.float32)
        constant, top, wrong = coefficients[0, y], coefficients[ncoeff - 1, y], bad[y]
        for k in range(frames.shape[0]):
            # one power at a time along the row, so that the compiler can vectorise it
            frame, flag = frames[k, y], flags[k, y]
            for x in range(nx):
                result[x] = top[x] * frame[x]
            for j in range(ncoeff - 2, 0, -1):
                factor = coefficients[j, y]
                for x in range(nx):
                    result[x] = (result[x] + factor[x]) * frame[x]
            for x in range(nx):
                stays = wrong[x] | ((flag[x] & SATURATED) != 0)
                frame[x] = frame[x] if stays else result[x] + constant[x]
