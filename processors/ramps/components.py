"""Connected regions of flagged pixels, from one pass over a plane: few of them are, so few bytes are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.ramps.kernels import Array, kernel

_AREA, _Y, _X, _YY, _XX, _XY, _Y0, _Y1, _X0, _X1 = range(10)
_NUMBERS = 10


@dataclass(frozen=True)
class Region:
    """Pixels that touch, corners included.

    Attributes
    ----------
    area : int
        Pixels, those of holes not counted.
    centre : tuple of float
        (y, x), the mean of the pixels.
    moments : tuple of float
        Variances of y and x and their covariance, in square pixels.
    box : tuple of slice
        Rows and columns that hold it.
    """

    area: int
    centre: tuple[float, float]
    moments: tuple[float, float, float]
    box: tuple[slice, slice]


def regions(
    plane: NDArray[np.uint8], bit: int, minimum: float, before: NDArray[np.uint8] | None = None
) -> list[Region]:
    """Return the regions of a plane in which a flag is set, those that are too small left out.

    Parameters
    ----------
    plane : ndarray of uint8 (ny, nx)
        Flags.
    bit : int
        The flag.
    minimum : float
        Least area with holes filled, pixels.
    before : ndarray of uint8 (ny, nx), optional
        Flags of the group before: a pixel that had the flag already does not count.
    """
    table = _table(_flagged(plane, bit, before), plane.shape[1])
    found = []
    for row in table[_may_be(table, float(minimum))]:
        box = slice(int(row[_Y0]), int(row[_Y1]) + 1), slice(int(row[_X0]), int(row[_X1]) + 1)
        if row[_AREA] >= minimum or _filled(plane, before, bit, box) >= minimum:
            found.append(_region(row, box))
    return found


def peaks_of_regions(pixels: NDArray[np.intp], nx: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return of each connected region that pixels form the value that is farthest from 0.

    Parameters
    ----------
    pixels : ndarray of int
        Indices of the flat plane, in order.
    nx : int
        Length of a row.
    values : ndarray of float
        One for each pixel, none of them NaN.
    """
    peaks: NDArray[np.float64] = _peaks(pixels, nx, values)
    return peaks


def _flagged(plane: NDArray[np.uint8], bit: int, before: NDArray[np.uint8] | None) -> NDArray[np.intp]:
    flagged = plane & np.uint8(bit) if before is None else plane & ~before & np.uint8(bit)
    return np.flatnonzero(flagged != 0)


def _may_be(table: NDArray[np.float64], minimum: float) -> NDArray[np.bool_]:
    """Tell which regions may be large enough; there is no hole within fewer than 8 pixels."""
    box = (table[:, _Y1] - table[:, _Y0] + 1) * (table[:, _X1] - table[:, _X0] + 1)
    big: NDArray[np.bool_] = (table[:, _AREA] >= minimum) | ((table[:, _AREA] >= 8) & (box >= minimum))
    return big


def _region(row: NDArray[np.float64], box: tuple[slice, slice]) -> Region:
    area = row[_AREA]
    y, x = row[_Y] / area, row[_X] / area
    moments = row[_YY] / area - y * y, row[_XX] / area - x * x, row[_XY] / area - x * y
    return Region(
        int(area), (float(y), float(x)), (float(moments[0]), float(moments[1]), float(moments[2])), box
    )


def _filled(
    plane: NDArray[np.uint8], before: NDArray[np.uint8] | None, bit: int, box: tuple[slice, slice]
) -> int:
    """Return the area, holes filled, of the largest region within a box; it is small, and mostly alone."""
    from scipy import ndimage

    around = np.ones((3, 3), bool)
    flagged = (plane[box] & bit) != 0
    if before is not None:
        flagged &= (before[box] & bit) == 0
    labels, number = ndimage.label(flagged, around)
    height, width = flagged.shape
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels, number), 1):
        if rows.stop - rows.start == height and columns.stop - columns.start == width:
            return int(ndimage.binary_fill_holes(labels == label, around).sum())
    return 0


@kernel
def _table(pixels: Array, nx: int) -> Array:
    """Return a row of sums for each region."""
    runs, parent = _united(pixels, nx)
    return _sums(runs, parent)


@kernel
def _peaks(pixels: Array, nx: int, values: Array) -> Array:
    runs, parent = _united(pixels, nx)
    peaks = np.zeros(len(runs))
    k = 0  # runs hold the pixels in order
    for i in range(len(runs)):
        root = _root(parent, i)
        for _ in range(runs[i, 2] - runs[i, 1] + 1):
            if abs(values[k]) > abs(peaks[root]):
                peaks[root] = values[k]
            k += 1
    return peaks[parent == np.arange(len(runs))]


@kernel
def _united(pixels: Array, nx: int) -> tuple[Array, Array]:
    """Return runs of a row, and for each one of its region: it is united with those of the row above.

    Parameters
    ----------
    pixels : ndarray of int
        Flagged ones, as indices of the flat plane in order.
    nx : int
        Length of a row.
    """
    runs = np.empty((len(pixels), 3), np.int32)  # row, first and last column
    parent = np.empty(len(pixels), np.int32)
    n, i = 0, 0
    while i < len(pixels):
        y, first = divmod(pixels[i], nx)
        x = first
        i += 1
        while i < len(pixels) and pixels[i] == pixels[i - 1] + 1 and x + 1 < nx:
            x += 1
            i += 1
        runs[n, 0], runs[n, 1], runs[n, 2] = y, first, x
        parent[n] = n
        n += 1
    k = 0  # the first run of the row above that may touch
    for i in range(n):
        while runs[k, 0] < runs[i, 0] - 1 or (runs[k, 0] < runs[i, 0] and runs[k, 2] < runs[i, 1] - 1):
            k += 1
        j = k
        while runs[j, 0] < runs[i, 0] and runs[j, 1] <= runs[i, 2] + 1:
            _unite(parent, i, j)
            j += 1
    return runs[:n], parent[:n]


@kernel
def _root(parent: Array, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _unite(parent: Array, i: int, j: int) -> None:
    a, b = _root(parent, i), _root(parent, j)
    if a < b:
        parent[b] = a
    else:
        parent[a] = b


@kernel
def _sums(runs: Array, parent: Array) -> Array:
    """Return the sums of each region's pixels; they are ordered by their first pixel."""
    n = len(runs)
    number = np.empty(n, np.int32)
    count = 0
    for i in range(n):
        if parent[i] == i:
            number[i] = count
            count += 1
    table = np.zeros((count, _NUMBERS))
    for i in range(n):
        y, first, last = float(runs[i, 0]), float(runs[i, 1]), float(runs[i, 2])
        row = table[number[_root(parent, i)]]
        if row[_AREA] == 0:
            row[_Y0], row[_X0], row[_X1] = y, first, last
        length = last - first + 1
        x = 0.5 * (first + last)
        row[_AREA] += length
        row[_Y] += y * length
        row[_X] += x * length
        row[_YY] += y * y * length
        row[_XX] += x * x * length + length * (length * length - 1) / 12
        row[_XY] += x * y * length
        row[_Y1] = y
        row[_X0] = min(row[_X0], first)
        row[_X1] = max(row[_X1], last)
    return table
