"""Cosmic rays by two-point differences, as the standard pipeline's default.

Differences of successive groups are compared with their median over the ramp and all integrations (Anderson
and Gordon 2011, PASP 123, 1237). With few differences the largest outlier is taken out and the median formed
again, until none is left; with many, all are judged at once; with many integrations, each difference is
clipped against the same difference in the others. Arithmetic is done in the precisions of the standard
pipeline, so that flags agree to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.ramps.covariance import Float32, PixelNoise
from processors.ramps.growth import Neighbours, grow
from processors.ramps.kernels import DNU, JUMP, TILE, UNUSABLE, Array, gather, kernel, parallel_kernel

CLIP_ITERATIONS = 5


@dataclass(frozen=True)
class TwoPoint:
    """Settings of the two-point difference method.

    Parameters
    ----------
    threshold, threshold_three, threshold_two : float
        Sigma; for four or more usable differences, for three, and for two.
    neighbours : Neighbours or None
        Growth into the four neighbouring pixels.
    after : tuple of (float, int)
        Pairs of a jump's size in DN and the number of groups after it that are flagged too.
    single_pass : int
        Number of differences from which all are judged at once.
    clip_integrations : int
        Number of integrations from which differences are clipped against those of other integrations.
    """

    threshold: float = 4.0
    threshold_three: float = 5.0
    threshold_two: float = 6.0
    neighbours: Neighbours | None = field(default_factory=Neighbours)
    after: tuple[tuple[float, int], ...] = ()
    single_pass: int = 10
    clip_integrations: int = 100


def find_jumps(
    data: Float32,
    groupdq: NDArray[np.uint8],
    nframes: int,
    noise: PixelNoise,
    settings: TwoPoint | None = None,
) -> NDArray[np.uint8]:
    """Flag the jumps of an exposure.

    Parameters
    ----------
    data : ndarray `(nint, ngroup, ny, nx)`, float32
        Ramps in DN.
    groupdq : ndarray `(nint, ngroup, ny, nx)`, uint8
        Group flags.
    nframes : int
        Reads averaged in a group.
    noise : PixelNoise
        Gain and read noise, `(ny, nx)`.
    settings : TwoPoint, optional
        Thresholds and what is flagged besides.

    Returns
    -------
    ndarray `(nint, ngroup, ny, nx)`, uint8
        A copy of `groupdq` with JUMP_DET on the group after each jump, and never on groups with SATURATED or
        DO_NOT_USE.

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    if data.ndim != 4 or data.shape != groupdq.shape or groupdq.dtype != np.uint8:
        raise ValueError(
            f"data {data.shape} and groupdq {groupdq.shape} {groupdq.dtype} must both be "
            "(nint, ngroup, ny, nx), the flags uint8"
        )
    options = TwoPoint() if settings is None else settings
    flags = np.array(groupdq, order="C")
    usable = _usable_groups(flags)
    clip = data.shape[0] >= options.clip_integrations
    if data.shape[1] > 2 and (usable >= 3 or clip):
        _detect(np.ascontiguousarray(data, np.float32), flags, nframes, noise, (options, usable, clip))
    flags[(flags & UNUSABLE) != 0] &= ~JUMP
    return flags


def _usable_groups(groupdq: NDArray[np.uint8]) -> int:
    """Groups that are not DO_NOT_USE in every pixel, in the integration that has the fewest."""
    unusable = [sum(bool((group & DNU).all()) for group in integration) for integration in groupdq]
    return int(groupdq.shape[1] - max(unusable))


def _detect(data: Array, flags: Array, nframes: int, noise: PixelNoise, how: Any) -> None:
    """Run the kernels on contiguous arrays, `flags` in place."""
    options, usable, clip = how
    gain, readnoise, _ = noise.arrays(data.shape[2:])
    sides, sizes = options.neighbours, np.array(options.after, np.float64).reshape(-1, 2)
    known = gain[~np.isnan(gain)]
    sizes[:, 0] *= np.median(known) if known.size else np.nan
    if clip:
        _clip_integrations(data, flags, gain, options.threshold)
        _unflag_full_groups(flags)
    mode = 0 if clip else (1 if usable - 1 >= options.single_pass else 2)
    limits = (options.threshold, options.threshold_three, options.threshold_two)
    span = (sides.minimum, sides.maximum) if sides else (np.inf, np.inf)
    seeds = np.zeros(flags.shape if sides else (0, 0, 0, 0), np.bool_)
    _search(data, flags, (gain, readnoise), (mode, float(nframes), limits, span), seeds)
    for integration in range(len(seeds)):
        grow(flags[integration], seeds[integration])
    if sizes[:, 1].any():
        _flag_after(data, flags, gain, sizes)


@kernel
def _differences(values: Array, flags: Array, gain: float, ngroup: int, diffs: Array) -> int:
    """Differences of one pixel's groups in electrons, NaN where a group is unusable.

    Integrations follow one another: `values` and `flags` are `(nint * ngroup,)`, `diffs` is
    `(nint * (ngroup - 1),)`. Returns how many are not NaN.
    """
    n = 0
    for j in range(diffs.size):
        k = group_of(j, ngroup)
        diffs[j] = np.float32(values[k] * gain) - np.float32(values[k - 1] * gain)
        if (flags[k] | flags[k - 1]) & UNUSABLE:
            diffs[j] = np.nan
        n += not np.isnan(diffs[j])
    return n


@kernel
def group_of(j: int, ngroup: int) -> int:
    """Return the index of the group at which a difference ends, both counted through all integrations."""
    return j + j // (ngroup - 1) + 1


@kernel
def median_of(values: Array, scratch: Array, skip: float) -> float:
    """Return the median of what is neither NaN nor equal to `skip`; NaN if there is nothing."""
    n = 0
    for value in values:
        if not np.isnan(value) and value != skip:
            scratch[n] = value
            n += 1
    if n == 0:
        return np.nan
    if n > 32:
        scratch[:n].sort()
    else:
        for i in range(1, n):
            value, j = scratch[i], i
            while j > 0 and scratch[j - 1] > value:
                scratch[j] = scratch[j - 1]
                j -= 1
            scratch[j] = value
    # the mean of the middle two as numpy takes it
    return float(scratch[n // 2] if n % 2 else (scratch[n // 2 - 1] + scratch[n // 2]) / 2.0)


@kernel
def _sigma(median: float, variance: float) -> float:
    """Noise of a difference in electrons; NaN instead of 0, so that nothing exceeds it."""
    sigma = np.sqrt(abs(median) + variance)
    return float(sigma) if sigma != 0.0 else np.nan


@parallel_kernel
def _search(data: Array, groupdq: Array, planes: Any, how: Any, seeds: Array) -> None:
    nint, ngroup, ny, nx = data.shape
    gain, readnoise = planes
    mode, nframes, limits, span = how
    stack = (data.reshape(nint * ngroup, ny, nx), groupdq.reshape(nint * ngroup, ny, nx))
    for y in prange(ny):
        ramps = np.empty((TILE, nint * ngroup), np.float32)
        flags = np.empty((TILE, nint * ngroup), np.uint8)
        diffs, work, scratch = np.empty((3, nint * (ngroup - 1)))
        for x0 in range(0, nx, TILE):
            for k in range(gather(stack[0], stack[1], (y, x0), ramps, flags)):
                x = x0 + k
                n = _differences(ramps[k], flags[k], gain[y, x], ngroup, diffs)
                if n == 0:
                    continue
                median = median_of(diffs, scratch, np.nan)
                noise = np.float32(readnoise[y, x] * gain[y, x])
                variance = np.float64(np.float32(noise * noise)) / nframes
                sigma = _sigma(median, variance)
                if mode == 1:
                    _judge_all(diffs, (median, sigma, limits[0]), ngroup, flags[k])
                elif mode == 2:
                    work[:] = np.abs(diffs)
                    _judge_largest(work, n, (variance, limits, ngroup), flags[k], scratch)
                for j in range(diffs.size):
                    group = group_of(j, ngroup)
                    if flags[k, group] & JUMP:
                        i, g = group // ngroup, group % ngroup
                        groupdq[i, g, y, x] = flags[k, group]
                        ratio = abs(diffs[j] - median) / sigma
                        if seeds.size and ratio > span[0] and ratio < span[1]:
                            seeds[i, g, y, x] = True


@kernel
def _judge_all(diffs: Array, criterion: Any, ngroup: int, marks: Array) -> None:
    """Flag every difference beyond the threshold."""
    median, sigma, threshold = criterion
    for j in range(diffs.size):
        if np.isfinite(diffs[j]) and abs(diffs[j] - median) / sigma > threshold:
            marks[group_of(j, ngroup)] |= JUMP


@kernel
def _judge_largest(diffs: Array, n: int, criterion: Any, marks: Array, scratch: Array) -> None:
    """Flag the largest outlier, leave it out, start again, until there is none; `diffs` are overwritten."""
    variance, limits, ngroup = criterion
    rounded = False
    while n >= 2:
        median = _clipped_median(diffs, n, scratch)
        if rounded:
            median = np.float64(np.float32(median))
        sigma = _sigma(median, variance)
        largest = -1.0
        for value in diffs:
            ratio = np.float64(abs(np.float32(value - median))) / sigma
            if ratio > largest:
                largest = ratio
        if not largest > (limits[0] if n >= 4 else (limits[1] if n == 3 else limits[2])):
            break
        n -= _flag_largest(diffs, (median, sigma, largest), ngroup, marks)
        rounded = True


@kernel
def _flag_largest(diffs: Array, where: Any, ngroup: int, marks: Array) -> int:
    """Flag and leave out the differences with the largest ratio; return how many."""
    median, sigma, largest = where
    count = 0
    for j in range(diffs.size):
        if np.float64(abs(np.float32(diffs[j] - median))) / sigma == largest:
            marks[group_of(j, ngroup)] |= JUMP
            diffs[j] = np.nan
            count += 1
    return count


@kernel
def _clipped_median(diffs: Array, n: int, scratch: Array) -> float:
    """Median without the largest value (four or more), median (three), or the smaller (two)."""
    largest, smallest = -np.inf, np.inf
    for value in diffs:
        if value > largest:
            largest = value
        if value < smallest:
            smallest = value
    if n == 2:
        return smallest
    return median_of(diffs, scratch, largest if n >= 4 else np.nan)


@parallel_kernel
def _clip_integrations(data: Array, flags: Array, gain: Array, threshold: float) -> None:
    """Clip each difference against the same one in all integrations, by median and standard deviation."""
    nint, ngroup, ny, nx = data.shape
    for y in prange(ny):
        diffs = np.empty(nint * (ngroup - 1))
        column = np.empty(nint)
        scratch = np.empty(nint)
        for x in range(nx):
            _differences(data[:, :, y, x].ravel(), flags[:, :, y, x].ravel(), gain[y, x], ngroup, diffs)
            for g in range(ngroup - 1):
                column[:] = diffs[g :: ngroup - 1]
                low, high = bounds(column, threshold, scratch)
                for i in range(nint):
                    value = diffs[i * (ngroup - 1) + g]
                    if np.isfinite(value) and (value < low or value > high):
                        flags[i, g + 1, y, x] |= JUMP


@kernel
def bounds(column: Array, threshold: float, scratch: Array) -> tuple[float, float]:
    """Return the bounds of iterated clipping, at equal distance from the median; `column` is overwritten."""
    low, high = -np.inf, np.inf
    for _ in range(CLIP_ITERATIONS):
        median = median_of(column, scratch, np.nan)
        n, mean, spread = 0, 0.0, 0.0
        for value in column:
            if not np.isnan(value):
                n += 1
                mean += value
        if n == 0:
            break
        mean /= n
        for value in column:
            if not np.isnan(value):
                spread += (value - mean) ** 2
        low = median - threshold * np.sqrt(spread / n)
        high = median + threshold * np.sqrt(spread / n)
        clipped = 0
        for i in range(column.size):
            if column[i] < low or column[i] > high:
                column[i] = np.nan
                clipped += 1
        if clipped == 0:
            break
    return low, high


def _unflag_full_groups(flags: NDArray[np.uint8]) -> None:
    """Take the jumps out of groups where every pixel has one or is unusable: a common shift, no hits."""
    for integration in flags:
        for group in integration:
            if ((group & np.uint8(JUMP | DNU)) != 0).all():
                group[group == JUMP] = 0


@parallel_kernel
def _flag_after(data: Array, flags: Array, gain: Array, sizes: Array) -> None:
    """Flag the groups after big jumps (sizes in electrons), unless saturated or unusable."""
    nint, ngroup, ny, nx = data.shape
    for y in prange(ny):
        diffs, scratch = np.empty((2, nint * (ngroup - 1)))
        until = np.empty(ngroup, np.bool_)
        for x in range(nx):
            if (
                _differences(data[:, :, y, x].ravel(), flags[:, :, y, x].ravel(), gain[y, x], ngroup, diffs)
                == 0
            ):
                continue
            median = median_of(diffs, scratch, np.nan)
            for i in range(nint):
                until[:] = False
                for g in range(1, ngroup):
                    for k in range(sizes.shape[0]):
                        if (
                            flags[i, g, y, x] & JUMP
                            and diffs[i * (ngroup - 1) + g - 1] - median >= sizes[k, 0]
                        ):
                            until[g : min(ngroup, g + 1 + int(sizes[k, 1]))] = True
                for g in range(1, ngroup):
                    if until[g] and not flags[i, g, y, x] & UNUSABLE:
                        flags[i, g, y, x] |= JUMP
