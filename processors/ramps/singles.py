"""Which ramps may have the rate of their first group alone: those that steady light saturates behind it.

The level of a group has all charge in it that came since the reset. A hit before the group's last read is in
it too, and a single group cannot tell. Where the group is a single read, such a hit saturates or dims nothing
behind it that was not so before; what came later is not in it. But a group that averages reads may have part
of a hit that saturates the next one, as the core of a snowball does: many times the light of a faint pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processors.ramps.covariance import Float32, PixelNoise, Pixels
from processors.ramps.gls import Slopes
from processors.ramps.kernels import Array, kernel
from schemas.dq import DQ

SATURATED, JUMP = np.uint8(DQ.SATURATED), np.uint8(DQ.JUMP_DET)
REFERENCE = np.uint32(DQ.REFERENCE_PIXEL)
SIGMAS = 5.0
"""Standard deviations between first group and zero frame from which on something came in between."""
RING = 3
"""Pixels around a region that saturates in which a halo of jumps shows that it is an event's."""
HALO = 0.25
"""Part of those that jump around an event; around stars almost none do."""


def single_groups(found: Slopes) -> Pixels:
    """Return the pixels of which a single group has made the rate."""
    alone = np.flatnonzero(found.ndiff == 0)  # they are few
    rows, columns = np.divmod(alone[np.isfinite(found.slope.flat[alone])], found.slope.shape[1])
    return rows, columns


def chosen(pixels: Pixels, where: NDArray[np.bool_]) -> Pixels:
    """Return some of the pixels."""
    return pixels[0][where], pixels[1][where]


def without_rates(found: Slopes, pixels: Pixels) -> Slopes:
    """Return slopes in which such pixels have none; the arrays of `found` are changed."""
    found.slope[pixels] = np.nan
    found.dq[pixels] |= np.uint32(DQ.DO_NOT_USE)
    return found


def unlit(pixels: Pixels, groupdq: NDArray[np.uint8], pixeldq: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Tell which of some pixels are no pixels that steady light saturates: jumps, and reference pixels.

    Reference pixels count as saturated only where their neighbours are.
    """
    flags = groupdq[:, *pixels]
    before = np.logical_and.accumulate((flags & SATURATED) == 0, axis=0)
    jumped = ((flags & JUMP) != 0) & before
    return np.asarray(jumped[1:].any(axis=0) | ((pixeldq[pixels] & REFERENCE) != 0))


def unlike_zero_frame(
    found: Slopes, pixels: Pixels, frame: tuple[Float32, float], noise: PixelNoise
) -> NDArray[np.bool_]:
    """Tell which of some pixels with a single group have got charge between the first read and the others.

    Parameters
    ----------
    found : Slopes
        Of one integration.
    pixels : tuple of ndarray
        Rows and columns.
    frame : tuple of ndarray (ny, nx) and float
        Zero frame, DN, 0 where there is none; and its time, s.
    noise : PixelNoise
        Of all pixels.
    """
    values, time = frame[0][pixels].astype(float), frame[1]
    known = (values != 0) & np.isfinite(values)
    read = 0.5 * noise.readnoise[pixels].astype(float) ** 2
    variance = (read + np.maximum(values, 0) / noise.gain[pixels]) / time**2
    limit = SIGMAS * np.sqrt(variance + found.err[pixels].astype(float) ** 2)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(known & (np.abs(found.slope[pixels] - values / time) > limit))


def in_events(pixels: Pixels, groupdq: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which of some pixels with a single group lie in regions around which the next group jumps.

    Parameters
    ----------
    pixels : tuple of ndarray
        Rows and columns.
    groupdq : ndarray (ngroup, ny, nx)
        Group flags of the integration.
    """
    from scipy import ndimage

    mask = np.zeros(groupdq.shape[1:], np.bool_)
    mask[pixels] = True
    labels, number = ndimage.label(mask, np.ones((3, 3)))
    beside, jumped = (groupdq[1] & SATURATED) == 0, (groupdq[1] & JUMP) != 0
    around = _around(labels, number, beside, jumped)
    return np.asarray((around[:, 1] > HALO * around[:, 0])[labels[pixels]])


@kernel
def _around(labels: Array, number: int, beside: Array, jumped: Array) -> Array:
    """Count for each region the pixels up to 3 away on which it is asked, and those of them that jump.

    A pixel counts once for each region that it is near, of which there may be up to 16. One pass whatever
    their number: pixels are passed over where sums over a window that moves along tell that none is near.

    Parameters
    ----------
    labels : ndarray of int32 (ny, nx)
        Regions from 1, 0 between them.
    number : int
        Of regions.
    beside, jumped : ndarray of bool (ny, nx)
        Pixels that count, and those that jump.

    Returns
    -------
    ndarray of int (number + 1, 2)
        The first row is of no region.
    """
    ny, nx = labels.shape
    counts = np.zeros((number + 1, 2), np.int64)
    known = np.empty((2 * RING + 1) ** 2, np.int32)
    column = np.zeros(nx, np.int32)
    for y in range(-RING, ny):
        for x in range(nx):
            column[x] += y + RING < ny and labels[y + RING, x] > 0
            column[x] -= y - RING > 0 and labels[y - RING - 1, x] > 0
        near = 0
        for x in range(-RING, nx):
            near += column[x + RING] if x + RING < nx else 0
            near -= column[x - RING - 1] if x - RING > 0 else 0
            if near == 0 or y < 0 or x < 0 or not beside[y, x]:
                continue
            for i in range(_near(labels, y, x, known)):
                counts[known[i], 0] += 1
                counts[known[i], 1] += jumped[y, x]
    return counts


@kernel
def _near(labels: Array, y: int, x: int, known: Array) -> int:
    """Write the different regions in the window around a pixel, and return how many they are."""
    ny, nx = labels.shape
    n = 0
    for j in range(max(y - RING, 0), min(y + RING + 1, ny)):
        for i in range(max(x - RING, 0), min(x + RING + 1, nx)):
            label = labels[j, i]
            if label == 0 or (n > 0 and label == known[n - 1]):
                continue
            new = True
            for k in range(n):
                new &= known[k] != label
            if new:
                known[n] = label
                n += 1
    return n
