"""Means that leave outliers out."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def clipped_mean(values, n, limit):
    """Mean of the first n values after repeated clipping at `limit` standard deviations; NaN for none.

    The values are reordered.
    """
    while n:
        mean, variance = 0.0, 0.0
        for i in range(n):
            mean += values[i]
        mean /= n
        for i in range(n):
            variance += (values[i] - mean) ** 2
        reach = limit * np.sqrt(variance / n)
        kept = 0
        for i in range(n):
            if abs(values[i] - mean) <= reach or variance == 0:
                values[kept] = values[i]
                kept += 1
        if kept == n:
            return mean
        n = kept
    return np.nan
