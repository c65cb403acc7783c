"""Centre and width of the background in an image that holds other things too.

Most statistics are of sorted values: what is clipped lies at their ends, so one sort serves every turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.flicker.selection import counted, median_of, ranked, sums, sums_within
from processors.ramps.kernels import Array, kernel

Image = NDArray[np.float32]
Usable = NDArray[np.bool_]

SIGMA = 3.0
TURNS = 5
"""Clipping limit, and how often it is applied at most, of all estimates."""


@dataclass(frozen=True)
class Limits:
    """Range of values that count as background."""

    low: float
    high: float


def background_limits(values: Image, sigmas: tuple[float, float], fit: bool = False) -> Limits:
    """Return the limits so many standard deviations below and above the background's centre.

    Parameters
    ----------
    values : ndarray of float32 (n,)
        Sorted values.
    sigmas : tuple of float
        How far the limits lie below and above.
    fit : bool
        Whether centre and width are those of a Gaussian fitted to the values' histogram.
    """
    centre, width = centre_and_width(values)
    if fit:
        centre, width = _fitted(values, centre, width)
    return Limits(centre - sigmas[0] * width, centre + sigmas[1] * width)


def lower_half_limits(values: Image, sigmas: tuple[float, float]) -> Limits:
    """Return such limits, with a width from the values below the centre only: diffuse light adds none there.

    Parameters are those of `background_limits`.
    """
    centre, _ = centre_and_width(values)
    width = lower_width(values, centre)
    return Limits(centre - sigmas[0] * width, centre + sigmas[1] * width)


@kernel
def middle(values: Array) -> float:
    """Median of sorted values, 0 if there are none."""
    n = values.size
    if not n:
        return 0.0
    return 0.5 * (np.float64(values[(n - 1) // 2]) + np.float64(values[n // 2]))


@kernel
def deviation(values: Array, centre: float) -> float:
    """Square root of the mean squared distance of values from a centre; 0 if there are none."""
    return np.sqrt(sums(values, centre)[1] / values.size) if values.size else 0.0


@kernel
def spread_of(values: Array, centre: float) -> float:
    """Standard deviation of values about their mean, found by way of their median; 0 if there are none."""
    if not values.size:
        return 0.0
    # a mean is within a standard deviation of the median, so the difference of squares loses no digits
    total, squares = sums(values, centre)
    return np.sqrt(max(squares / values.size - (total / values.size) ** 2, 0.0))


@kernel
def centre_and_width(values: Array) -> tuple[float, float]:
    """Median and standard deviation of sorted values after repeated clipping; 0 and 0 of nothing."""
    first, last = 0, values.size
    for _ in range(TURNS):
        part = values[first:last]
        if not part.size:
            break
        centre = middle(part)
        reach = SIGMA * spread_of(part, centre)
        while first < last and values[first] < centre - reach:
            first += 1
        while last > first and values[last - 1] > centre + reach:
            last -= 1
        if last - first == part.size:
            break
    centre = middle(values[first:last])
    return centre, spread_of(values[first:last], centre)


@kernel
def clipped_median(values: Array, n: int) -> tuple[float, int]:
    """Median of the first n values, which are finite, after repeated clipping, and how many are left.

    What is clipped lies at the ends of their order, so it only changes where in that order the median is.
    """
    if not n:
        return 0.0, 0
    bins, counts = counted(values, n)
    if not bins.size:
        return median_of(values, n), n
    centre, before, kept = ranked(values, bins, counts, (n - 1) // 2, n // 2), 0, n
    low, high = -np.inf, np.inf
    total, squares = sums(values[:n], centre)
    for _ in range(TURNS):
        # of the sums only the spread is taken, which does not depend on where they are taken about
        reach = SIGMA * np.sqrt(max(squares / kept - (total / kept) ** 2, 0.0))
        low, high = max(low, centre - reach), min(high, centre + reach)
        before, left, total, squares = sums_within(values[:n], centre, low, high)
        if left == kept:
            break
        kept = left
        centre = ranked(values, bins, counts, before + (kept - 1) // 2, before + kept // 2)
    return centre, kept


@kernel
def lower_width(values: Array, centre: float) -> float:
    """Width of a distribution from those of its sorted values that are below its centre, after clipping."""
    last = np.searchsorted(values, centre, side="right")
    first = 0
    width = deviation(values[:last], centre)
    for _ in range(TURNS):
        cut = np.searchsorted(values[first:last], centre - SIGMA * width)
        if not cut:
            break
        first += int(cut)
        width = deviation(values[first:last], centre)
    return width


def _fitted(values: Image, centre: float, width: float) -> tuple[float, float]:
    """Return centre and width of the Gaussian nearest to a histogram; those given if there is none."""
    from scipy.optimize import curve_fit

    if width <= 0:
        return centre, width
    counts, edges = np.histogram(values, bins=2000, range=(centre - 4 * width, centre + 4 * width))
    places = (edges[1:] + edges[:-1]) / 2

    def gaussian(x: Any, height: float, mean: float, sigma: float) -> Any:
        return height * np.exp(-0.5 * ((x - mean) / sigma) ** 2)

    start = (counts.max(), places[np.argmax(counts)], width)
    bounds = ([0, places[0], 0], [np.inf, places[-1], places[-1] - places[0]])
    try:
        found, _ = curve_fit(gaussian, places, counts, p0=start, bounds=bounds)
    except (RuntimeError, ValueError):  # no Gaussian is near
        return centre, width
    return float(found[1]), float(found[2])
