"""What a slope and its chi-squared do not tell of a fit: its offset, and the difference that fits worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.ramps.candidates import CII, NROWS, Q, Z, back_substitute
from processors.ramps.covariance import Float32, PixelNoise, ReadPattern
from processors.ramps.gls import LARGEST, Slopes
from processors.ramps.kernels import TILE, Array, collect, gather, kernel, parallel_kernel, reduce


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of the fits of one integration.

    Parameters
    ----------
    pedestal : ndarray `(ny, nx)`, float32
        DN at the reset by the fitted line through the first usable group; NaN where there is no rate.
    ndiff : ndarray `(ny, nx)`, int16
        Differences of groups that were used.
    worst : ndarray `(ny, nx)`, float32
        Of these, the largest in size of the deviations from the line in units of their own scatter, in sigma,
        with its sign; NaN where there are fewer than two.
    worst_group : ndarray `(ny, nx)`, int16
        The group, from 1, in which that difference ends; 0 where there is none.
    """

    pedestal: Float32
    ndiff: NDArray[np.int16]
    worst: Float32
    worst_group: NDArray[np.int16]


def diagnose(
    data: Float32, groupdq: NDArray[np.uint8], pattern: ReadPattern, noise: PixelNoise, slopes: Slopes
) -> Diagnostics:
    """Return diagnostics of fits by generalised least squares.

    The deviation of a difference is what leaving it out would lower chi-squared by, as a root (Brandt 2024b,
    PASP 136, 045005): what the search for jumps judges by.

    Parameters
    ----------
    data, groupdq, pattern, noise
        As `gls.fit_slopes` was given them.
    slopes : Slopes
        What it returned.
    """
    shape = data.shape[1:]
    pedestal, worst = np.empty(shape, np.float32), np.empty(shape, np.float32)
    group = np.empty(shape, np.int16)
    planes = (*noise.arrays(shape), slopes.slope)
    ramps = np.ascontiguousarray(data, np.float32), np.ascontiguousarray(groupdq)
    _diagnose(*ramps, pattern.table, planes, (pedestal, worst, group))
    return Diagnostics(pedestal, slopes.ndiff.astype(np.int16), worst, group)


@parallel_kernel
def _diagnose(data: Array, groupdq: Array, table: Array, planes: Any, out: Any) -> None:
    ngroup, ny, nx = data.shape
    gain, readnoise, dark, slope = planes
    pedestal, worst, group = out
    for y in prange(ny):
        ramps, flags = np.empty((TILE, ngroup), np.float32), np.empty((TILE, ngroup), np.uint8)
        w, end = np.empty((NROWS, ngroup)), np.empty(ngroup, np.int64)
        for x0 in range(0, nx, TILE):
            for k in range(gather(data, groupdq, (y, x0), ramps, flags)):
                x = x0 + k
                pedestal[y, x], worst[y, x], group[y, x] = np.nan, np.nan, 0
                rate = np.float64(slope[y, x])
                if not np.isfinite(rate):
                    continue
                n, first = collect(ramps[k], flags[k], table, w, end)
                value = np.float32(ramps[k, first] - rate * table[0, first])
                if first >= 0 and np.isfinite(value):
                    pedestal[y, x] = value
                if n > 1:
                    g, r = np.float64(gain[y, x]), np.float64(readnoise[y, x])
                    read = 0.5 * r * r
                    i, sigma = _worst(w, n, rate, (max(rate + dark[y, x], 0.0) / g, read))
                    worst[y, x] = min(max(sigma, -LARGEST), LARGEST)
                    group[y, x] = end[i] + 1


@kernel
def _worst(w: Array, n: int, rate: float, noise: Any) -> tuple[int, float]:
    """Find the difference that deviates most from a line; return it, and by how many sigma."""
    _, _, c = reduce(w, n, noise[0], noise[1])
    back_substitute(w, n, rate)
    found, largest = 0, 0.0
    for i in range(n):
        deviation = w[Z, i] / np.sqrt(w[CII, i] - w[Q, i] ** 2 / c)
        if abs(deviation) > abs(largest):
            found, largest = i, deviation
    return found, largest
