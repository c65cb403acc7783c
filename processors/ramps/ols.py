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

from processors.invalid import INFINITE
from processors.ramps.covariance import Float32, PixelNoise
from processors.ramps.gls import NO_GAIN, Slopes
from processors.ramps.kernels import DNU, JUMP, SAT, TILE, Array, gather, kernel, parallel_kernel
from processors.ramps.segments import (
    PERSISTENCE,
    find_segments,
    fit_segments,
    fit_whole,
    group_noise,
    segment_weights,
    slopes_of_lanes,
    weights_of_differences,
)
from processors.ramps.tiles import load, workspace

DNU32, SAT32 = np.uint32(DNU), np.uint32(SAT)
INVALID = DNU32 | SAT32
SLOPE, ERR, VAR_P, VAR_R = range(4)
NOTHING = (np.nan, 0.0, 0.0, 0.0, 0.0)
"""What is told of a ramp that cannot be fitted."""


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
    planes = (*noise.arrays(shape), np.ascontiguousarray(medians, np.float64))
    _fit(ramps, flags, _how(timing, suppress, data.shape[0]), planes, (values, ndiff, dq))
    zero = np.zeros(shape, np.float32)
    return Slopes(
        values[SLOPE], values[ERR], values[VAR_P], values[VAR_R], zero, ndiff, np.zeros(shape, np.int16), dq
    )


def draft_slopes(
    data: Float32,
    groupdq: NDArray[np.uint8],
    timing: Timing,
    noise: PixelNoise,
    pixeldq: NDArray[np.uint32],
) -> tuple[Float32, NDArray[np.uint32]]:
    """Return slopes and flags of one integration as `fit_slopes` does, in less memory for want of errors.

    Parameters are those of `fit_slopes`.
    """
    ramps, flags = _checked(data, groupdq)
    shape = data.shape[1:]
    dq = pixeldq.astype(np.uint32)
    values, ndiff = np.empty((1, *shape), np.float32), np.empty(shape, np.int16)
    planes = (*noise.arrays(shape), np.zeros(shape))  # only errors depend on the rate
    _fit(ramps, flags, _how(timing, data.shape[0] > 1, data.shape[0]), planes, (values, ndiff, dq))
    return values[SLOPE], dq


def _how(timing: Timing, suppress: bool, ngroup: int) -> tuple[Any, ...]:
    weights = segment_weights(ngroup)
    times = (timing.group_time, timing.first_group, float(timing.nframes))
    return (*times, suppress, weights, weights_of_differences(weights[:, -1]))


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
    group_time, _, nframes, _, weights, whole = how
    values, ndiff, dq = out
    gain, readnoise, dark, rates = planes
    for y in prange(ny):
        _, differences, seen = workspace(ngroup)
        lanes, clean = np.ones(4 * TILE), np.zeros(TILE, np.bool_)
        ramp, flags = np.empty(ngroup, np.float32), np.empty(ngroup, np.uint8)
        segments, regimes = np.empty((ngroup, 2), np.int64), np.zeros(TILE, np.int64)
        for x0 in range(0, nx, TILE):
            stop = min(x0 + TILE, nx)
            load(data, groupdq, (y, x0, stop - x0), differences, seen)
            if ngroup > 1:
                noise = (gain[y, x0:stop], readnoise[y, x0:stop], nframes)
                slopes_of_lanes(differences, whole, noise, regimes, lanes)
                photons = (rates[y, x0:stop], dark[y, x0:stop])
                _fit_lanes(lanes, (ngroup, group_time), noise, photons)
                _choose_clean(lanes, seen, noise, dq[y, x0:stop], clean)
                _write_lanes(lanes, ngroup - 1, (y, x0, stop - x0), out)
            for k in range(stop - x0):
                if clean[k]:
                    continue
                x = x0 + k
                rate = max(rates[y, x], 0.0) + np.float64(dark[y, x])
                pixel = (np.float64(gain[y, x]), group_noise(readnoise[y, x], nframes), rate)
                dq[y, x] |= _noise_flags(gain[y, x], readnoise[y, x])
                ramp[:], flags[:] = data[:, y, x], groupdq[:, y, x]
                flagged, fit = _fit_flagged(ramp, flags, (how[0], how[1], how[3], weights), pixel, segments)
                dq[y, x] |= flagged
                if dq[y, x] & INVALID:
                    fit = NOTHING
                elif not _is_held(fit):
                    fit = NOTHING
                    dq[y, x] |= DNU32
                for i in range(values.shape[0]):
                    values[i, y, x] = fit[i]
                ndiff[y, x] = int(fit[4])
                dq[y, x] |= SAT32 if seen[k] & SAT else np.uint32(0)


@kernel
def _fit_lanes(lanes: Array, how: Any, noise: Any, photons: Any) -> None:
    """Write slope, error and variances of ramps without flags, behind `slopes_of_lanes`."""
    gain, readnoise, nframes = noise
    rates, dark = photons
    for k in range(gain.size):
        rate = (rates[k] if rates[k] > 0.0 else 0.0) + np.float64(dark[k])
        pixel = (np.float64(gain[k]), group_noise(readnoise[k], nframes), rate)
        slope, err, var_p, var_r, _ = fit_whole(lanes[k], how[0], how[1], pixel)
        lanes[k], lanes[ERR * TILE + k] = slope, err
        lanes[VAR_P * TILE + k], lanes[VAR_R * TILE + k] = var_p, var_r


@kernel
def _choose_clean(lanes: Array, seen: Array, noise: Any, dq: Array, clean: Array) -> None:
    """Tell which lanes have the results of their pixels."""
    gain, readnoise, _ = noise
    for k in range(gain.size):
        held = (gain[k] > 0.0) & (readnoise[k] > 0.0) & (readnoise[k] < INFINITE)
        held &= abs(np.float32(lanes[k])) < INFINITE
        for i in range(1, 4):
            held &= np.float32(lanes[i * TILE + k]) < INFINITE
        clean[k] = held & (seen[k] == 0) & ((dq[k] & INVALID) == 0)


@kernel
def _write_lanes(lanes: Array, intervals: int, place: Any, out: Any) -> None:
    y, x0, n = place
    values, ndiff, _ = out
    for i in range(values.shape[0]):
        row = values[i, y, x0 : x0 + n]
        for k in range(n):
            row[k] = lanes[i * TILE + k]
    ndiff[y, x0 : x0 + n] = intervals


@kernel
def _fit_flagged(ramp: Array, flags: Array, how: Any, pixel: Any, segments: Array) -> Any:
    """Flags of a pixel from its groups', which are changed, and what `fit_segments` returns."""
    group_time, first_time, suppress, weights = how
    good, unusable = _prepare(ramp, flags, suppress)
    single = not suppress and good == 1 and flags[0] == 0
    fit = NOTHING
    n = find_segments(flags, segments)
    if n:
        times = (group_time, first_time if single else group_time)
        fit = fit_segments(ramp, (segments, n), times, pixel, weights)
    return _pixel_flags(flags, unusable), fit


@kernel
def _is_held(fit: Any) -> bool:
    """Tell whether single precision holds a fit's slope, error and variances."""
    held = True
    for i in range(4):
        held &= np.isfinite(np.float32(fit[i]))
    return held


@kernel
def _noise_flags(gain: float, readnoise: float) -> np.uint32:
    """Flags of a pixel whose noise is not known."""
    flags = np.uint32(0)
    if not gain > 0.0:
        flags |= DNU32 | NO_GAIN
    if not (readnoise > 0.0 and np.isfinite(readnoise)):
        flags |= DNU32
    return flags


@kernel
def _pixel_flags(flags: Array, unusable: int) -> np.uint32:
    """Flags of a pixel from its groups': persistence, jump, unusable ramp; they decide about the fit."""
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
    return seen
