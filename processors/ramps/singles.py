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
    event = np.zeros(number + 1, np.bool_)
    full, jumped = ((groupdq[1] & bit) != 0 for bit in (SATURATED, JUMP))
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        wide = tuple(slice(max(side.start - RING, 0), side.stop + RING) for side in box)
        near = ndimage.binary_dilation(labels[wide] == index, np.ones((3, 3)), iterations=RING)
        ring = near & ~full[wide]
        event[index] = np.count_nonzero(ring & jumped[wide]) > HALO * np.count_nonzero(ring)
    return np.asarray(event[labels[pixels]])
