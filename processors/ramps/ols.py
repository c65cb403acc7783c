"""Slopes by ordinary least squares with optimal weights, as the standard pipeline's default.

A ramp is cut into segments at flagged groups. Each segment gets a weighted straight line, with weights that
depend on its signal-to-noise ratio (Fixsen et al. 2000, PASP 112, 1350, table 2; Offenberg et al. 2001, PASP
113, 240); segments are joined with their read-noise weights. The formulae for the variances are those of the
JWST pipeline's documentation of ramp_fitting, section "Detailed algorithms".

Three of the standard pipeline's habits are not followed, because they make numbers up: a ramp without any
good group that is not wholly saturated or unusable gets NaN and DO_NOT_USE (there: a rate of 0 with an error
of 0), values that are not finite count as unusable (there: as 0 DN), and variances above 1e6 (DN/s)^2, as
bright stars have them in the smallest subarrays, are stated (there: 0, as of ramps without a rate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.ramps.covariance import Float32, PixelNoise
from processors.ramps.gls import NO_GAIN, Slopes
from processors.ramps.kernels import DNU, JUMP, SAT, TILE, Array, gather, kernel, parallel_kernel
from schemas.dq import DQ

PERSISTENCE = np.uint8(DQ.PERSISTENCE)
DNU32, SAT32 = np.uint32(DNU), np.uint32(SAT)
INVALID = DNU32 | SAT32
SLOPE, ERR, VAR_P, VAR_R = range(4)
SNR_LIMITS = (5.0, 10.0, 20.0, 50.0, 100.0)
POWERS = (0.0, 0.4, 1.0, 3.0, 6.0, 10.0)
"""Exponents of the weights below, between and above the limits of the segment's signal-to-noise ratio."""


@dataclass(frozen=True)
class Timing:
    """The times of a regular ramp that this algorithm uses.

    Parameters
    ----------
    group_time, frame_time : float
        TGROUP and TFRAME, seconds.
    nframes : int
        NFRAMES, reads averaged in a group.
    """

    group_time: float
    frame_time: float
    nframes: int

    @property
    def first_group(self) -> float:
        """Mean time of the first group's reads, seconds."""
        return (self.nframes + 1) * self.frame_time / 2


def median_rate(
    data: Float32, groupdq: NDArray[np.uint8], timing: Timing, *, suppress_one_group: bool = True
) -> NDArray[np.float64]:
    """Median rate of one integration, from which Poisson variances are worked out.

    The standard pipeline averages this over all integrations of an exposure before it works out any variance:
    average what this returns and give it to `fit_slopes`.

    Parameters
    ----------
    data : ndarray `(ngroup, ny, nx)`, float32
        Ramps in DN.
    groupdq : ndarray `(ngroup, ny, nx)`, uint8
        Group flags.
    timing : Timing
        Group and frame time.
    suppress_one_group : bool
        As for `fit_slopes`.

    Returns
    -------
    ndarray `(ny, nx)`, float64
        DN/s; 0 where there is none.
    """
    ramps, flags = _checked(data, groupdq)
    out = np.empty(data.shape[1:])
    suppress = suppress_one_group and data.shape[0] > 1
    _median_rates(ramps, flags, (timing.group_time, timing.first_group), suppress, out)
    return out


def fit_slopes(
    data: Float32,
    groupdq: NDArray[np.uint8],
    timing: Timing,
    noise: PixelNoise,
    *,
    pixeldq: NDArray[np.uint32] | None = None,
    rate: NDArray[np.float64] | None = None,
    suppress_one_group: bool = True,
) -> Slopes:
    """Fit the ramps of one integration.

    Parameters
    ----------
    data : ndarray `(ngroup, ny, nx)`, float32
        Ramps in DN.
    groupdq : ndarray `(ngroup, ny, nx)`, uint8
        Group flags. Any but PERSISTENCE ends a segment; a segment may begin with a group that is flagged
        JUMP_DET only.
    timing : Timing
        Group and frame time, reads in a group.
    noise : PixelNoise
        Gain, read noise and dark rate, `(ny, nx)`.
    pixeldq : ndarray `(ny, nx)`, uint32, optional
        Pixel flags; pixels with DO_NOT_USE or SATURATED get NaN.
    rate : ndarray `(ny, nx)`, float64, optional
        Mean of the exposure's median rates, DN/s; this integration's own when not given.
    suppress_one_group : bool
        Whether ramps with a single good group, in an exposure of several groups, count as having none.

    Returns
    -------
    Slopes
        Rates and errors; variances and errors of pixels without a rate are 0, as in JWST's products. `chi2`
        and `ndof` are 0; `ndiff` is the number of group intervals in the segments used.

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    ramps, flags = _checked(data, groupdq)
    shape = data.shape[1:]
    suppress = suppress_one_group and data.shape[0] > 1
    medians = median_rate(ramps, flags, timing, suppress_one_group=suppress) if rate is None else rate
    dq = np.zeros(shape, np.uint32) if pixeldq is None else pixeldq.astype(np.uint32)
    values, ndiff = np.empty((4, *shape), np.float32), np.empty(shape, np.int16)
    how = (timing.group_time, timing.first_group, float(timing.nframes), suppress, _weights(data.shape[0]))
    planes = (*noise.arrays(shape), np.ascontiguousarray(medians, np.float64))
    _fit(ramps, flags, how, planes, (values, ndiff, dq))
    zero = np.zeros(shape, np.float32)
    return Slopes(
        values[SLOPE], values[ERR], values[VAR_P], values[VAR_R], zero, ndiff, np.zeros(shape, np.int16), dq
    )


def _checked(data: Float32, groupdq: NDArray[np.uint8]) -> tuple[Float32, NDArray[np.uint8]]:
    if data.ndim != 3 or data.shape != groupdq.shape or groupdq.dtype != np.uint8:
        raise ValueError(
            f"data {data.shape} and groupdq {groupdq.shape} {groupdq.dtype} must both be (ngroup, ny, nx), "
            "the flags uint8"
        )
    return np.ascontiguousarray(data, np.float32), np.ascontiguousarray(groupdq)


@kernel
def _prepare(values: Array, flags: Array, suppress: bool) -> tuple[int, int]:
    """Mark what is not finite, and the whole of ramps with a single good group when those are suppressed,
    DO_NOT_USE.

    Returns the number of unflagged groups, and of those that are saturated or unusable.
    """
    good, kept = 0, 0
    for g in range(values.size):
        if not np.isfinite(values[g]) and not flags[g] & SAT:
            flags[g] |= DNU
        kept += (flags[g] & ~PERSISTENCE) == 0
    unusable = 0
    for g in range(values.size):
        if suppress and kept == 1:
            flags[g] |= DNU
        good += flags[g] == 0
        unusable += (flags[g] & (DNU | SAT)) != 0
    return good, unusable


@parallel_kernel
def _median_rates(data: Array, groupdq: Array, times: Any, suppress: bool, out: Array) -> None:
    ngroup, ny, nx = data.shape
    for y in prange(ny):
        ramps = np.empty((TILE, ngroup), np.float32)
        flags = np.empty((TILE, ngroup), np.uint8)
        rates = np.empty(ngroup)
        for x0 in range(0, nx, TILE):
            for k in range(gather(data, groupdq, (y, x0), ramps, flags)):
                good, _ = _prepare(ramps[k], flags[k], suppress)
                if ngroup == 1 or (not suppress and good == 1 and flags[k, 0] == 0):
                    value = np.float64(ramps[k, 0]) / times[1] if not flags[k, 0] & (SAT | DNU) else np.nan
                else:
                    value = _median_of_ramp(ramps[k], flags[k], times[0], rates)
                out[y, x0 + k] = value if np.isfinite(value) else 0.0


@kernel
def _median_of_ramp(values: Array, flags: Array, group_time: float, rates: Array) -> float:
    """Median of the differences without jumps and unusable groups; else the first group's rate."""
    n = 0
    for g in range(1, values.size):
        if flags[g] & (SAT | DNU | JUMP) or flags[g - 1] & (SAT | DNU):
            continue
        rate = np.float64(values[g]) / group_time - np.float64(values[g - 1]) / group_time
        j = n
        while j > 0 and rates[j - 1] > rate:
            rates[j] = rates[j - 1]
            j -= 1
        rates[j] = rate
        n += 1
    if n == 0:
        return np.nan if flags[0] & (SAT | DNU) else np.float64(values[0]) / group_time
    return float(0.5 * (rates[(n - 1) // 2] + rates[n // 2]))


@parallel_kernel
def _fit(data: Array, groupdq: Array, how: Any, planes: Any, out: Any) -> None:
    ngroup, ny, nx = data.shape
    group_time, first_time, nframes, suppress, weights = how
    values, ndiff, dq = out
    gain, readnoise, dark, rates = planes
    for y in prange(ny):
        ramps = np.empty((TILE, ngroup), np.float32)
        flags = np.empty((TILE, ngroup), np.uint8)
        segments = np.empty((ngroup, 2), np.int64)
        for x0 in range(0, nx, TILE):
            for k in range(gather(data, groupdq, (y, x0), ramps, flags)):
                x = x0 + k
                good, unusable = _prepare(ramps[k], flags[k], suppress)
                dq[y, x] |= _pixel_flags(flags[k], gain[y, x], readnoise[y, x], unusable)
                single = not suppress and good == 1 and flags[k, 0] == 0
                fit = (np.nan, 0.0, 0.0, 0.0, 0.0)
                if not dq[y, x] & INVALID:
                    n = _segments(flags[k], segments)
                    sigma = np.float64(readnoise[y, x]) / np.sqrt(2.0 * nframes)
                    rate = max(rates[y, x], 0.0) + np.float64(dark[y, x])
                    pixel = (np.float64(gain[y, x]), sigma, rate)
                    if n:
                        times = (group_time, first_time if single else group_time)
                        fit = _fit_segments(ramps[k], (segments, n), times, pixel, weights)
                    if not _is_held(fit):
                        fit = (np.nan, 0.0, 0.0, 0.0, 0.0)
                        dq[y, x] |= DNU32
                for i in range(4):
                    values[i, y, x] = fit[i]
                ndiff[y, x] = int(fit[4])
                dq[y, x] |= _saturated(flags[k])


@kernel
def _is_held(fit: Any) -> bool:
    """Tell whether single precision holds a fit's slope, error and variances."""
    held = True
    for i in range(4):
        held &= np.isfinite(np.float32(fit[i]))
    return held


@kernel
def _pixel_flags(flags: Array, gain: float, readnoise: float, unusable: int) -> np.uint32:
    """Flags of a pixel that decide whether it is fitted: persistence, jump, unusable ramp, no noise."""
    seen = np.uint32(0)
    saturated = 0
    for g in range(flags.size):
        seen |= flags[g]
        saturated += (flags[g] & SAT) != 0
    seen &= np.uint32(JUMP | PERSISTENCE)
    if flags[0] & SAT:
        seen |= INVALID
    if unusable == flags.size:
        seen |= DNU32
        if saturated == flags.size:
            seen |= SAT32
    if not gain > 0.0:
        seen |= DNU32 | NO_GAIN
    if not readnoise > 0.0:
        seen |= DNU32
    return seen


@kernel
def _saturated(flags: Array) -> np.uint32:
    for g in range(flags.size):
        if flags[g] & SAT:
            return SAT32
    return np.uint32(0)


@kernel
def _segments(flags: Array, segments: Array) -> int:
    """Find the stretches of good groups, each with the pure jump before it, if any.

    Stretches of a single group count only when there is none longer, and then only the first.

    Returns
    -------
    int
        Number of rows of `segments` written: first group, and one past the last.
    """
    n, start, longest = 0, -1, 0
    for g in range(flags.size + 1):
        good = g < flags.size and (flags[g] & ~PERSISTENCE) == 0
        if good and start < 0:
            start = g - 1 if g > 0 and (flags[g - 1] & ~PERSISTENCE) == JUMP else g
        elif not good and start >= 0:
            segments[n, 0], segments[n, 1] = start, g
            longest = max(longest, g - start)
            n, start = n + 1, -1
    if longest == 1:
        return 1
    kept = 0
    for i in range(n):
        if segments[i, 1] - segments[i, 0] > 1:
            segments[kept, 0], segments[kept, 1] = segments[i, 0], segments[i, 1]
            kept += 1
    return kept


@kernel
def _fit_segments(values: Array, which: Any, times: Any, pixel: Any, weights: Array) -> Any:
    """Slope, error, Poisson and read-noise variance (DN/s) of a ramp, and its number of intervals.

    `which` are the segments and their number; `times` are the spacing of groups and the time of a single
    group (s); `pixel` is gain (e-/DN), noise of a group (DN) and rate with dark (DN/s).
    """
    gain, sigma, rate = pixel
    weight_p, weight_r, weight_e, total, intervals = 0.0, 0.0, 0.0, 0.0, 0
    segments, count = which
    for i in range(count):
        start, stop = segments[i, 0], segments[i, 1]
        length = stop - start
        if length == 1:
            span, time = times[1], times[1]
            slope = np.float64(values[start]) / time
        else:
            span, time = times[0] * (length - 1), times[0]
            slope = _segment_slope(values, (start, length), gain, sigma, weights) / time
        size = max(length, 2)
        var_r = 12.0 * (sigma / time) ** 2 / (size**3 - size)
        var_p = rate / (gain * span)
        weight_p += 1.0 / var_p if var_p > 0.0 else 0.0
        weight_r += 1.0 / var_r
        weight_e += 1.0 / (var_p + var_r)
        total += slope / var_r
        intervals += length - 1
    var_p = 1.0 / weight_p if weight_p > 0.0 else 0.0
    var_r = 1.0 / weight_r
    return total * var_r, np.sqrt(1.0 / weight_e), var_p, var_r, float(intervals)


@kernel
def _segment_slope(values: Array, where: Any, gain: float, sigma: float, weights: Array) -> float:
    """Slope of a segment in DN per group."""
    start, n = where
    origin = np.float64(values[start])  # subtracted so that the difference of the sums loses no digits
    rise = np.float64(values[start + n - 1]) - origin
    if n == 2:
        return rise
    regime = _regime(rise * gain, sigma * gain)
    sw, sx, sy, sxx, sxy = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        value = np.float64(values[start + i]) - origin
        weight = weights[regime, n, i]
        wx = weight * i
        sw += weight
        sx += wx
        sy += weight * value
        sxx += wx * i
        sxy += wx * value
    return (sw * sxy - sx * sy) / (sw * sxx - sx * sx)


@kernel
def _regime(signal: float, sigma: float) -> int:
    """Row of `_weights` for a segment's signal and a group's noise, both in electrons."""
    variance = sigma * sigma + signal
    snr = max(signal / np.sqrt(variance), 0.0) if variance > 0.0 else 0.0
    regime = 0
    for limit in SNR_LIMITS:
        regime += snr >= limit
    return regime


def _weights(ngroup: int) -> NDArray[np.float64]:
    """Weights ``(|i - mid| / mid)**P`` of segments' groups, `(regime, length, ngroup)`, of Fixsen et al."""
    weights = np.ones((len(POWERS), ngroup + 1, ngroup))
    for length in range(3, ngroup + 1):
        mid = (length - 1) / 2
        for row, power in enumerate(POWERS):
            weights[row, length, :length] = np.abs((np.arange(length) - mid) / mid) ** power
    return weights
