"""Stripes along the direction in which a detector is read: one value for each line of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.flicker.clipping import Image, Usable
from schemas.dq import DQ

UNUSABLE = np.uint8(DQ.DO_NOT_USE | DQ.JUMP_DET)
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
            Values; finite where they are usable.
        usable : ndarray of bool (ny, nx)
            Which pixels count.
        """
        length = image.shape[self.along]
        channel = self.channel or length
        out = np.zeros((image.shape[1 - self.along], -(-length // channel)))
        find = _of_rows if self.along == 1 else _of_columns
        find(image, usable, channel, out)
        return out

    def spread(self, values: NDArray[np.float64], shape: tuple[int, ...]) -> Image:
        """Return an image (ny, nx) of the lines' values (nline, nchannel)."""
        length = shape[self.along]
        wide = np.repeat(values.astype(np.float32), self.channel or length, axis=1)[:, :length]
        return wide if self.along == 1 else wide.T


def difference(
    before: Image, now: Image, groupdq: NDArray[np.uint8], mask: Usable, flat: Image | None
) -> tuple[Image, Usable]:
    """Return a group less the one before, 0 where it does not count, and where it does.

    Parameters
    ----------
    before, now : ndarray of float32 (ny, nx)
        Two groups, DN.
    groupdq : ndarray of uint8 (ny, nx)
        Flags of the second: what is DO_NOT_USE or JUMP_DET does not count.
    mask : ndarray of bool (ny, nx)
        What counts of all groups.
    flat : ndarray of float32 (ny, nx), optional
        What to divide by.
    """
    image, usable = np.empty(mask.shape, np.float32), np.empty(mask.shape, np.bool_)
    flat = np.ones((0, mask.shape[1]), np.float32) if flat is None else flat
    _difference((before, now, groupdq), mask, flat, image, usable)
    return image, usable


@njit(cache=True, parallel=True)
def _difference(planes, mask, flat, image, usable):
    before, now, flags = planes
    ny, nx = image.shape
    for y in prange(ny):
        for x in range(nx):
            image[y, x] = now[y, x] - before[y, x]
        if flat.shape[0]:
            for x in range(nx):
                image[y, x] /= flat[y, x]
        for x in range(nx):
            usable[y, x] = mask[y, x] and (flags[y, x] & UNUSABLE) == 0 and np.isfinite(image[y, x])
            if not usable[y, x]:
                image[y, x] = 0.0


@njit(cache=True, parallel=True)
def _of_rows(image, usable, channel, out):
    ny, nx = image.shape
    for y in prange(ny):
        values = np.empty(channel, np.float32)
        for c in range(out.shape[1]):
            n = 0
            for x in range(c * channel, min((c + 1) * channel, nx)):
                if usable[y, x]:
                    values[n] = image[y, x]
                    n += 1
            out[y, c] = median_of(values, n)


@njit(cache=True, parallel=True)
def _of_columns(image, usable, channel, out):
    ny, nx = image.shape
    for tile in prange((nx + TILE - 1) // TILE):
        first = tile * TILE
        last = min(first + TILE, nx)
        values = np.empty((TILE, channel), np.float32)
        for c in range(out.shape[1]):
            counts = np.zeros(TILE, np.int64)
            for y in range(c * channel, min((c + 1) * channel, ny)):
                for x in range(first, last):
                    if usable[y, x]:
                        values[x - first, counts[x - first]] = image[y, x]
                        counts[x - first] += 1
            for x in range(first, last):
                out[x, c] = median_of(values[x - first], counts[x - first])


@njit(cache=True)
def median_of(values, n):
    """Median of the first n values, which are reordered; 0 for none.

    Selection by partition (Hoare 1961, Communications of the ACM 4, 321).
    """
    if n == 0:
        return 0.0
    k = n // 2
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
        if j < k:
            low = i
        if k < i:
            high = j
    upper = np.float64(values[k])
    if n % 2:
        return upper
    lower = values[0]
    for i in range(1, k):
        lower = max(lower, values[i])
    return 0.5 * (lower + upper)
