"""A smooth background under noise: medians of boxes, smoothed, joined by splines."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.flicker.clipping import Image, Usable, clipped_median
from processors.flicker.differences import ORDER, Background, Differences, Statistics, pack, piece
from processors.ramps.kernels import Array, parallel_kernel

LARGEST_BOX = 32
FILTER = 5
"""Boxes along each side over which medians are smoothed."""
ENOUGH = 0.9
"""Fraction of a box's pixels that have to count for it to have a level of its own."""
NEIGHBOURS = 10
"""Boxes that one without a level is filled from."""


def box_for(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the largest box of at most 32 pixels along each side that divides an image (ny, nx) evenly."""
    ny, nx = (max(size for size in range(1, LARGEST_BOX + 1) if length % size == 0) for length in shape)
    return ny, nx


def smooth_background(image: Image, usable: Usable, box: tuple[int, int]) -> Image:
    """Return the background of an image (ny, nx) as `with_surface` finds it.

    Parameters
    ----------
    image : ndarray of float32 (ny, nx)
        Values.
    usable : ndarray of bool (ny, nx)
        Which pixels count.
    box : tuple of int
        Size (y, x) of the boxes, pixels.
    """
    found = with_surface(Differences.of(image, usable), Background.none(1), box)
    level, (edges, firsts, weights), (low, high) = found.levels[0], found.between, found.bounds[0]
    places = np.repeat(firsts, np.diff(edges))
    surface = sum(level[:, places + k] * weights[k] for k in range(ORDER))
    whole = np.broadcast_to(np.clip(surface, low, high), image.shape)
    return np.ascontiguousarray(whole, np.float32)


def with_surface(differences: Differences, background: Background, box: tuple[int, int]) -> Background:
    """Return a background with no structure smaller than some boxes, of what a background without it leaves.

    The median of each box after clipping (Bertin and Arnouts 1996, A&AS 117, 393), smoothed by a running
    median over 5 x 5 boxes; boxes with too few usable pixels are filled from those around. Between them runs
    a bicubic spline. It is the median of all where no box has enough usable pixels.

    Parameters
    ----------
    differences : Differences
        Of which.
    background : Background
        Whose limits say what counts.
    box : tuple of int
        Size (y, x) of the boxes, pixels.
    """
    shape = differences.mask.shape
    counts = [-(-length // size) for length, size in zip(shape, box, strict=True)]
    mesh = np.full((len(differences.now), *counts), np.nan)
    _box_medians(differences.planes, background.tables, box, mesh)
    bare = np.isnan(mesh).all(axis=(1, 2))
    if bare.any():
        mesh[bare] = Statistics.of(differences, background).middle[bare, np.newaxis, np.newaxis]
    smooth = np.empty_like(mesh)
    _smooth(np.stack([_filled(levels) for levels in mesh]), smooth)
    rows, columns = (
        _spline(count, size, length) for count, size, length in zip(counts, box, shape, strict=True)
    )
    steep = _steepened(smooth, 1).astype(np.float32)
    levels = np.matmul(rows, _steepened(steep, 2).astype(np.float32))
    missing = max(ORDER - counts[1], 0)
    bounds = np.stack([smooth.min(axis=(1, 2)), smooth.max(axis=(1, 2))], axis=1).astype(np.float32)
    return replace(
        background,
        levels=np.pad(levels, ((0, 0), (0, 0), (0, missing))),
        between=_joints(np.pad(columns, ((0, 0), (0, missing)))),
        bounds=bounds,
    )


def with_level(background: Background, level: NDArray[np.float64], width: int) -> Background:
    """Return a background that is the same everywhere, of images with rows of a width.

    Parameters
    ----------
    background : Background
        Whose limits it has.
    level : ndarray of float64 (n,)
        For each difference.
    width : int
        Pixels of a row.
    """
    levels = np.zeros((len(level), 1, ORDER), np.float32)
    levels[:, 0, 0] = level
    bounds = np.repeat(levels[:, 0, :1], 2, axis=1)
    weights = np.zeros((width, ORDER), np.float32)
    weights[:, 0] = 1
    return replace(background, levels=levels, between=_joints(weights), bounds=bounds)


def _filled(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill boxes without a level by those around, weighted by inverse distance."""
    absent = np.isnan(mesh)
    if not absent.any():
        return mesh
    from scipy.spatial import KDTree

    known, wanted = np.argwhere(~absent), np.argwhere(absent)
    count = min(NEIGHBOURS, len(known))
    distance, index = KDTree(known).query(wanted, k=np.arange(1, count + 1))
    levels = mesh[~absent][index]
    mesh[absent] = (levels / distance).sum(axis=1) / (1 / distance).sum(axis=1)
    return mesh


def _steepened(mesh: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Return the coefficients of the cubic splines through levels along an axis."""
    from scipy.ndimage import spline_filter1d

    if mesh.shape[axis] == 1:
        return mesh.astype(np.float64)
    return np.asarray(spline_filter1d(mesh, 3, axis=axis, mode="reflect"))


@lru_cache(maxsize=8)
def _spline(count: int, size: int, length: int) -> Image:
    """Return the matrix (length, count) that takes coefficients of boxes to a cubic spline.

    No row has more than four weights that are not 0, and those are side by side.
    """
    from scipy.ndimage import zoom

    one = [zoom(row, size, order=3, mode="reflect", grid_mode=True, prefilter=False) for row in np.eye(count)]
    return np.ascontiguousarray(np.array(one, np.float32).T[:length])


def _joints(matrix: Image) -> tuple[Array, Array, Array]:
    """Return `Background.between` of a matrix (nx, m), in each row four weights at most, side by side."""
    length, count = matrix.shape
    firsts = np.minimum((matrix != 0).argmax(axis=1), count - ORDER)
    weights = np.take_along_axis(matrix, firsts[:, np.newaxis] + np.arange(ORDER), axis=1)
    starts = np.flatnonzero(np.diff(firsts, prepend=-1))
    return np.append(starts, length), firsts[starts], np.ascontiguousarray(weights.T)


@parallel_kernel
def _box_medians(planes: Any, tables: Any, box: Any, mesh: Array) -> None:
    ny, nx = planes[3].shape
    number, rows, columns = mesh.shape
    high, wide = box
    for row in prange(rows):
        values, seen = np.empty((high, nx), np.float32), np.empty((high, nx), np.bool_)
        inside = np.empty(high * wide + 1, np.float32)
        top = row * high
        n = min(high, ny - top)
        for index in range(number):
            for y in range(n):
                piece(planes, index, (top + y, 0, nx), tables, (values[y], seen[y]))
            for column in range(columns):
                x0, x1 = column * wide, min((column + 1) * wide, nx)
                m = 0
                for y in range(n):
                    m = pack(values[y, x0:x1], seen[y, x0:x1], x1 - x0, inside, m)
                level, left = clipped_median(inside, m)
                if left > ENOUGH * high * wide:
                    mesh[index, row, column] = level


@parallel_kernel
def _smooth(mesh: Array, out: Array) -> None:
    """Take the median of each level and those around it, as far as there are such."""
    number, rows, columns = mesh.shape
    for place in prange(number * rows):
        index, row = place // rows, place % rows
        around = np.empty(FILTER * FILTER)
        for column in range(columns):
            n = 0
            for y in range(max(row - FILTER // 2, 0), min(row + FILTER // 2 + 1, rows)):
                for x in range(max(column - FILTER // 2, 0), min(column + FILTER // 2 + 1, columns)):
                    level = mesh[index, y, x]
                    j = n
                    while j > 0 and around[j - 1] > level:
                        around[j] = around[j - 1]
                        j -= 1
                    around[j] = level
                    n += 1
            out[index, row, column] = 0.5 * (around[(n - 1) // 2] + around[n // 2])
