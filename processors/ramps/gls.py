"""Slopes by generalised least squares (Brandt 2024a, PASP 136, 045004).

The covariance of a ramp's differences depends on the count rate, which is what is being fitted. Weights that
know the data's own fluctuations bias the slope; Brandt (section 5) shows that the bias vanishes to first
order when the rate that enters the covariance is itself the optimal estimate. So the ramp is fitted twice:
weights from a plain mean rate give a nearly optimal rate, weights from that rate give the slope.

The read-noise variance that is reported is the slope's variance at zero flux, and the Poisson variance is
what photons add to it. The share that read noise has in the variance at the fitted rate would grow with the
flux, since the optimal weights do; inverse-variance weights made of it, as in drizzling, would favour the
faint samples of a source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.invalid import INFINITE
from processors.ramps.covariance import Float32, PixelNoise, ReadPattern
from processors.ramps.kernels import (
    DNU,
    DT,
    JUMP,
    NSCRATCH,
    SAT,
    TILE,
    Array,
    D,
    collect,
    kernel,
    parallel_kernel,
    reduce,
)
from processors.ramps.tiles import (
    FLAGGED,
    POISSON,
    READ,
    SA,
    SB,
    SC,
    load,
    sweep,
    workspace,
)
from schemas.dq import DQ

NO_GAIN = np.uint32(DQ.NO_GAIN_VALUE)
LARGEST = float(np.finfo(np.float32).max)
PERSISTENCE = np.uint8(DQ.PERSISTENCE)
SLOPE, VAR_P, VAR_R, CHI2, FAINT, BRIGHT, NDIFF = range(7)
ERR, NFITS = FAINT, FAINT + 1
"""Of a lane, whose shares are 1: its error, and how many results there are."""


@dataclass(frozen=True)
class Slopes:
    """Fitted count rates of one integration, or of an exposure.

    Parameters
    ----------
    slope : ndarray `(ny, nx)`, float32
        Count rate, DN/s; NaN where there is none.
    err : ndarray `(ny, nx)`, float32
        Standard deviation of the slope, DN/s.
    var_poisson, var_rnoise : ndarray `(ny, nx)`, float32
        What photons add to its variance, and its variance at zero flux, which knows nothing of the counts;
        (DN/s)^2.
    chi2 : ndarray `(ny, nx)`, float32
        Chi-squared of the fit (zero for the algorithm that has none).
    ndiff, ndof : ndarray `(ny, nx)`, integer
        Differences of groups used (0 where there was no fit, or only a single group) and chi-squared's
        degrees of freedom.
    dq : ndarray `(ny, nx)`, uint32
        Pixel flags: the input's, and what the groups add.
    shares : ndarray `(2, ny, nx)`, float32, or None
        Of one integration, by generalised least squares: its information relative to a ramp of which all
        groups are good, where read noise dominates and where Poisson noise does. They depend on flags alone,
        never on the counts.
    probability : ndarray `(ny, nx)`, float32, or None
        That noise alone gives a larger chi-squared, where it has been judged (see `goodness`).
    var_used : ndarray `(ny, nx)`, float32, or None
        By ordinary least squares: the read-noise variance with the groups that were used, where `var_rnoise`
        is another (see `chargeloss`).
    """

    slope: Float32
    err: Float32
    var_poisson: Float32
    var_rnoise: Float32
    chi2: Float32
    ndiff: NDArray[np.integer]
    ndof: NDArray[np.integer]
    dq: NDArray[np.uint32]
    shares: Float32 | None = None
    probability: Float32 | None = None
    var_used: Float32 | None = None


def fit_slopes(
    data: Float32,
    groupdq: NDArray[np.uint8],
    pattern: ReadPattern,
    noise: PixelNoise,
    *,
    pixeldq: NDArray[np.uint32] | None = None,
    suppress_one_group: bool = True,
    shares: bool = True,
) -> Slopes:
    """Fit the ramps of one integration.

    Parameters
    ----------
    data : ndarray `(ngroup, ny, nx)`, float32
        Ramps in DN.
    groupdq : ndarray `(ngroup, ny, nx)`, uint8
        Group flags. DO_NOT_USE groups are left out and bridged, JUMP_DET breaks the ramp between the group
        before and the flagged one, SATURATED ends it. Other bits are ignored.
    pattern : ReadPattern
        Read times of the groups.
    noise : PixelNoise
        Gain, read noise and dark rate, `(ny, nx)`.
    pixeldq : ndarray `(ny, nx)`, uint32, optional
        Pixel flags; pixels with DO_NOT_USE are not fitted.
    suppress_one_group : bool
        Whether ramps with a single good group, in an exposure of several groups, count as having none. If
        not, and it is the first group, its rate is the group's value over its mean time, with the read noise
        of that one group (the standard pipeline takes that of a difference of two, which is not formed here).
        The noise of the reset (kTC), which is in the value of a single group, is not counted here (see
        `processors.ramps.resets`).
    shares : bool
        Whether the shares are kept, which only an average over integrations needs.

    Returns
    -------
    Slopes
        Rates and errors. Where nothing can be fitted (no usable difference, no positive finite gain or read
        noise) all is NaN and DO_NOT_USE is set.

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    check_shapes(data, groupdq, pattern)
    ngroup, ny, nx = data.shape
    planes = noise.arrays((ny, nx))
    pixels = np.zeros((ny, nx), np.uint32) if pixeldq is None else pixeldq.astype(np.uint32)
    values = np.empty((6 if shares else 4, ny, nx), np.float32)
    err = np.empty((ny, nx), np.float32)
    ndiff = np.empty((ny, nx), np.int16)
    single = ngroup == 1 or not suppress_one_group
    ramps = np.ascontiguousarray(data, np.float32)
    flags = np.ascontiguousarray(groupdq)
    how = (pattern.table, pattern.coefficients, *_whole(pattern.table), single)
    _fit(ramps, flags, how, planes, (values, err, ndiff, pixels))
    ndof = np.subtract(ndiff, 1, dtype=np.int32)
    np.maximum(ndof, 0, out=ndof)
    planes_of = (values[SLOPE], err, values[VAR_P], values[VAR_R], values[CHI2])
    return Slopes(*planes_of, ndiff, ndof, pixels, values[FAINT:] if shares else None)


def check_shapes(data: Float32, groupdq: NDArray[np.uint8], pattern: ReadPattern) -> None:
    """Raise ValueError unless data and flags are both `(ngroup, ny, nx)`, and the pattern agrees."""
    if data.ndim != 3 or data.shape != groupdq.shape:
        raise ValueError(f"data {data.shape} and groupdq {groupdq.shape} must both be (ngroup, ny, nx)")
    if groupdq.dtype != np.uint8:
        raise ValueError(f"groupdq must be uint8, not {groupdq.dtype}")
    if data.shape[0] != pattern.ngroups:
        raise ValueError(f"the data have {data.shape[0]} groups, the read pattern {pattern.ngroups}")


def whole_information(pattern: ReadPattern) -> NDArray[np.float64]:
    """Return the information of a ramp without flags, for unit read noise and for unit Poisson noise."""
    return np.array(_whole(pattern.table))


@parallel_kernel
def _fit(data: Array, groupdq: Array, how: Any, planes: Any, out: Any) -> None:
    ngroup, ny, nx = data.shape
    table, coefficients, faint, bright, single = how
    gain, readnoise, dark = planes
    for y in prange(ny):
        lanes, differences, seen = workspace(ngroup)
        fits, clean = np.ones(NFITS * TILE), np.zeros(TILE, np.bool_)
        ramp, flags = np.empty(ngroup, np.float32), np.empty(ngroup, np.uint8)
        w, end = np.empty((NSCRATCH, ngroup)), np.empty(ngroup, np.int64)
        for x0 in range(0, nx, TILE):
            columns = min(TILE, nx - x0)
            load(data, groupdq, (y, x0, columns), differences, seen)
            if ngroup > 1:
                stop = x0 + columns
                noise = (gain[y, x0:stop], readnoise[y, x0:stop], dark[y, x0:stop])
                _fit_lanes(differences, coefficients, noise, lanes)
                _results(lanes, faint, fits)
                _judge(fits, seen, noise, out[3][y, x0:stop], clean)
                _write_lanes(fits, ngroup - 1, (y, x0, columns), out)
            for k in range(columns):
                if clean[k]:
                    continue
                x = x0 + k
                out[3][y, x] |= _pixel_flags(seen[k], gain[y, x], readnoise[y, x])
                fit = (np.nan, np.nan, np.nan, np.nan, 0.0, 0.0, 0.0)
                if not out[3][y, x] & DNU:
                    ramp[:], flags[:] = data[:, y, x], groupdq[:, y, x]
                    pixel = (np.float64(gain[y, x]), _read_variance(readnoise[y, x]), np.float64(dark[y, x]))
                    n, first = collect(ramp, flags, table, w, end)
                    if n:
                        fit = _fit_ramp(w, n, pixel, (ngroup - 1, faint, bright))
                    elif single and first == 0:
                        fit = _fit_single(ramp[0], table, pixel, (faint, bright))
                _write(fit, y, x, out)


@kernel
def _write(fit: Any, y: int, x: int, out: Any) -> None:
    """Put one pixel's results into the output arrays, or none where single precision cannot hold them."""
    values, err, ndiff, dq = out
    for i in range(values.shape[0]):
        values[i, y, x] = fit[i]
    err[y, x] = np.sqrt(fit[VAR_P] + fit[VAR_R])
    ndiff[y, x] = int(fit[NDIFF])
    variance = np.float32(fit[VAR_P]) + np.float32(fit[VAR_R])
    if not np.isfinite(values[SLOPE, y, x]) or not np.isfinite(variance):
        dq[y, x] |= np.uint32(DNU)
        values[:, y, x] = np.nan
        err[y, x], ndiff[y, x] = np.nan, 0
    elif fit[CHI2] > LARGEST:
        values[CHI2, y, x] = LARGEST


@kernel
def _pixel_flags(seen: np.uint8, gain: float, readnoise: float) -> np.uint32:
    """Flags of a pixel from its groups' and from its references."""
    flags = np.uint32(seen & (SAT | JUMP | PERSISTENCE))
    if not (gain > 0.0 and np.isfinite(gain)):
        flags |= NO_GAIN | np.uint32(DNU)
    if not (readnoise > 0.0 and np.isfinite(readnoise)):
        flags |= np.uint32(DNU)
    return flags


@kernel
def _read_variance(readnoise: float) -> float:
    """Variance of a single read from the noise of a difference of two."""
    return 0.5 * np.float64(readnoise) * np.float64(readnoise)


@kernel
def _fit_lanes(differences: Array, coefficients: Array, noise: Any, lanes: Array) -> None:
    """Fit the clean ramps of a piece of a row, as `_fit_ramp` does one."""
    gain, readnoise, dark = noise
    n = gain.size
    span = 0.0
    for dt in coefficients[0]:
        span += dt
    for k in range(TILE):
        lanes[SB + k], lanes[SC + k] = 0.0, span
    for i in range(differences.shape[0]):
        for k in range(TILE):
            lanes[SB + k] += differences[i, k]
    for k in range(n):
        lanes[READ + k] = _read_variance(readnoise[k])
    for _ in range(2):
        for k in range(n):
            rate = lanes[SB + k] / lanes[SC + k] + dark[k]
            lanes[POISSON + k] = (rate if rate > 0.0 else 0.0) / gain[k]
        sweep(differences, coefficients, lanes)


@kernel
def _results(lanes: Array, faint: float, fits: Array) -> None:
    """Write what `_fit_ramp` returns, and the error, of each lane; `faint` is its information at unit read
    noise.
    """
    for k in range(TILE):
        a, b, c = lanes[SA + k], lanes[SB + k], lanes[SC + k]
        var_read = lanes[READ + k] / faint
        photons, chi2 = 1.0 / c - var_read, a - b * b / c
        var_poisson = photons if photons > 0.0 else 0.0
        fits[SLOPE * TILE + k], fits[VAR_P * TILE + k], fits[VAR_R * TILE + k] = b / c, var_poisson, var_read
        fits[CHI2 * TILE + k] = chi2 if chi2 > 0.0 else 0.0
        fits[ERR * TILE + k] = np.sqrt(var_poisson + var_read)


@kernel
def _judge(fits: Array, seen: Array, noise: Any, dq: Array, clean: Array) -> None:
    """Tell which lanes have the results of their pixels; the others have flags, or what no float32 holds."""
    gain, readnoise, _ = noise
    for k in range(gain.size):
        held = (gain[k] > 0.0) & (gain[k] < INFINITE) & (readnoise[k] > 0.0) & (readnoise[k] < INFINITE)
        held &= abs(np.float32(fits[SLOPE * TILE + k])) < INFINITE
        held &= np.float32(fits[VAR_P * TILE + k]) + np.float32(fits[VAR_R * TILE + k]) < INFINITE
        held &= fits[CHI2 * TILE + k] <= LARGEST
        clean[k] = held & ((seen[k] & FLAGGED) == 0) & ((dq[k] & DNU) == 0)
        dq[k] |= seen[k] & PERSISTENCE


@kernel
def _write_lanes(fits: Array, ndiff: int, place: Any, out: Any) -> None:
    """Put the lanes' results into the output arrays; those of ramps without flags have shares of 1."""
    y, x0, n = place
    values, err, used, _ = out
    for i in range(FAINT):
        row = values[i, y, x0 : x0 + n]
        for k in range(n):
            row[k] = fits[i * TILE + k]
    for i in range(FAINT, values.shape[0]):
        values[i, y, x0 : x0 + n] = 1.0
    for k in range(n):
        err[y, x0 + k] = fits[ERR * TILE + k]
        used[y, x0 + k] = ndiff


@kernel
def _fit_ramp(w: Array, n: int, noise: Any, whole: Any) -> Any:
    """Slope, its Poisson and read-noise variances, chi-squared, shares, n; the covariance's rate is refined
    once.

    `whole` has the number of differences of a ramp without flags, and its information as in `_whole`.
    """
    gain, read, dark = noise
    faint, bright = 1.0, 1.0
    if n < whole[0]:
        faint = reduce(w, n, 0.0, 1.0)[2] / whole[1]
        bright = reduce(w, n, 1.0, 0.0)[2] / whole[2]
    total, span = 0.0, 0.0
    for i in range(n):
        total += w[D, i]
        span += w[DT, i]
    rate = total / span
    a, b, c = 0.0, 0.0, 1.0
    for _ in range(2):
        a, b, c = reduce(w, n, max(rate + dark, 0.0) / gain, read)
        rate = b / c
    var_read = read / (whole[1] * faint)
    return rate, max(1.0 / c - var_read, 0.0), var_read, max(a - b * b / c, 0.0), faint, bright, float(n)


@kernel
def _fit_single(value: float, table: Array, noise: Any, whole: Any) -> Any:
    """Rate from the first group alone, its charge over its mean time; returns what `_fit_ramp` does."""
    gain, read, dark = noise
    t = table[0, 0]
    rate = value / t
    faint, bright = table[2, 0] / t**2, table[1, 0] / t**2
    poisson = max(rate + dark, 0.0) / gain * bright
    return rate, poisson, read * faint, 0.0, 1.0 / (faint * whole[0]), 1.0 / (bright * whole[1]), 0.0


@kernel
def _whole(table: Array) -> tuple[float, float]:
    """Information ``dt C^-1 dt`` of a ramp without flags, for unit read noise alone and for unit Poisson
    noise alone.

    A single group stands for itself where there is no more.
    """
    ngroup = table.shape[1]
    if ngroup == 1:
        return table[0, 0] ** 2 / table[2, 0], table[0, 0] ** 2 / table[1, 0]
    w = np.empty((NSCRATCH, ngroup))
    n, _ = collect(
        np.zeros(ngroup, np.float32), np.zeros(ngroup, np.uint8), table, w, np.empty(ngroup, np.int64)
    )
    return reduce(w, n, 0.0, 1.0)[2], reduce(w, n, 1.0, 0.0)[2]
