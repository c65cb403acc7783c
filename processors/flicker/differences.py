"""Differences of groups, formed where they are looked at, a piece of a row at a time, and never kept.

Images of differences would have to be written and read again at every step; groups lie in memory already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.flicker.clipping import Image, Usable, centre_and_width, lower_width, middle
from processors.flicker.selection import order
from processors.ramps.kernels import Array, kernel, parallel_kernel
from schemas.dq import DQ

UNUSABLE = np.uint8(DQ.DO_NOT_USE | DQ.JUMP_DET)
ENOUGH = 1 << 18
"""Values from which limits and levels are known to some thousandths of the width."""
LARGEST = np.finfo(np.float32).max
ORDER = 4
"""Levels that a cubic spline joins at a place."""


@dataclass(frozen=True)
class Differences:
    """Each of some groups less the one before.

    Attributes
    ----------
    before, now : ndarray of float32 (n, ny, nx)
        Groups, DN.
    flags : ndarray of uint8 (n, ny, nx)
        Of the later ones: what is DO_NOT_USE or JUMP_DET does not count.
    mask : ndarray of bool (ny, nx)
        What counts of all groups.
    flat : ndarray of float32 (ny, nx), optional
        What to divide by.
    """

    before: Image
    now: Image
    flags: NDArray[np.uint8]
    mask: Usable
    flat: Image | None = None

    @classmethod
    def of(cls, image: Image, usable: Usable, flat: Image | None = None) -> Differences:
        """Return the difference of an image (ny, nx) from nothing."""
        nothing = np.zeros((1, *image.shape), np.float32)
        return cls(nothing, image[np.newaxis], np.zeros(nothing.shape, np.uint8), usable, flat)

    @property
    def planes(self) -> tuple[Array, ...]:
        """What kernels take; a flat field of no rows is none."""
        flat = np.ones((0, self.mask.shape[1]), np.float32) if self.flat is None else self.flat
        return self.before, self.now, self.flags, self.mask, flat


@dataclass(frozen=True)
class Background:
    """What is taken from differences, and which of their pixels see nothing else.

    Attributes
    ----------
    limits : ndarray of float32 (n, 4)
        Least and largest value of a difference, and of what is left of it without its background.
    levels : ndarray of float32 (n, rows, m)
        Background along each row at some places, or of all rows where there is one; none where m is 0.
    between : tuple of ndarray
        How a row's levels are joined: the columns (k + 1,) at which the first of the levels that count
        changes, those first ones (k,), and the weights (4, nx) of it and the three after it.
    bounds : ndarray of float32 (n, 2)
        Least and largest value of the background.
    """

    limits: NDArray[np.float32]
    levels: NDArray[np.float32]
    between: tuple[Array, Array, Array]
    bounds: NDArray[np.float32]

    @classmethod
    def none(cls, number: int) -> Background:
        """Return that of differences of which all is noise."""
        limits = np.tile(np.array([-LARGEST, LARGEST], np.float32), (number, 2))
        nowhere = np.zeros(0, np.int64)
        between = (nowhere, nowhere, np.zeros((ORDER, 0), np.float32))
        return cls(limits, np.zeros((number, 0, 0), np.float32), between, limits[:, :2])

    @property
    def tables(self) -> tuple[Any, ...]:
        """What kernels take."""
        return self.limits, self.levels, self.bounds, *self.between


@dataclass(frozen=True)
class Statistics:
    """What is known of the usable values of each difference, from a sample of large ones.

    Attributes
    ----------
    centre, width : ndarray of float64 (n,)
        Median and standard deviation after clipping.
    lower : ndarray of float64 (n,)
        Width of the values below the centre: diffuse light adds none there.
    middle : ndarray of float64 (n,)
        Median of all.
    """

    centre: NDArray[np.float64]
    width: NDArray[np.float64]
    lower: NDArray[np.float64]
    middle: NDArray[np.float64]

    @classmethod
    def of(cls, differences: Differences, background: Background) -> Statistics:
        """Look at differences without their background."""
        found = np.empty((4, len(differences.now)))
        _statistics(differences.planes, background.tables, _stretches(differences.mask.shape), found)
        return cls(*found)


def sample(image: Image, usable: Usable) -> Image:
    """Return usable values of an image, sorted: all, or of large images some of each row.

    Parameters
    ----------
    image : ndarray of float32 (ny, nx)
        Values.
    usable : ndarray of bool (ny, nx)
        Which pixels count; what is not finite does not.
    """
    planes, tables = Differences.of(image, usable).planes, Background.none(1).tables
    return np.asarray(_sample(planes, 0, tables, _stretches(image.shape)))


def residual(differences: Differences, index: int, background: Background) -> tuple[Image, Usable]:
    """Return a difference without its background, 0 where it does not count, and where it does (ny, nx)."""
    shape = differences.mask.shape
    image, usable = np.empty(shape, np.float32), np.empty(shape, np.bool_)
    _residual(differences.planes, index, background.tables, image, usable)
    return image, usable


def _stretches(shape: tuple[int, ...]) -> int:
    """Return into how many stretches a row is cut, of which a sample takes one."""
    return max(shape[0] * shape[1] // ENOUGH - 1, 0) | 1


@kernel
def piece(planes: Any, index: int, place: Any, tables: Any, out: Any) -> None:
    """Form a piece of a row of a difference without its background.

    Parameters
    ----------
    planes, tables : tuple
        `Differences.planes` and `Background.tables`.
    index : int
        Which difference.
    place : tuple of int
        Row, first column, and one past the last.
    out : tuple of ndarray
        Values of float32, and of bool where they count; written from the beginning on.
    """
    y, x0, x1 = place
    before, now, flags, mask, flat = planes
    limits, levels, bounds, edges, firsts, weights = tables
    values, seen = out
    n = x1 - x0
    earlier, later, flag = before[index, y, x0:x1], now[index, y, x0:x1], flags[index, y, x0:x1]
    kept, low, high = mask[y, x0:x1], limits[index, 0], limits[index, 1]
    for k in range(n):
        values[k] = later[k] - earlier[k]
    if flat.shape[0]:
        response = flat[y, x0:x1]
        for k in range(n):
            values[k] /= response[k]
    for k in range(n):
        inside = (values[k] >= low) & (values[k] <= high)
        seen[k] = kept[k] & ((flag[k] & UNUSABLE) == 0) & inside
    if levels.shape[1]:
        level = levels[index, min(np.int64(y), levels.shape[1] - 1)]
        _without(values, level, (x0, x1), (edges, firsts, weights), bounds[index])
        low, high = limits[index, 2], limits[index, 3]
        for k in range(n):
            seen[k] = seen[k] & (values[k] >= low) & (values[k] <= high)


@kernel
def _without(values: Array, level: Array, columns: Any, between: Any, bounds: Array) -> None:
    """Subtract a row's background from values of some of its columns."""
    x0, x1 = columns
    edges, firsts, weights = between
    low, high = bounds[0], bounds[1]
    for run in range(firsts.size):
        start, stop = max(edges[run], x0), min(edges[run + 1], x1)
        if start >= stop:
            continue
        first = firsts[run]
        a, b, c, d = level[first], level[first + 1], level[first + 2], level[first + 3]
        one, two = weights[0, start:stop], weights[1, start:stop]
        three, four = weights[2, start:stop], weights[3, start:stop]
        left = values[start - x0 : stop - x0]
        for k in range(left.size):
            value = a * one[k] + b * two[k] + c * three[k] + d * four[k]
            value = low if value < low else value
            left[k] -= high if value > high else value


@kernel
def pack(values: Array, seen: Array, n: int, out: Array, m: int) -> int:
    """Put those of n values that count behind the first m of `out`; return how many it has then."""
    for k in range(n):
        out[m] = values[k]
        m += seen[k]
    return m


@kernel
def _sample(planes: Any, index: int, tables: Any, stretches: int) -> Array:
    """Return usable values of a difference in order: of each row those of a stretch, the next in the next."""
    ny, nx = planes[3].shape
    longest = -(-nx // stretches)
    values, seen = np.empty(longest, np.float32), np.empty(longest, np.bool_)
    found = np.empty(ny * longest + 1, np.float32)
    n = 0
    for y in range(ny):
        turn = y % stretches
        x0, x1 = turn * nx // stretches, (turn + 1) * nx // stretches
        piece(planes, index, (y, x0, x1), tables, (values, seen))
        n = pack(values, seen, x1 - x0, found, n)
    found = found[:n].copy()
    order(found)
    return found


@parallel_kernel
def _statistics(planes: Any, tables: Any, stretches: int, found: Array) -> None:
    for index in prange(found.shape[1]):
        values = _sample(planes, index, tables, stretches)
        centre, width = centre_and_width(values)
        found[0, index], found[1, index] = centre, width
        found[2, index] = lower_width(values, centre)
        found[3, index] = middle(values)


@parallel_kernel
def _residual(planes: Any, index: int, tables: Any, image: Array, usable: Array) -> None:
    ny, nx = image.shape
    for y in prange(ny):
        piece(planes, index, (y, 0, nx), tables, (image[y], usable[y]))
        for x in range(nx):
            if not usable[y, x]:
                image[y, x] = 0.0
