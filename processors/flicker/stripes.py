"""Stripes along the direction in which a detector is read: one value for each line of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.flicker.clipping import Image, Usable
from processors.flicker.differences import Background, Differences, pack, piece
from processors.flicker.selection import median_of
from processors.ramps.kernels import Array, parallel_kernel

CHANNEL = 512
"""Pixels of a line that each of the four outputs of a near-infrared full frame reads."""
TILE = 32
"""Columns that are gathered at a time."""


@dataclass(frozen=True)
class Lines:
    """How the lines of an image lie.

    Attributes
    ----------
    along : int
        Axis of the image along which they run.
    channel : int
        Pixels of a line that have one value; 0 for all.
    """

    along: int
    channel: int = 0

    def medians(self, image: Image, usable: Usable) -> NDArray[np.float64]:
        """Return the median of each line (nline, nchannel); 0 where no pixel counts.

        Parameters
        ----------
        image : ndarray of float32 (ny, nx)
            Values.
        usable : ndarray of bool (ny, nx)
            Which pixels count.
        """
        return self.medians_of(Differences.of(image, usable), Background.none(1))[0]

    def medians_of(self, differences: Differences, background: Background) -> NDArray[np.float64]:
        """Return those of differences without their background (n, nline, nchannel)."""
        shape = differences.mask.shape
        length = shape[self.along]
        channel = self.channel or length
        out = np.zeros((len(differences.now), shape[1 - self.along], -(-length // channel)))
        find = _of_rows if self.along == 1 else _of_columns
        find(differences.planes, background.tables, channel, out)
        return out

    def subtract(self, values: NDArray[np.float64], images: Image, flat: Image | None = None) -> None:
        """Subtract the lines' values (n, nline, nchannel) from images (n, ny, nx), in place.

        Parameters
        ----------
        values : ndarray of float64 (n, nline, nchannel)
            As `medians_of` finds them.
        images : ndarray of float32 (n, ny, nx)
            Changed.
        flat : ndarray of float32 (ny, nx), optional
            What to multiply the values by.
        """
        ny, nx = images.shape[1:]
        flat = np.ones((0, nx), np.float32) if flat is None else flat
        wide = values.astype(np.float32)
        if self.along == 1:
            _subtract_rows(images, wide, self.channel or nx, flat)
        else:
            _subtract_columns(images, np.ascontiguousarray(wide.swapaxes(1, 2)), self.channel or ny, flat)


@parallel_kernel
def _of_rows(planes: Any, tables: Any, channel: int, out: Array) -> None:
    ny, nx = planes[3].shape
    for y in prange(ny):
        values, seen = np.empty(channel, np.float32), np.empty(channel, np.bool_)
        inside = np.empty(channel + 1, np.float32)
        for index in range(out.shape[0]):
            for c in range(out.shape[2]):
                x0, x1 = c * channel, min((c + 1) * channel, nx)
                piece(planes, index, (y, x0, x1), tables, (values, seen))
                n = pack(values, seen, x1 - x0, inside, 0)
                out[index, y, c] = median_of(inside, n)


@parallel_kernel
def _of_columns(planes: Any, tables: Any, channel: int, out: Array) -> None:
    ny, nx = planes[3].shape
    for tile in prange((nx + TILE - 1) // TILE):
        x0, x1 = tile * TILE, min((tile + 1) * TILE, nx)
        values, seen = np.empty(TILE, np.float32), np.empty(TILE, np.bool_)
        inside = np.empty((TILE, channel), np.float32)
        for index in range(out.shape[0]):
            for c in range(out.shape[2]):
                counts = np.zeros(TILE, np.int64)
                for y in range(c * channel, min((c + 1) * channel, ny)):
                    piece(planes, index, (y, x0, x1), tables, (values, seen))
                    for k in range(x1 - x0):
                        if seen[k]:
                            inside[k, counts[k]] = values[k]
                            counts[k] += 1
                for k in range(x1 - x0):
                    out[index, x0 + k, c] = median_of(inside[k], counts[k])


@parallel_kernel
def _subtract_rows(images: Array, values: Array, channel: int, flat: Array) -> None:
    number, ny, nx = images.shape
    for y in prange(ny):
        for index in range(number):
            for c in range(values.shape[2]):
                value, stop = values[index, y, c], min((c + 1) * channel, nx)
                line = images[index, y, c * channel : stop]
                response = flat[y, c * channel : stop] if flat.shape[0] else line
                for k in range(line.size):
                    line[k] -= value * response[k] if flat.shape[0] else value


@parallel_kernel
def _subtract_columns(images: Array, values: Array, channel: int, flat: Array) -> None:
    number, ny, nx = images.shape
    for y in prange(ny):
        for index in range(number):
            row, line = values[index, y // channel], images[index, y]
            for x in range(nx):
                line[x] -= row[x] * flat[y, x] if flat.shape[0] else row[x]
