"""The level that MIRI's ramps begin at, which no reference takes off.

It is thousands of DN, and differs by hundreds from one part of the detector to another. A difference of
groups knows nothing of it; a pixel that has a single group has it in its rate. The pixels around that have
more groups tell it: it is their first group less what their slope collects until then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps.covariance import ReadPattern
from processors.ramps.gls import Slopes
from schemas.dq import DQ

SATURATED = np.uint8(DQ.SATURATED)
TILE = 32
"""Pixels on a side of the parts that have a median each; the level changes over hundreds of pixels."""
FEWEST = 50
"""Pixels of a part that it takes to tell."""

Ramps = tuple[NDArray[Any], NDArray[np.uint8]]


def pedestal(found: Slopes, kept: NDArray[np.bool_], ramps: Ramps, pattern: ReadPattern) -> NDArray[Any]:
    """Return the level (ny, nx) of the first group without light, DN, smooth over tens of pixels.

    Medians of parts of the detector, and between their centres straight lines. Parts of which too few pixels
    tell have the median of the others; where none has enough it is 0.

    Parameters
    ----------
    found : Slopes
        Of one integration, by generalised least squares.
    kept : ndarray of bool (ny, nx)
        Pixels whose slope comes from the first groups, and so cannot tell.
    ramps : tuple of ndarray
        Data in DN and GROUPDQ (ngroup, ny, nx).
    pattern : ReadPattern
        Of the groups.
    """
    data, groupdq = ramps
    telling = ~kept & (found.ndiff > 0) & ((groupdq[0] & SATURATED) == 0)
    with np.errstate(invalid="ignore", over="ignore"):
        level = data[0].astype(np.float64) - found.slope * np.float64(pattern.mean_t[0])
    tiles = _medians(np.where(telling & np.isfinite(level), level, np.nan))
    known = np.isfinite(tiles)
    if not known.any():
        return np.zeros(level.shape)
    tiles[~known] = np.median(tiles[known])
    rows, columns = (_weights(size, number) for size, number in zip(level.shape, tiles.shape, strict=True))
    return np.asarray(rows @ tiles @ columns.T)


def _medians(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the medians of the parts; NaN where too few of their pixels are finite."""
    number = [max(1, round(size / TILE)) for size in level.shape]
    edges = [np.linspace(0, size, n + 1).astype(int) for size, n in zip(level.shape, number, strict=True)]
    tiles = np.full(number, np.nan)
    for j in range(number[0]):
        for i in range(number[1]):
            part = level[edges[0][j] : edges[0][j + 1], edges[1][i] : edges[1][i + 1]]
            values = part[np.isfinite(part)]
            if values.size >= FEWEST:
                tiles[j, i] = np.median(values)
    return tiles


def _weights(size: int, number: int) -> NDArray[np.float64]:
    """Return what each part (in columns) has in each of `size` pixels, for straight lines between centres."""
    place = np.clip((np.arange(size) + 0.5) * number / size - 0.5, 0, number - 1)
    return np.asarray(np.maximum(1 - np.abs(place[:, None] - np.arange(number)), 0))
