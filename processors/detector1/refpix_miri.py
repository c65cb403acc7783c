"""Drifts of MIRI's four outputs, as the reference pixels at both ends of each row see them."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.detector1.clipping import clipped_mean
from processors.steps import NotApplicable
from schemas.dq import DQ
from schemas.products import Ramp

SHAPE = (1024, 1032)
"""Rows and columns of a MIRI detector."""
OUTPUTS = 4
"""Outputs, each of which reads every fourth column; its first and last one are reference pixels."""


def good_pixels(ramp: Ramp, parity: int) -> NDArray[np.bool_]:
    """Return which reference pixels count, as (row, output, left or right).

    Parameters
    ----------
    ramp : Ramp
        With PIXELDQ.
    parity : int
        2 where odd and even rows have drifts of their own, 1 where they share one.

    Raises
    ------
    NotApplicable
        If the exposure is a subarray, or an output has no good reference pixels on one of its sides.
    """
    if ramp.shape[2:] != SHAPE:
        raise NotApplicable("MIRI's subarrays are not corrected: they lack reference pixels on one side")
    good = (ramp.pixeldq & np.uint32(DQ.DO_NOT_USE)) == 0
    sides = np.stack([good[:, :OUTPUTS], good[:, -OUTPUTS:]], axis=-1)
    if not all(sides[p::parity].any(axis=0).all() for p in range(parity)):
        raise NotApplicable("one of the outputs has no good reference pixels on one of its sides")
    return sides


def correct(data: NDArray[np.float32], good: NDArray[np.bool_], parity: int, limit: float) -> None:
    """Subtract the outputs' drifts since the first group from integrations, in place.

    Parameters
    ----------
    data : ndarray of float32 (nint, ngroup, ny, nx)
        DN.
    good : ndarray of bool (ny, 4, 2)
        As `good_pixels` returns it.
    parity : int
        As in `good_pixels`.
    limit : float
        Reference pixels farther from their mean, in standard deviations, are left out.
    """
    for integration in data:
        drifts = np.zeros((len(integration), parity, OUTPUTS))
        _drifts(integration, good, limit, drifts)
        _subtract(integration, drifts)


@njit(cache=True, parallel=True)
def _drifts(data, good, limit, drifts):
    ngroup, ny, nx = data.shape
    parity = drifts.shape[1]
    for g in prange(1, ngroup):
        values = np.empty(ny)
        for p in range(parity):
            for output in range(OUTPUTS):
                total = 0.0
                for side in range(2):
                    x = output if side == 0 else nx - OUTPUTS + output
                    n = 0
                    for y in range(p, ny, parity):
                        change = np.float32(data[g, y, x] - data[0, y, x])
                        if good[y, output, side] and np.isfinite(change):
                            values[n] = change
                            n += 1
                    total += clipped_mean(values, n, limit)
                drifts[g, p, output] = 0.5 * total if np.isfinite(total) else 0.0


@njit(cache=True, parallel=True)
def _subtract(data, drifts):
    ngroup, ny, nx = data.shape
    parity = drifts.shape[1]
    for y in prange(ny):
        for g in range(1, ngroup):
            for x in range(nx):
                data[g, y, x] = np.float32(data[g, y, x] - drifts[g, y % parity, x % OUTPUTS])
