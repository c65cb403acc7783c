"""Medians and order of float32 values, found by counting: exact, in few passes and without sorting most."""

from __future__ import annotations

import numpy as np

from processors.ramps.kernels import Array, kernel

BINS = 256
"""Into which values are counted to find those near their median."""
LANES = 8
"""Sums that are kept side by side, so that none waits for the one before."""
DIGIT = 11
"""Bits by which values are ordered at a time."""


@kernel
def sums(values: Array, centre: float) -> tuple[float, float]:
    """Sum of the distances of values from a centre, and of their squares."""
    total, squares = np.zeros(LANES), np.zeros(LANES)
    whole = values.size - values.size % LANES
    for i in range(0, whole, LANES):
        for k in range(LANES):
            distance = np.float64(values[i + k]) - centre
            total[k] += distance
            squares[k] += distance * distance
    for i in range(whole, values.size):
        distance = np.float64(values[i]) - centre
        total[0] += distance
        squares[0] += distance * distance
    return total.sum(), squares.sum()


@kernel
def median_of(values: Array, n: int) -> float:
    """Median of the first n values, which may be reordered; 0 for none.

    Values are counted in bins of equal width; only those in the bins of the median are put in order.
    """
    if n == 0:
        return 0.0
    low, high = values[0], values[0]
    for i in range(n):
        low = values[i] if values[i] < low else low
        high = values[i] if values[i] > high else high
    scale = np.float32(BINS - 1) / (high - low)
    if not (scale > 0.0 and scale < np.inf):  # all are the same, or too far apart
        return _middle_of(values, n, (n - 1) // 2, n // 2)
    bins, counts = np.empty(n, np.uint8), np.zeros(BINS, np.int32)
    for i in range(n):
        bins[i] = np.uint8((values[i] - low) * scale)
    for i in range(n):
        counts[bins[i]] += 1
    first, before = 0, 0
    while before + counts[first] <= (n - 1) // 2:
        before += counts[first]
        first += 1
    last, upto = first, before + counts[first]
    while upto <= n // 2:
        last += 1
        upto += counts[last]
    near = np.empty(upto - before, np.float32)
    m = 0
    for i in range(n):
        if bins[i] >= first and bins[i] <= last:
            near[m] = values[i]
            m += 1
    return _middle_of(near, m, (n - 1) // 2 - before, n // 2 - before)


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
