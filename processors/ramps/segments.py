"""Straight lines through segments of ramps, with weights that depend on the signal-to-noise ratio.

Fixsen et al. (2000, PASP 112, 1350, table 2), Offenberg et al. (2001, PASP 113, 240). Ramps without flags are
one segment and have the same weights but for that ratio, so that many are fitted in step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps.kernels import JUMP, Array, kernel
from schemas.dq import DQ

PERSISTENCE = np.uint8(DQ.PERSISTENCE)
SNR_LIMITS = (5.0, 10.0, 20.0, 50.0, 100.0)
POWERS = (0.0, 0.4, 1.0, 3.0, 6.0, 10.0)
"""Exponents of the weights below, between and above the limits of the segment's signal-to-noise ratio."""


@kernel
def find_segments(flags: Array, segments: Array) -> int:
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
def fit_segments(values: Array, which: Any, times: Any, pixel: Any, weights: Array) -> Any:
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
    """Row of `segment_weights` for a segment's signal and a group's noise, both in electrons."""
    variance = sigma * sigma + signal
    snr = max(signal / np.sqrt(variance), 0.0) if variance > 0.0 else 0.0
    regime = 0
    for limit in SNR_LIMITS:
        regime += snr >= limit
    return regime


def segment_weights(ngroup: int) -> NDArray[np.float64]:
    """Weights ``(|i - mid| / mid)**P`` of segments' groups, `(regime, length, ngroup)`, of Fixsen et al."""
    weights = np.ones((len(POWERS), ngroup + 1, ngroup))
    for length in range(3, ngroup + 1):
        mid = (length - 1) / 2
        for row, power in enumerate(POWERS):
            weights[row, length, :length] = np.abs((np.arange(length) - mid) / mid) ** power
    return weights


def weights_of_differences(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the slope of a ramp without flags has of each difference `(regime, ngroup - 1)`.

    `weights` `(regime, ngroup)` are those of its groups.
    """
    ngroup = weights.shape[1]
    if ngroup <= 2:
        return np.ones((len(weights), max(ngroup - 1, 1)))
    place = np.arange(ngroup)
    total, first, second = ((weights * place**power).sum(axis=1, keepdims=True) for power in range(3))
    parts = weights * (total * place - first) / (total * second - first**2)
    return np.ascontiguousarray(parts[:, :0:-1].cumsum(axis=1)[:, ::-1])


@kernel
def group_noise(readnoise: float, nframes: float) -> float:
    """Noise of a group from that of a difference of two reads, DN."""
    return np.float64(readnoise) / np.sqrt(2.0 * nframes)


@kernel
def fit_whole(slope: float, ngroup: int, group_time: float, pixel: Any) -> Any:
    """What `fit_segments` returns, of a ramp without flags that rises by `slope` DN per group."""
    gain, sigma, rate = pixel
    var_r = 12.0 * (sigma / group_time) ** 2 / (ngroup**3 - ngroup)
    var_p = rate / (gain * group_time * (ngroup - 1))
    return slope / group_time, np.sqrt(var_p + var_r), max(var_p, 0.0), var_r, float(ngroup - 1)


@kernel
def slopes_of_lanes(differences: Array, whole: Array, noise: Any, regimes: Array, slopes: Array) -> None:
    """Write slopes of a piece of a row of ramps without flags, DN per group.

    Parameters
    ----------
    differences : ndarray `(ngroup - 1, TILE)`
        DN.
    whole : ndarray `(regime, ngroup - 1)`
        `weights_of_differences`.
    noise : tuple
        Gain and read noise of the pixels, and reads in a group.
    regimes, slopes : ndarray `(TILE,)`
        Written here.
    """
    gain, readnoise, nframes = noise
    n = gain.size
    slopes[:n] = 0.0
    for i in range(differences.shape[0]):
        for k in range(n):
            slopes[k] += differences[i, k]
    for k in range(n):
        regimes[k] = _regime(slopes[k] * gain[k], group_noise(readnoise[k], nframes) * gain[k])
    slopes[:n] = 0.0
    for i in range(differences.shape[0]):
        for k in range(n):
            slopes[k] += whole[regimes[k], i] * differences[i, k]
