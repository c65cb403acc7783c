"""Rates of ramps that are saturated from their first group on, from the frame that was kept of it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps import gls, ols
from processors.ramps.covariance import Float32, PixelNoise, Pixels, ReadPattern
from processors.ramps.kernels import UNUSABLE
from schemas.dq import DQ

DO_NOT_USE, SATURATED = np.uint8(DQ.DO_NOT_USE), np.uint8(DQ.SATURATED)
REFUSED = np.uint8(DQ.PERSISTENCE | DQ.DO_NOT_USE)
"""Flags of a group that is left out for what persists in it: the zero frame has that too."""


def without_groups(groupdq: NDArray[np.uint8], zeroframe: Float32) -> Pixels:
    """Return the saturated pixels that have no usable group, and a value in the zero frame.

    Parameters
    ----------
    groupdq : ndarray (ngroup, ny, nx)
        Group flags; only SATURATED and DO_NOT_USE make a group unusable.
    zeroframe : ndarray (ny, nx)
        DN; 0 where there is none.
    """
    # of all groups only the first is looked at in every pixel: few have lost that one
    first = groupdq[0]
    lost = ((first & UNUSABLE) != 0) & ((first & REFUSED) != REFUSED)
    rows, columns = np.nonzero(lost & (zeroframe != 0) & np.isfinite(zeroframe))
    flags = groupdq[:, rows, columns]
    found = ((flags & UNUSABLE) != 0).all(axis=0) & ((flags & SATURATED) != 0).any(axis=0)
    return rows[found], columns[found]


def add_median_rate(rate: NDArray[np.float64], pixels: Pixels, zeroframe: Float32, time: float) -> None:
    """Add to the sum (ny, nx) of the integrations' median rates those of such pixels, in place."""
    rate[pixels] += zeroframe[pixels].astype(np.float64) / time


def fit_gls(
    found: gls.Slopes,
    pixels: Pixels,
    ramps: tuple[Float32, NDArray[np.uint8], Float32, NDArray[np.uint32]],
    pattern: ReadPattern,
    noise: PixelNoise,
    time: float,
) -> gls.Slopes:
    """Return slopes in which such pixels have the rate of their zero frame, with the noise of a single read.

    Parameters
    ----------
    found : Slopes
        Of all pixels; its arrays are changed.
    pixels : tuple of ndarray
        Rows and columns.
    ramps : tuple of ndarray
        Data and GROUPDQ (ngroup, ny, nx), zero frame and PIXELDQ (ny, nx).
    pattern : ReadPattern
        Of the groups.
    noise : PixelNoise
        Of all pixels.
    time : float
        When the zero frame was read, seconds after the reset.
    """
    data, groupdq, pixeldq = _gathered(pixels, ramps)
    # no later group is used: their times only have to be later
    frames = ReadPattern.of_groups([[time], *([time * (2 + g)] for g in range(len(data) - 1))])
    made = gls.fit_slopes(
        data,
        groupdq,
        frames,
        noise.of_pixels(pixels),
        pixeldq=pixeldq,
        suppress_one_group=False,
        shares=found.shares is not None,
    )
    if made.shares is not None:
        ratio = np.divide(gls.whole_information(frames), gls.whole_information(pattern))
        made = replace(made, shares=made.shares * ratio[:, None, None].astype(np.float32))
    return _scattered(found, pixels, made)


def fit_ols(
    found: gls.Slopes,
    pixels: Pixels,
    ramps: tuple[Float32, NDArray[np.uint8], Float32, NDArray[np.uint32]],
    timing: ols.Timing,
    noise: PixelNoise,
    rate: NDArray[np.float64],
) -> gls.Slopes:
    """Return slopes in which such pixels have the rate of their zero frame, as the standard pipeline's.

    Parameters
    ----------
    found, pixels, ramps, noise
        As for `fit_gls`.
    timing : Timing
        Of the groups.
    rate : ndarray (ny, nx)
        Mean of the exposure's median rates, DN/s.
    """
    data, groupdq, pixeldq = _gathered(pixels, ramps)
    # a group whose mean time is that of the frame; the read noise stays that of a group
    frames = replace(timing, frame_time=2 * timing.frame_time / (timing.nframes + 1))
    made = ols.fit_slopes(
        data,
        groupdq,
        frames,
        noise.of_pixels(pixels),
        pixeldq=pixeldq,
        rate=rate[pixels][np.newaxis],
        suppress_one_group=False,
    )
    return _scattered(found, pixels, made)


def _gathered(pixels: Pixels, ramps: Any) -> tuple[Float32, NDArray[np.uint8], NDArray[np.uint32]]:
    """Return data, group flags (ngroup, 1, npixel) and pixel flags with the zero frame as only good group."""
    data, groupdq, zeroframe, pixeldq = ramps
    values = np.ascontiguousarray(data[:, *pixels][:, np.newaxis], np.float32)
    flags = groupdq[:, *pixels][:, np.newaxis]
    values[0, 0], flags[0, 0] = zeroframe[pixels], 0
    flags[1:] |= DO_NOT_USE
    return values, flags, pixeldq[pixels][np.newaxis]


def _scattered(found: gls.Slopes, pixels: Pixels, made: gls.Slopes) -> gls.Slopes:
    """Return slopes in which such pixels are as made; they keep the flags that their groups gave them."""
    made = replace(made, dq=made.dq | (found.dq[pixels] & ~np.uint32(DO_NOT_USE)))
    for field in fields(found):
        plane, new = getattr(found, field.name), getattr(made, field.name)
        if plane is not None:
            plane[..., *pixels] = new[..., 0, :]
    return found
