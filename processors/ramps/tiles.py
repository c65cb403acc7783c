"""The fit of clean ramps, many at a time.

Most ramps have no flag at all, and so the same covariance coefficients. They are fitted in step, a piece of a
row at a time, with the loop over pixels innermost, which compilers turn into vector instructions. The
operations and their order for a pixel are those of `kernels.reduce`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.ramps.kernels import DNU, JUMP, SAT, TILE, Array, kernel

FLAGGED = np.uint8(DNU | SAT | JUMP)
POISSON, READ, SPAN, SA, SB, SC = range(6)
"""Rows of the lanes: the covariance's coefficients (DN^2/s and DN^2), DN from first to last group, the three
sums of `kernels.reduce`."""
NLANES = 6


@kernel
def workspace(ngroup: int) -> Any:
    """Allocate lanes `(NLANES, TILE)`, differences and factors `(ngroup - 1, TILE)`, and flags `(TILE,)`."""
    n = max(ngroup - 1, 1)
    lanes = np.empty((NLANES, TILE))
    factors = (np.empty((n, TILE)), np.empty((n, TILE)), np.empty((n, TILE)))
    return lanes, np.empty((n, TILE)), factors, np.empty(TILE, np.uint8)


@kernel
def load(data: Array, groupdq: Array, place: Any, differences: Array, seen: Array) -> None:
    """Form the differences of successive groups and the union of each pixel's group flags.

    Parameters
    ----------
    data, groupdq : ndarray `(ngroup, ny, nx)`
        Ramps in DN and their flags.
    place : tuple of int
        Row, first column, number of columns.
    differences : ndarray `(ngroup - 1, TILE)`, float64
        Written here.
    seen : ndarray `(TILE,)`, uint8
        Written here.
    """
    y, x0, n = place
    first = groupdq[0, y]
    for k in range(n):
        seen[k] = first[x0 + k]
    for g in range(1, data.shape[0]):
        before, now, flags, out = data[g - 1, y], data[g, y], groupdq[g, y], differences[g - 1]
        for k in range(n):
            seen[k] |= flags[x0 + k]
            out[k] = np.float64(now[x0 + k]) - np.float64(before[x0 + k])


@kernel
def sweep(differences: Array, coefficients: Array, lanes: Array, factors: Any, n: int) -> None:
    """Factorise the covariance of each lane and form the sums of its fit.

    Parameters
    ----------
    differences : ndarray `(ndiff, TILE)`
        DN.
    coefficients : ndarray `(5, ndiff)`
        `ReadPattern.coefficients`.
    lanes : ndarray `(NLANES, TILE)`
        POISSON and READ are used, SA, SB and SC written.
    factors : tuple of ndarray `(ndiff, TILE)`
        Inverse pivots, multipliers, and reduced time spans; written here.
    n : int
        Number of lanes.
    """
    dt, ap, ar, bp, br = coefficients
    poisson, read, reduced, sa, sb, sc = (
        lanes[POISSON],
        lanes[READ],
        lanes[SPAN],
        lanes[SA],
        lanes[SB],
        lanes[SC],
    )
    inverse, multiplier, span = factors
    for k in range(n):
        inv = 1.0 / (poisson[k] * ap[0] + read[k] * ar[0])
        u = differences[0, k]
        inverse[0, k], multiplier[0, k], span[0, k], reduced[k] = inv, 0.0, dt[0], u
        sa[k], sb[k], sc[k] = u * u * inv, dt[0] * u * inv, dt[0] * dt[0] * inv
    for i in range(1, differences.shape[0]):
        for k in range(n):
            beta = poisson[k] * bp[i] + read[k] * br[i]
            factor = beta * inverse[i - 1, k]
            inv = 1.0 / (poisson[k] * ap[i] + read[k] * ar[i] - factor * beta)
            v = dt[i] - factor * span[i - 1, k]
            u = differences[i, k] - factor * reduced[k]
            inverse[i, k], multiplier[i, k], span[i, k], reduced[k] = inv, factor, v, u
            sa[k] += u * u * inv
            sb[k] += v * u * inv
            sc[k] += v * v * inv


@kernel
def medians(differences: Array, coefficients: Array, rates: Array, n: int) -> None:
    """Sort the rates of each lane's differences into `rates` `(ndiff, TILE)`, by Batcher's merge exchange.

    Which elements are compared does not depend on their values, so all lanes go in step (Knuth, The Art of
    Computer Programming 3, algorithm 5.2.2M).
    """
    ndiff = differences.shape[0]
    for i in range(ndiff):
        for k in range(n):
            rates[i, k] = differences[i, k] / coefficients[0, i]
    top = 1
    while 2 * top < ndiff:
        top *= 2
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            for i in range(ndiff - d):
                if i & p == r:
                    for k in range(n):
                        low, high = rates[i, k], rates[i + d, k]
                        rates[i, k], rates[i + d, k] = min(low, high), max(low, high)
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
