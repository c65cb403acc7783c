"""The level that MIRI's ramps begin at, which no reference takes off.

It is thousands of DN, and differs by hundreds from one part of the detector to another. A difference of
groups knows nothing of it; a pixel that has a single group has it in its rate. The pixels around that have
more groups tell it: it is the first group that they use less what their slope collects until then. The four
outputs, each of which reads every fourth column, have levels of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps.covariance import Pixels, ReadPattern
from processors.ramps.gls import Slopes
from processors.ramps.kernels import UNUSABLE
from schemas.dq import DQ

UNLIT = np.uint32(DQ.REFERENCE_PIXEL | DQ.DO_NOT_USE)
"""Flags of pixels that see no light or are not to be used."""
OUTPUTS = 4
TILE = 32
"""Pixels on a side of the parts that have a median each; the level changes over hundreds of pixels."""
FEWEST = 50
"""Pixels of a part that it takes to tell."""

Ramps = tuple[NDArray[Any], NDArray[np.uint8]]


def pedestal(found: Slopes, kept: NDArray[np.bool_], ramps: Ramps, pattern: ReadPattern) -> NDArray[Any]:
    """Return the level (ny, nx) that ramps begin at, DN, smooth over tens of pixels in each output.

    Medians of parts of the detector, and through their centres straight lines; the outputs' levels apart.
    Parts of which too few pixels tell have the median of the others; where none has enough it is 0.

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
    telling = ~kept & (found.ndiff > 0) & ((found.dq & UNLIT) == 0)
    rows, columns = np.nonzero(telling)
    group = first_used(groupdq, (rows, columns))
    with np.errstate(invalid="ignore", over="ignore"):
        level = data[group].astype(np.float64) - found.slope * np.float64(pattern.mean_t[group])
    telling &= ((groupdq[group] & UNUSABLE) == 0) & np.isfinite(level)
    level[~telling] = np.nan
    tiles = _medians(level - _outputs(level))
    known = np.isfinite(tiles)
    if not known.any():
        return np.zeros(level.shape)
    tiles[~known] = np.median(tiles[known])
    down, along = (_weights(size, number) for size, number in zip(level.shape, tiles.shape, strict=True))
    smooth = down @ tiles @ along.T
    return np.asarray(smooth + _outputs(level - smooth))  # their columns lie differently in what is not even


def first_used(groupdq: NDArray[np.uint8], pixels: Pixels) -> int:
    """Return the first group that most of some pixels use; 0 where there is none.

    Parameters
    ----------
    groupdq : ndarray (ngroup, ny, nx)
        Flags.
    pixels : tuple of ndarray
        Rows and columns.
    """
    for group, flags in enumerate(groupdq):
        if 2 * np.count_nonzero((flags[pixels] & UNUSABLE) == 0) > pixels[0].size:
            return group
    return 0


def _outputs(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the medians (nx,) of the columns of each output; that of all where one has too few pixels."""
    known = level[np.isfinite(level)]
    medians = np.full(level.shape[1], np.median(known) if known.size else 0.0)
    for output in range(min(OUTPUTS, level.shape[1])):
        part = level[:, output::OUTPUTS]
        values = part[np.isfinite(part)]
        if values.size >= FEWEST:
            medians[output::OUTPUTS] = np.median(values)
    return medians


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
    """Return what each part (in columns) has in each of `size` pixels, for straight lines through centres.

    Beyond the outermost centres the lines go on.
    """
    if number == 1:
        return np.ones((size, 1))
    place = (np.arange(size) + 0.5) * number / size - 0.5
    before = np.clip(np.floor(place).astype(int), 0, number - 2)
    weights = np.zeros((size, number))
    weights[np.arange(size), before] = 1 - (place - before)
    weights[np.arange(size), before + 1] = place - before
    return weights
