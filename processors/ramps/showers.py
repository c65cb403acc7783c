"""Showers: extended events of MIRI's detectors, too faint in each pixel to be found pixel by pixel.

A cosmic ray that passes nearby spreads a little charge over hundreds or thousands of pixels, and some of it
arrives later. Smoothed over a ring, the deviations of a group's differences from the usual ones tell where
(Regan 2023, JWST-STScI-008545).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.ramps.components import regions
from processors.ramps.covariance import Float32, PixelNoise
from processors.ramps.ellipses import Bits, Ellipse, flag_grown
from processors.ramps.kernels import DNU, JUMP, SAT, TILE, Array, gather, kernel, parallel_kernel
from processors.ramps.twopoint import bounds, group_of, median_of
from schemas.dq import DQ

_BAD = np.uint8(DNU | SAT | JUMP)
_CLIP = 5.0
"""Standard deviations, where differences are compared with those of many other integrations."""


@dataclass(frozen=True, kw_only=True)
class ShowerRules:
    """What is a shower, and how much of it is flagged.

    Attributes
    ----------
    snr_threshold : float
        Of the mean deviation in a ring, whatever its sign, in sigma of a pixel: noise alone has 0.8.
    min_area : float
        Pixels beyond the threshold that touch.
    inner_radius, width : float
        Of the ring, pixels.
    expand_ratio : float
        By which the minor axis of what is seen grows; the major axis grows by as many pixels.
    groups_after : int
        Groups flagged after that in which it arrives.
    max_amplitude : float
        DN per group: where a ramp's mean difference without the flagged groups changes by more, or there is
        none, flags are taken back.
    min_differences : int
        Fewer of an exposure tell nothing.
    clip_integrations : int
        As many integrations are compared difference by difference.
    max_radius : float
        Pixels; no ellipse grows beyond.
    """

    snr_threshold: float = 1.2
    min_area: float = 90.0
    inner_radius: float = 1.0
    width: float = 2.6
    expand_ratio: float = 1.1
    groups_after: int = 0
    max_amplitude: float = np.inf
    min_differences: int = 10
    clip_integrations: int = 100
    max_radius: float = 200.0


def flag_showers(
    data: Float32,
    groupdq: Bits,
    pixeldq: NDArray[np.uint32],
    nframes: int,
    noise: PixelNoise,
    rules: ShowerRules,
) -> int:
    """Flag the showers of some integrations JUMP_DET; what is usual is the median difference in all of them.

    Parameters
    ----------
    data : ndarray of float32 (nint, ngroup, ny, nx)
        Ramps, DN.
    groupdq : ndarray of uint8 (nint, ngroup, ny, nx)
        With jumps found pixel by pixel; changed in place.
    pixeldq : ndarray of uint32 (ny, nx)
        Flags of pixels.
    nframes : int
        Reads averaged in a group.
    noise : PixelNoise
        Gain and read noise (ny, nx).
    rules : ShowerRules
        What is a shower.

    Returns
    -------
    int
        Number of showers.
    """
    unusable = (groupdq & DNU).all(axis=(2, 3))
    if groupdq.shape[0] * (groupdq.shape[1] - 1) - unusable.sum() < rules.min_differences:
        return 0
    gain, readnoise, _ = noise.arrays(data.shape[2:])
    variance = np.square(readnoise, dtype=np.float64) / nframes
    usual = _usual(data, groupdq, gain, variance, rules.clip_integrations)
    reference = (pixeldq & np.uint32(DQ.REFERENCE_PIXEL)) != 0
    masked = reference | ((pixeldq & np.uint32(_BAD)) != 0)
    found = [
        _found(ramp, flags, masked, usual, rules) for ramp, flags in zip(data, groupdq, strict=True)
    ]  # all of them before any is flagged, which would hide others
    for ramp, flags, events in zip(data, groupdq, found, strict=True):
        if events:
            _flag(ramp, flags, reference, events, rules)
    return sum(map(len, found))


def _found(
    data: Float32, groupdq: Bits, masked: NDArray[np.bool_], usual: Any, rules: ShowerRules
) -> list[tuple[int, Ellipse]]:
    """Return the showers of an integration, each with the group in which it arrives."""
    good = np.flatnonzero(~(groupdq & DNU).all(axis=(1, 2)))
    reach = _ring(rules.inner_radius, rules.width)
    found = []
    for group in range(int(good[0]) + 1 if good.size else 1, len(groupdq)):
        middle, weight = (planes[min(group, len(planes)) - 1] for planes in usual)
        pair = data[group - 1 : group + 1], groupdq[group - 1 : group + 1]
        plane = _beyond(pair, masked, (middle, weight), reach, rules.snr_threshold)
        found += [(group, Ellipse.of(region)) for region in regions(plane, 1, rules.min_area)]
    return found


def _flag(
    data: Float32,
    groupdq: Bits,
    reference: NDArray[np.bool_],
    events: list[tuple[int, Ellipse]],
    rules: ShowerRules,
) -> None:
    before = groupdq.copy()
    for group, event in events:
        for plane in groupdq[group : group + rules.groups_after + 1]:
            flag_grown(plane, event, rules.expand_ratio, rules.max_radius)
    groupdq[:, reference] = before[:, reference]
    changed = np.nonzero((groupdq != before).any(axis=0))
    _take_back(data, groupdq, before, changed, rules.max_amplitude)


def _ring(inner: float, width: float) -> NDArray[np.int64]:
    """Return how far a ring and its hole reach from its middle column, by row; -1 is nowhere."""
    outer = inner + width
    rows = np.arange(-int(outer), int(outer) + 1)
    hole = [
        max((x for x in range(int(inner) + 1) if x * x + y * y < inner * inner), default=-1) for y in rows
    ]
    return np.array([np.floor(np.sqrt(outer * outer - rows * rows)), hole]).astype(np.int64)


def _usual(data: Float32, groupdq: Bits, gain: Float32, variance: Array, clip: int) -> tuple[Array, Array]:
    """Return what differences are usually and one over their noise, DN: (1, ny, nx) or for each group."""
    nint, ngroup = data.shape[:2]
    many = nint >= clip
    middle, weight = np.empty((2, ngroup - 1 if many else 1, *data.shape[2:]), np.float32)
    (_clipped if many else _pooled)(np.ascontiguousarray(data), groupdq, (gain, variance), middle, weight)
    return middle, weight


@kernel
def _differences(values: Array, flags: Array, ngroup: int, diffs: Array) -> None:
    """Write the differences of one pixel's groups through all integrations, NaN where one is unusable."""
    for j in range(diffs.size):
        k = group_of(j, ngroup)
        bad = (flags[k] | flags[k - 1]) & _BAD
        diffs[j] = np.nan if bad else np.float64(values[k]) - np.float64(values[k - 1])


@parallel_kernel
def _pooled(data: Array, groupdq: Array, planes: Any, middle: Array, weight: Array) -> None:
    nint, ngroup, ny, nx = data.shape
    gain, variance = planes
    ramps_, flags_ = data.reshape(nint * ngroup, ny, nx), groupdq.reshape(nint * ngroup, ny, nx)
    for y in prange(ny):
        ramps = np.empty((TILE, nint * ngroup), np.float32)
        flags = np.empty((TILE, nint * ngroup), np.uint8)
        diffs, scratch = np.empty((2, nint * (ngroup - 1)))
        for x0 in range(0, nx, TILE):
            for k in range(gather(ramps_, flags_, (y, x0), ramps, flags)):
                x = x0 + k
                _differences(ramps[k], flags[k], ngroup, diffs)
                median = median_of(diffs, scratch, np.nan)
                middle[0, y, x] = median
                weight[0, y, x] = 1.0 / np.sqrt(abs(median) / gain[y, x] + variance[y, x])


@parallel_kernel
def _clipped(data: Array, groupdq: Array, planes: Any, middle: Array, weight: Array) -> None:
    nint, ngroup, ny, nx = data.shape
    for y in prange(ny):
        diffs = np.empty(nint * (ngroup - 1))
        column, scratch = np.empty((2, nint))
        for x in range(nx):
            _differences(data[:, :, y, x].ravel(), groupdq[:, :, y, x].ravel(), ngroup, diffs)
            for g in range(ngroup - 1):
                column[:] = diffs[g :: ngroup - 1]
                low, high = bounds(column, _CLIP, scratch)
                middle[g, y, x] = (low + high) / 2
                weight[g, y, x] = 2 * _CLIP / (high - low)


def _beyond(
    pair: tuple[Float32, Bits], masked: NDArray[np.bool_], usual: Any, reach: Any, threshold: float
) -> Bits:
    """Return 1 where the deviations of a difference are beyond the threshold in the mean over a ring."""
    ny, nx = masked.shape
    sums, bad = np.zeros((ny, nx + 1)), np.zeros((ny, nx + 1), np.int32)
    _sum_rows(np.ascontiguousarray(pair[0]), np.ascontiguousarray(pair[1]), masked, usual, (sums, bad))
    plane = np.zeros((ny, nx), np.uint8)
    _compare(sums, bad, reach, threshold, plane)
    return plane


@parallel_kernel
def _sum_rows(data: Array, groupdq: Array, masked: Array, usual: Any, out: Any) -> None:
    """Sum the deviations, in sigma, and the unusable pixels along each row, from nothing on."""
    sums, bad = out
    middle, weight = usual
    ny, nx = masked.shape
    for y in prange(ny):
        total, number = 0.0, 0
        for x in range(nx):
            value = abs(np.float64(data[1, y, x]) - np.float64(data[0, y, x]) - middle[y, x]) * weight[y, x]
            if masked[y, x] or ((groupdq[0, y, x] | groupdq[1, y, x]) & _BAD) or not np.isfinite(value):
                number += 1
            else:
                total += value
            sums[y, x + 1], bad[y, x + 1] = total, number


@parallel_kernel
def _compare(sums: Array, bad: Array, reach: Array, threshold: float, plane: Array) -> None:
    """Compare ring means; beyond the edges nothing deviates, and unusable pixels do not count."""
    ny, nx = plane.shape
    half = reach.shape[1] // 2
    inside = 0
    for dy in range(reach.shape[1]):
        inside += 2 * reach[0, dy] + 1 - max(0, 2 * reach[1, dy] + 1)
    for i in prange(ny):
        y = np.int64(i)  # a parallel loop's index has no sign
        for x in range(nx):
            if bad[y, x + 1] != bad[y, x]:
                continue
            total, number = 0.0, 0
            for dy in range(max(-half, -y), min(half, ny - 1 - y) + 1):
                row = y + dy
                for k in range(2):
                    wide = reach[k, dy + half]
                    if wide >= 0:
                        sign = 1 - 2 * k
                        first, last = max(0, x - wide), min(nx, x + wide + 1)
                        total += sign * (sums[row, last] - sums[row, first])
                        number += sign * (bad[row, last] - bad[row, first])
            if number < inside and total > threshold * (inside - number):
                plane[y, x] = 1


@parallel_kernel
def _take_back(data: Array, groupdq: Array, before: Array, changed: Any, largest: float) -> None:
    """Restore the flags of pixels whose mean difference changed by more than `largest`, or is gone."""
    for i in prange(changed[0].size):
        y, x = changed[0][i], changed[1][i]
        old = _mean(data[:, y, x], before[:, y, x])
        new = _mean(data[:, y, x], groupdq[:, y, x])
        if not abs(new - old) <= largest:
            groupdq[:, y, x] = before[:, y, x]


@kernel
def _mean(values: Array, flags: Array) -> float:
    """Return the mean difference of successive good groups; NaN if there is none."""
    total, number = 0.0, 0
    for g in range(1, values.size):
        if not ((flags[g] | flags[g - 1]) & _BAD):
            total += np.float64(values[g]) - np.float64(values[g - 1])
            number += 1
    return total / number if number else np.nan
