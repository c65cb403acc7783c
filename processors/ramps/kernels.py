"""What the kernels for single ramps share: from groups to differences, and the tridiagonal solution.

A ramp is described in a scratch array `w` of shape `(NSCRATCH, ngroup)`, allocated once per row of pixels.
Its rows are named by the constants here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.dq import DQ

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function; division by zero gives infinity, as in numpy, and costs no branch."""
    return cast(Function, njit(cache=True, error_model="numpy")(function))


def parallel_kernel(function: Function) -> Function:
    """Compile a function with parallel loops, otherwise as `kernel`."""
    return cast(Function, njit(cache=True, error_model="numpy", parallel=True)(function))


DNU = np.uint8(DQ.DO_NOT_USE)
SAT = np.uint8(DQ.SATURATED)
JUMP = np.uint8(DQ.JUMP_DET)
UNUSABLE = np.uint8(DNU | SAT)
"""Flags of which any makes a group one that no fit uses."""

D, DT, AP, AR, BP, BR, INV, L, V, U = range(10)
"""Rows of scratch: difference, its time span, the covariance's diagonal and lower off-diagonal (Poisson and
read-noise
parts), and of the factorisation the inverse pivots, multipliers and the two reduced right-hand sides."""
NSCRATCH = 10
TILE = 64
"""Pixels of a row whose groups are gathered into contiguous memory at a time."""


@kernel
def gather(data: Array, groupdq: Array, place: tuple[int, int], values: Array, flags: Array) -> int:
    """Copy a piece of a row of all groups to pixel-major order.

    Planes lie megabytes apart, so reading one pixel's groups directly would miss the cache at each.

    Parameters
    ----------
    data, groupdq : ndarray `(ngroup, ny, nx)`
        Ramps in DN and their flags.
    place : tuple of int
        Row and first column.
    values, flags : ndarray `(TILE, ngroup)`
        Written here.

    Returns
    -------
    int
        Number of pixels copied.
    """
    ngroup, _, nx = data.shape
    y, x0 = place
    n: int = min(values.shape[0], nx - x0)
    for g in range(ngroup):
        for k in range(n):
            values[k, g] = data[g, y, x0 + k]
            flags[k, g] = groupdq[g, y, x0 + k]
    return n


@kernel
def collect(values: Array, flags: Array, table: Array, w: Array, end: Array) -> tuple[int, int]:
    """Form the usable differences of one ramp.

    A group that is flagged DO_NOT_USE or not finite is left out and its neighbours are joined by one longer
    difference, so that only the bad group's own information is lost. A jump in a group makes the difference
    that ends there, or that spans it, unusable. The first saturated group ends the ramp.

    Parameters
    ----------
    values, flags : ndarray `(ngroup,)`
        DN and GROUPDQ.
    table : ndarray `(3, ngroup)`
        `ReadPattern.table`.
    w : ndarray `(NSCRATCH, ngroup)`
        Rows D to BR are written: the difference, and the covariance's coefficients (Brandt 2024a, eqs. 28 and
        29, not scaled by time) of each difference with itself and with the one before.
    end : ndarray `(ngroup,)`, int64
        The group at which each difference ends.

    Returns
    -------
    ndiff : int
        Number of usable differences.
    first : int
        The first usable group, or -1.
    """
    ndiff, first, prev, last_end, broken = 0, -1, -1, -1, False
    for g in range(values.size):
        if flags[g] & SAT:
            break
        broken |= (flags[g] & JUMP) != 0
        if (flags[g] & DNU) or not np.isfinite(values[g]):
            continue
        if prev < 0:
            first = g
        elif not broken:
            linked = 1.0 if last_end == prev else 0.0
            w[D, ndiff] = np.float64(values[g]) - np.float64(values[prev])
            w[DT, ndiff] = table[0, g] - table[0, prev]
            w[AP, ndiff] = table[1, g] + table[1, prev] - 2 * table[0, prev]
            w[AR, ndiff] = table[2, g] + table[2, prev]
            w[BP, ndiff] = linked * (table[0, prev] - table[1, prev])
            w[BR, ndiff] = -linked * table[2, prev]
            end[ndiff] = g
            last_end = g
            ndiff += 1
        prev, broken = g, False
    return ndiff, first


@kernel
def reduce(w: Array, n: int, poisson: float, read: float) -> tuple[float, float, float]:
    """Factorise the covariance C = L P L^T and form the sums of the fit.

    The pivots of a positive definite matrix stay positive, so this needs no rescaling for long ramps, unlike
    the determinants of the paper's recursion (Brandt 2024a, section 4), to which it is equivalent.

    Parameters
    ----------
    w : ndarray `(NSCRATCH, ngroup)`
        Differences and coefficients; rows INV to U are written.
    n : int
        Number of differences.
    poisson, read : float
        Rate over gain (DN^2/s) and variance of one read (DN^2): the covariance's coefficients.

    Returns
    -------
    a, b, c : float
        ``d C^-1 d``, ``dt C^-1 d`` and ``dt C^-1 dt``: slope b/c, variance 1/c, chi-squared a - b^2/c.
    """
    inv = 1.0 / (poisson * w[AP, 0] + read * w[AR, 0])
    v, u = w[DT, 0], w[D, 0]
    w[INV, 0], w[L, 0], w[V, 0], w[U, 0] = inv, 0.0, v, u
    a, b, c = u * u * inv, v * u * inv, v * v * inv
    for i in range(1, n):
        beta = poisson * w[BP, i] + read * w[BR, i]
        factor = beta * inv
        inv = 1.0 / (poisson * w[AP, i] + read * w[AR, i] - factor * beta)
        v = w[DT, i] - factor * v
        u = w[D, i] - factor * u
        w[INV, i], w[L, i], w[V, i], w[U, i] = inv, factor, v, u
        a += u * u * inv
        b += v * u * inv
        c += v * v * inv
    return a, b, c


@kernel
def readnoise_part(w: Array, n: int) -> float:
    """Return ``q B q`` for ``q = C^-1 dt``, with B the read-noise coefficients.

    Divided by c^2 and times the variance of one read this is the read-noise part of the slope's variance.
    """
    q = w[V, n - 1] * w[INV, n - 1]
    total = q * q * w[AR, n - 1]
    for i in range(n - 2, -1, -1):
        below = q
        q = w[V, i] * w[INV, i] - w[L, i + 1] * below
        total += q * (q * w[AR, i] + 2.0 * below * w[BR, i + 1])
    return float(total)
