"""Centre and width of the background in an image that holds other things too.

All statistics are of sorted values: what is clipped lies at their ends, so one sort serves every turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Image = NDArray[np.float32]
Usable = NDArray[np.bool_]

SIGMA = 3.0
TURNS = 5
"""Clipping limit, and how often it is applied at most, of all estimates."""


ENOUGH = 1 << 18
"""Values from which limits and levels are known to some thousandths of the width."""


def sample(image: Image, usable: Usable) -> Image:
    """Return usable values of an image, sorted: all, or of large images every so many-th.

    Parameters
    ----------
    image : ndarray of float32 (ny, nx)
        Values; finite where they are usable.
    usable : ndarray of bool (ny, nx)
        Which pixels count.
    """
    # an odd step goes through all columns
    step = max(image.size // ENOUGH - 1, 0) | 1
    return np.sort(image.ravel()[::step][usable.ravel()[::step]])


@dataclass(frozen=True)
class Limits:
    """Range of values that count as background."""

    low: float
    high: float

    def of(self, values: Image) -> Image:
        """Return those of some sorted values that lie within."""
        first, last = np.searchsorted(values, self.low), np.searchsorted(values, self.high, side="right")
        return values[first:last]


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
    centre, width = _clipped(values)
    if fit:
        centre, width = _fitted(values, centre, width)
    return Limits(centre - sigmas[0] * width, centre + sigmas[1] * width)


def lower_half_limits(values: Image, sigmas: tuple[float, float]) -> Limits:
    """Return such limits, with a width from the values below the centre only: diffuse light adds none there.

    Parameters are those of `background_limits`.
    """
    centre, _ = _clipped(values)
    width = _lower_width(values[: np.searchsorted(values, centre, side="right")], centre)
    return Limits(centre - sigmas[0] * width, centre + sigmas[1] * width)


@njit(cache=True)
def middle(values):
    """Median of sorted values, 0 if there are none."""
    n = values.size
    if not n:
        return 0.0
    return 0.5 * (np.float64(values[(n - 1) // 2]) + np.float64(values[n // 2]))


@njit(cache=True)
def deviation(values, centre):
    """Square root of the mean squared distance of values from a centre; 0 if there are none."""
    squares = 0.0
    for i in range(values.size):
        squares += (np.float64(values[i]) - centre) ** 2
    return np.sqrt(squares / values.size) if values.size else 0.0


@njit(cache=True)
def clipped_range(values):
    """First and one past the last of sorted values that are left after repeated clipping."""
    first, last = 0, values.size
    for _ in range(TURNS):
        part = values[first:last]
        if not part.size:
            break
        total = 0.0
        for i in range(part.size):
            total += np.float64(part[i])
        reach = SIGMA * deviation(part, total / part.size)
        centre = middle(part)
        while first < last and values[first] < centre - reach:
            first += 1
        while last > first and values[last - 1] > centre + reach:
            last -= 1
        if last - first == part.size:
            break
    return first, last


def _clipped(values: Image) -> tuple[float, float]:
    """Return median and standard deviation after clipping; 0 and 0 of nothing."""
    first, last = clipped_range(values)
    part = values[first:last]
    return float(middle(part)), float(deviation(part, part.mean(dtype=np.float64))) if part.size else 0.0


def _lower_width(values: Image, centre: float) -> float:
    """Return the width of a distribution whose lower half sorted values are, after clipping."""
    width = float(deviation(values, centre))
    for _ in range(TURNS):
        first = int(np.searchsorted(values, centre - SIGMA * width))
        if not first:
            break
        values = values[first:]
        width = float(deviation(values, centre))
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
