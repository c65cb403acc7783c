"""Medians and order of float32 values, found by counting: exact, in few passes and without sorting most."""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.ramps.kernels import Array, kernel

BINS = 256
"""Into which values are counted to find those near their median."""
LANES = 64
"""Sums that are kept side by side, so that none waits for the one before."""
DIGIT = 11
"""Bits by which values are ordered at a time."""


@kernel
def sums(values: Array, centre: float) -> tuple[float, float]:
    """Sum of the distances of values from a centre, and of their squares."""
    _, _, total, squares = sums_within(values, centre, -np.inf, np.inf)
    return total, squares


@kernel
def sums_within(values: Array, centre: float, low: float, high: float) -> tuple[int, int, float, float]:
    """How many values lie below limits and how many within, and those' sums as of `sums`."""
    lanes = np.zeros(4 * LANES)
    whole = values.size - values.size % LANES
    for i in range(0, whole, LANES):
        part = values[i : i + LANES]
        for k in range(LANES):
            _add(np.float64(part[k]), k, (centre, low, high), lanes)
    for i in range(whole, values.size):
        _add(np.float64(values[i]), 0, (centre, low, high), lanes)
    total, squares, below, within = lanes.reshape(4, LANES)
    return int(below.sum()), int(within.sum()), total.sum(), squares.sum()


@kernel
def _add(value: float, k: int, limits: Any, lanes: Array) -> None:
    """Add to the sums of a lane: rows of one array, so that compilers see that none overlaps another."""
    centre, low, high = limits
    inside = (value >= low) & (value <= high)
    distance = value - centre if inside else 0.0
    lanes[k] += distance
    lanes[LANES + k] += distance * distance
    lanes[2 * LANES + k] += 1.0 if value < low else 0.0
    lanes[3 * LANES + k] += 1.0 if inside else 0.0


@kernel
def extremes(values: Array, n: int) -> tuple[float, float]:
    """Least and largest of the first n values."""
    low, high = np.full(LANES, values[0]), np.full(LANES, values[0])
    whole = n - n % LANES
    for i in range(0, whole, LANES):
        part = values[i : i + LANES]
        for k in range(LANES):
            value = part[k]
            low[k] = value if value < low[k] else low[k]
            high[k] = value if value > high[k] else high[k]
    for i in range(whole, n):
        low[0], high[0] = min(low[0], values[i]), max(high[0], values[i])
    return low.min(), high.max()


@kernel
def counted(values: Array, n: int) -> tuple[Array, Array]:
    """Count the first n values in bins of equal width: the bin of each, and how many each bin has.

    There are no bins where all values are the same, or too far apart.
    """
    low, high = extremes(values, n)
    scale = np.float32(BINS - 1) / (high - low)
    if not (scale > 0.0 and scale < np.inf):
        return np.empty(0, np.uint8), np.empty(0, np.int32)
    bins, counts = np.empty(n, np.uint8), np.zeros(BINS, np.int32)
    for i in range(n):
        bins[i] = np.uint8((values[i] - low) * scale)
    for i in range(n):
        counts[bins[i]] += 1
    return bins, counts


@kernel
def ranked(values: Array, bins: Array, counts: Array, first: int, second: int) -> float:
    """Mean of the two values that are at two successive places, or at the same, in the order of all.

    Only those in the bins of the two are put in order.
    """
    low, before = 0, 0
    while before + counts[low] <= first:
        before += counts[low]
        low += 1
    high, upto = low, before + counts[low]
    while upto <= second:
        high += 1
        upto += counts[high]
    near = np.empty(upto - before, np.float32)
    m = 0
    for i in range(bins.size):
        if bins[i] >= low and bins[i] <= high:
            near[m] = values[i]
            m += 1
    return _middle_of(near, m, first - before, second - before)


@kernel
def median_of(values: Array, n: int) -> float:
    """Median of the first n values, which may be reordered; 0 for none."""
    if n == 0:
        return 0.0
    bins, counts = counted(values, n)
    if not bins.size:
        return _middle_of(values, n, (n - 1) // 2, n // 2)
    return ranked(values, bins, counts, (n - 1) // 2, n // 2)


@kernel
def _middle_of(values: Array, n: int, first: int, second: int) -> float:
    """Mean of the two of n values that are at two successive places, or at the same, in their order.

    Selection by partition (Hoare 1961, Communications of the ACM 4, 321).
    """
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < second:
            low = i
        if second < i:
            high = j
    upper = np.float64(values[second])
    if first == second:
        return upper
    lower = values[0]
    for i in range(1, second):
        lower = max(lower, values[i])
    return 0.5 * (np.float64(lower) + upper)


@kernel
def order(values: Array) -> None:
    """Sort finite values in place, digit by digit (Knuth, The Art of Computer Programming 3, 5.2.5R)."""
    n = values.size
    here, there = values.view(np.uint32), np.empty(n, np.uint32)
    top, every = np.uint32(1 << 31), np.uint32(0xFFFFFFFF)
    for i in range(n):  # as integers that have the order of the values
        here[i] ^= every if here[i] & top else top
    for shift in range(0, 32, DIGIT):
        starts = np.zeros((1 << DIGIT) + 1, np.int64)
        mask = np.uint32((1 << DIGIT) - 1)
        for i in range(n):
            starts[((here[i] >> np.uint32(shift)) & mask) + 1] += 1
        for digit in range(1 << DIGIT):
            starts[digit + 1] += starts[digit]
        for i in range(n):
            digit = (here[i] >> np.uint32(shift)) & mask
            there[starts[digit]] = here[i]
            starts[digit] += 1
        here, there = there, here
    # after three digits `here` is the array that was allocated
    sorted_values = values.view(np.uint32)
    for i in range(n):
        sorted_values[i] = here[i] ^ (top if here[i] & top else every)
