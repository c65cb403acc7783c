"""From the slopes of the integrations to the rate of the exposure.

Integrations are added one after the other, so memory does not grow with their number, and any division into blocks gives
the same bytes as long as the order is kept.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.ramps.covariance import PixelNoise, ReadPattern
from processors.ramps.gls import Slopes
from processors.ramps.kernels import DNU, NSCRATCH, collect, reduce

DNU32 = np.uint32(DNU)
W, WX, WP, WR, CHI2 = range(5)


class GlsRate:
    """Mean of slopes by generalised least squares.

    An integration's weight is its information relative to that of a ramp without any flag in the same pixel, both at
    the same count rate. Weights that are plain inverse variances would favour integrations whose Poisson noise came out
    low, and with it their rate: a bias of a fraction 1/(number of electrons). Relative weights are exactly 1 for whole ramps
    and hardly depend on the rate for others. Variances are propagated with these weights.

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
        self._sums = np.zeros((5, *shape))
        self._counts = np.zeros((2, *shape), np.int32)
        self._dq = _DataQuality(shape)

    def add(self, slopes: Slopes) -> None:
        """Add one integration, fitted by `gls.fit_slopes` with the same pattern and noise."""
        fitted = (slopes.slope, slopes.var_poisson, slopes.var_rnoise, slopes.chi2, slopes.ndiff, slopes.ndof)
        _add_gls(fitted, self._pattern.table, self._planes, self._sums, self._counts)
        self._dq.add(slopes.dq)

    def result(self) -> Slopes:
        """Return the exposure's rate; NaN and DO_NOT_USE where no integration has a slope."""
        weight = np.where(self._sums[W] > 0, self._sums[W], np.nan)
        slope = (self._sums[WX] / weight).astype(np.float32)
        var_p, var_r = ((self._sums[k] / weight**2).astype(np.float32) for k in (WP, WR))
        chi2 = np.where(self._sums[W] > 0, self._sums[CHI2], np.nan).astype(np.float32)
        return Slopes(slope, np.sqrt(var_p + var_r), var_p, var_r, chi2, *self._counts, self._dq.result())


class OlsRate:
    """Mean of slopes by ordinary least squares, as the standard pipeline takes it: read-noise weights.

    Parameters
    ----------
    shape : tuple of int
        `(ny, nx)`.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._sums = np.zeros((3, *shape))
        self._ndiff = np.zeros(shape, np.int32)
        self._dq = _DataQuality(shape)

    def add(self, slopes: Slopes) -> None:
        """Add one integration, fitted by `ols.fit_slopes`."""
        usable = np.isfinite(slopes.slope) & (slopes.var_rnoise > 0)
        weight = np.zeros(slopes.slope.shape)
        np.divide(1.0, slopes.var_rnoise, out=weight, where=usable)
        self._sums[0] += weight
        self._sums[1] += np.where(usable, slopes.slope, 0.0) * weight
        poisson = np.zeros_like(weight)
        np.divide(1.0, slopes.var_poisson, out=poisson, where=usable & (slopes.var_poisson > 0))
        self._sums[2] += poisson
        self._ndiff += np.where(usable, slopes.ndiff, 0)
        self._dq.add(slopes.dq)

    def result(self) -> Slopes:
        """Return the exposure's rate; NaN with zero variances where no integration has a slope."""
        weight, total, poisson = self._sums
        slope = np.full(weight.shape, np.nan)
        np.divide(total, weight, out=slope, where=weight > 0)
        var_r, var_p = np.zeros_like(weight), np.zeros_like(weight)
        np.divide(1.0, weight, out=var_r, where=weight > 0)
        np.divide(1.0, poisson, out=var_p, where=poisson > 0)
        err = np.sqrt(var_p + var_r)
        planes = (plane.astype(np.float32) for plane in (slope, err, var_p, var_r))
        return Slopes(
            *planes, np.zeros(weight.shape, np.float32), self._ndiff, np.zeros_like(self._ndiff), self._dq.result()
        )


class _DataQuality:
    """Flags of an exposure: any integration's, but DO_NOT_USE only where all have it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._any = np.zeros(shape, np.uint32)
        self._all = np.full(shape, DNU32)

    def add(self, dq: NDArray[np.uint32]) -> None:
        self._any |= dq
        self._all &= dq

    def result(self) -> NDArray[np.uint32]:
        return (self._any & ~DNU32) | self._all


@njit(cache=True, parallel=True)
def _add_gls(fitted, table, planes, sums, counts):
    slope, var_p, var_r, chi2, ndiff, ndof = fitted
    gain, readnoise, dark = planes
    ny, nx = slope.shape
    ngroup = table.shape[1]
    for y in prange(ny):
        w = np.empty((NSCRATCH, ngroup))
        end = np.empty(ngroup, np.int64)
        whole, _ = collect(np.zeros(ngroup, np.float32), np.zeros(ngroup, np.uint8), table, w, end)
        for x in range(nx):
            value = np.float64(slope[y, x])
            if not np.isfinite(value):
                continue
            weight = 1.0
            if ndiff[y, x] < whole:
                poisson = max(value + dark[y, x], 0.0) / gain[y, x]
                _, _, information = reduce(w, whole, poisson, 0.5 * np.float64(readnoise[y, x]) ** 2)
                weight = 1.0 / (information * (np.float64(var_p[y, x]) + np.float64(var_r[y, x])))
            sums[W, y, x] += weight
            sums[WX, y, x] += weight * value
            sums[WP, y, x] += weight * weight * var_p[y, x]
            sums[WR, y, x] += weight * weight * var_r[y, x]
            sums[CHI2, y, x] += chi2[y, x]
            counts[0, y, x] += ndiff[y, x]
            counts[1, y, x] += ndof[y, x]
