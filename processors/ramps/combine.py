"""From the slopes of the integrations to the rate of the exposure.

Integrations are added one after the other, so memory does not grow with their number, and any division into
blocks gives the same bytes as long as the order is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.ramps.covariance import Float32, PixelNoise, ReadPattern
from processors.ramps.gls import Slopes
from processors.ramps.goodness import POOR
from processors.ramps.kernels import (
    DNU,
    NSCRATCH,
    Array,
    collect,
    kernel,
    parallel_kernel,
    readnoise_part,
    reduce,
)

DNU32 = np.uint32(DNU)
FAINT, BRIGHT = 0, 1


class GlsRate:
    """Mean of slopes by generalised least squares.

    An integration's weight is its information relative to that of a ramp without any flag in the same pixel.
    Weights that are plain inverse variances would favour integrations whose Poisson noise came out low, and
    with it their rate: a bias of a fraction 1/(number of electrons). Here the weights blend the shares at the
    limits of faint and bright pixels (`Slopes.shares`), which know nothing of the counts, in a proportion
    that all integrations of a pixel have in common: the part of Poisson noise in a slope's variance at the
    combined rate. So whole ramps count the same whatever their rates, and as the combined rate is nearly
    optimal the blend brings in no bias either (Brandt 2024a, section 5). Variances are propagated with these
    weights; of their sum, what the average would have at zero flux counts as read noise (see `gls`).

    Parameters
    ----------
    pattern : ReadPattern
        Read times of the groups.
    noise : PixelNoise
        Gain, read noise and dark rate, `(ny, nx)`.
    """

    def __init__(self, pattern: ReadPattern, noise: PixelNoise) -> None:
        shape = noise.gain.shape
        self._pattern = pattern
        self._planes = noise.arrays(shape)
        self._sums = np.zeros((4, *shape))
        self._variances = np.zeros((5, *shape), np.float32)
        self._counts = np.zeros((2, *shape), np.int32)
        self._dq = _DataQuality(shape)

    def add(self, slopes: Slopes) -> None:
        """Add one integration, fitted by `gls.fit_slopes` with the same pattern and noise.

        Raises
        ------
        ValueError
            If the slopes do not come from there.
        """
        if slopes.shares is None:
            raise ValueError("these slopes have no shares: add single integrations fitted by gls.fit_slopes")
        fitted = (slopes.slope, slopes.var_poisson, slopes.var_rnoise, slopes.chi2)
        _add(fitted, slopes.shares, (slopes.ndiff, slopes.ndof), (self._sums, self._variances, self._counts))
        self._dq.add(slopes.dq)

    def result(self) -> Slopes:
        """Return the exposure's rate; NaN and DO_NOT_USE where no integration has a slope."""
        out = np.empty((5, *self._sums.shape[1:]), np.float32)
        _blend(self._sums, self._variances, self._pattern.table, self._planes, out)
        # a poor fit is judged by the chi-squared of all: the more integrations, the more fail by chance
        return _slopes(list(out), (self._counts[0], self._counts[1]), self._dq.result(others=POOR))


class OlsRate:
    """Mean of slopes by ordinary least squares, as the standard pipeline takes it: read-noise weights.

    Parameters
    ----------
    shape : tuple of int
        `(ny, nx)`.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._sums = np.zeros((4, *shape))
        self._ndiff = np.zeros(shape, np.int32)
        self._dq = _DataQuality(shape)

    def add(self, slopes: Slopes) -> None:
        """Add one integration, fitted by `ols.fit_slopes`."""
        used = slopes.var_rnoise if slopes.var_used is None else slopes.var_used
        # standard products have an error of 0 where it was too large for them: nothing to weight by
        usable = np.isfinite(slopes.slope) & (used > 0) & (slopes.err > 0)
        weight = _inverse(used, usable)
        self._sums[0] += weight
        self._sums[1] += np.where(usable, slopes.slope, 0.0) * weight
        self._sums[2] += _inverse(slopes.var_poisson, usable & (slopes.var_poisson > 0))
        stated = used is slopes.var_rnoise
        self._sums[3] += weight if stated else _inverse(slopes.var_rnoise, usable & (slopes.var_rnoise > 0))
        self._ndiff += np.where(usable, slopes.ndiff, 0)
        self._dq.add(slopes.dq)

    def result(self) -> Slopes:
        """Return the exposure's rate; NaN with zero variances, and DO_NOT_USE, where there is none."""
        weight, total, poisson, stated = self._sums
        slope = np.full(weight.shape, np.nan)
        np.divide(total, weight, out=slope, where=weight > 0)
        var_r, var_p = _inverse(stated, stated > 0), _inverse(poisson, poisson > 0)
        err = np.sqrt(var_p + _inverse(weight, weight > 0))
        zero = np.zeros_like(weight)
        planes = [plane.astype(np.float32) for plane in (slope, err, var_p, var_r, zero)]
        dq = self._dq.result() | np.where(np.isnan(slope), DNU32, np.uint32(0))
        return _slopes(planes, (self._ndiff, np.zeros_like(self._ndiff)), dq)


def _inverse(values: Array, where: Array) -> NDArray[np.float64]:
    """Return one over the values at some places, 0 elsewhere."""
    out = np.zeros(values.shape)
    np.divide(1.0, values, out=out, where=where, dtype=np.float64)
    return out


def _slopes(planes: list[Float32], used: tuple[Array, Array], dq: NDArray[np.uint32]) -> Slopes:
    slope, err, var_poisson, var_rnoise, chi2 = planes
    return Slopes(slope, err, var_poisson, var_rnoise, chi2, used[0], used[1], dq)


class _DataQuality:
    """Flags of an exposure: any integration's, but DO_NOT_USE (and others) only where all have it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._any = np.zeros(shape, np.uint32)
        self._all = np.full(shape, DNU32 | POOR)

    def add(self, dq: NDArray[np.uint32]) -> None:
        self._any |= dq
        self._all &= dq

    def result(self, others: np.uint32 = DNU32) -> NDArray[np.uint32]:
        by_all = others | DNU32
        return (self._any & ~by_all) | (self._all & by_all)


@parallel_kernel
def _add(fitted: Any, shares: Array, used: Any, totals: Any) -> None:
    slope, var_p, var_r, chi2 = fitted
    sums, variances, counts = totals
    ny, nx = slope.shape
    for y in prange(ny):
        for x in range(nx):
            if not np.isfinite(slope[y, x]):
                continue
            f, b = shares[FAINT, y, x], shares[BRIGHT, y, x]
            sums[0, y, x] += f
            sums[1, y, x] += b
            sums[2, y, x] += np.float64(f) * slope[y, x]
            sums[3, y, x] += np.float64(b) * slope[y, x]
            variance = var_p[y, x] + var_r[y, x]
            variances[0, y, x] += f * f * variance
            variances[1, y, x] += f * b * variance
            variances[2, y, x] += b * b * variance
            variances[3, y, x] += 1.0 / var_r[y, x]
            variances[4, y, x] += chi2[y, x]
            counts[0, y, x] += used[0][y, x]
            counts[1, y, x] += used[1][y, x]


@parallel_kernel
def _blend(sums: Array, variances: Array, table: Array, planes: Any, out: Array) -> None:
    """Slope, error, Poisson and read-noise variance and chi-squared of all integrations, into `out`."""
    gain, readnoise, dark = planes
    _, ny, nx = sums.shape
    ngroup = table.shape[1]
    for y in prange(ny):
        w = np.empty((NSCRATCH, ngroup))
        end = np.empty(ngroup, np.int64)
        n, _ = collect(np.zeros(ngroup, np.float32), np.zeros(ngroup, np.uint8), table, w, end)
        for x in range(nx):
            faint, bright, faint_slope, bright_slope = sums[:, y, x]
            if bright == 0.0:
                out[:, y, x] = np.nan
                continue
            rate, part = bright_slope / bright, 1.0
            if faint != bright and n:
                noise = (
                    np.float64(gain[y, x]),
                    0.5 * np.float64(readnoise[y, x]) ** 2,
                    np.float64(dark[y, x]),
                )
                for _ in range(2):
                    part = _poisson_part(w, n, rate, noise)
                    rate = (part * bright_slope + (1 - part) * faint_slope) / (
                        part * bright + (1 - part) * faint
                    )
            total = part * bright + (1 - part) * faint
            v = variances[:, y, x]
            variance = ((1 - part) ** 2 * v[0] + 2 * part * (1 - part) * v[1] + part**2 * v[2]) / total**2
            var_r = 1.0 / v[3]
            var_p = max(variance - var_r, 0.0)
            out[0, y, x], out[1, y, x] = rate, np.sqrt(var_p + var_r)
            out[2, y, x], out[3, y, x], out[4, y, x] = var_p, var_r, v[4]


@kernel
def _poisson_part(w: Array, n: int, rate: float, noise: Any) -> float:
    """Part of a whole ramp's variance that is Poisson noise, at a rate in DN/s."""
    gain, read, dark = noise
    _, _, c = reduce(w, n, max(rate + dark, 0.0) / gain, read)
    return float(1.0 - read * readnoise_part(w, n) / c)
