"""The fit of clean ramps, many at a time.

Most ramps have no flag at all, and so the same covariance coefficients. They are fitted in step, a piece of a
row at a time, with the loop over pixels innermost, which compilers turn into vector instructions: all lanes
are rows of one array, at offsets that are known when it is compiled, and loops always go over a whole tile.
With an array for each row the compiler would have to prove first, at every call, that none overlaps another.
The operations and their order for a pixel are those of `kernels.reduce`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.ramps.kernels import DNU, JUMP, SAT, TILE, Array, kernel

FLAGGED = np.uint8(DNU | SAT | JUMP)
POISSON, READ, SA, SB, SC, INVERSE, SPAN, REDUCED = (row * TILE for row in range(8))
"""Where the rows of the lanes begin: the covariance's coefficients (DN^2/s and DN^2), the three sums of
`kernels.reduce`, and of the last difference the inverse pivot, the reduced time span and what is left of the
difference itself."""
NLANES = 8


@kernel
def workspace(ngroup: int) -> Any:
    """Allocate lanes `(NLANES * TILE,)`, differences `(ngroup - 1, TILE)`, and flags `(TILE,)`."""
    n = max(ngroup - 1, 1)
    return np.ones(NLANES * TILE), np.ones((n, TILE)), np.zeros(TILE, np.uint8)


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
    seen[:n] = groupdq[0, y, x0 : x0 + n]
    for g in range(1, data.shape[0]):
        flags = groupdq[g, y, x0 : x0 + n]
        for k in range(n):
            seen[k] |= flags[k]
    for g in range(1, data.shape[0]):
        before, now, out = data[g - 1, y, x0 : x0 + n], data[g, y, x0 : x0 + n], differences[g - 1]
        for k in range(n):
            out[k] = np.float64(now[k]) - np.float64(before[k])


@kernel
def sweep(differences: Array, coefficients: Array, lanes: Array) -> None:
    """Factorise the covariance of each lane and form the sums of its fit.

    Parameters
    ----------
    differences : ndarray `(ndiff, TILE)`
        DN.
    coefficients : ndarray `(5, ndiff)`
        `ReadPattern.coefficients`.
    lanes : ndarray `(NLANES * TILE,)`
        POISSON and READ are used, the others written.
    """
    dt, ap, ar = coefficients[0, 0], coefficients[1, 0], coefficients[2, 0]
    for k in range(TILE):
        inv = 1.0 / (lanes[POISSON + k] * ap + lanes[READ + k] * ar)
        u = differences[0, k]
        lanes[INVERSE + k], lanes[SPAN + k], lanes[REDUCED + k] = inv, dt, u
        lanes[SA + k], lanes[SB + k], lanes[SC + k] = u * u * inv, dt * u * inv, dt * dt * inv
    for i in range(1, differences.shape[0]):
        dt, ap, ar = coefficients[0, i], coefficients[1, i], coefficients[2, i]
        bp, br = coefficients[3, i], coefficients[4, i]
        for k in range(TILE):
            poisson, read = lanes[POISSON + k], lanes[READ + k]
            beta = poisson * bp + read * br
            factor = beta * lanes[INVERSE + k]
            inv = 1.0 / (poisson * ap + read * ar - factor * beta)
            v = dt - factor * lanes[SPAN + k]
            u = differences[i, k] - factor * lanes[REDUCED + k]
            lanes[INVERSE + k], lanes[SPAN + k], lanes[REDUCED + k] = inv, v, u
            lanes[SA + k] += u * u * inv
            lanes[SB + k] += v * u * inv
            lanes[SC + k] += v * v * inv


@kernel
def medians(differences: Array, coefficients: Array, rates: Array) -> None:
    """Sort the rates of each lane's differences into `rates` `(ndiff, TILE)`, by Batcher's merge exchange.

    Which elements are compared does not depend on their values, so all lanes go in step (Knuth, The Art of
    Computer Programming 3, algorithm 5.2.2M). Where there is a NaN, their order means nothing.
    """
    ndiff = differences.shape[0]
    for i in range(ndiff):
        dt = coefficients[0, i]
        for k in range(TILE):
            rates[i, k] = differences[i, k] / dt
    top = 1
    while 2 * top < ndiff:
        top *= 2
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            for i in range(ndiff - d):
                if i & p == r:
                    _exchange(rates[i], rates[i + d])
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2


@kernel
def _exchange(first: Array, second: Array) -> None:
    """Put the smaller of each pair into the first array."""
    for k in range(TILE):
        a, b = first[k], second[k]
        first[k], second[k] = (a if a < b else b), (b if a < b else a)
