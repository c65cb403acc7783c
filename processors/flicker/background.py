"""A smooth background under noise: medians of boxes, smoothed, joined by splines."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.flicker.clipping import Image, Usable, clipped_range, middle, sample

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
    """Return a background with no structure smaller than some boxes.

    The median of each box after clipping (Bertin and Arnouts 1996, A&AS 117, 393), smoothed by a running
    median over 5 x 5 boxes; boxes with too few usable pixels are filled from those around. Between them runs
    a bicubic spline.

    Parameters
    ----------
    image : ndarray of float32 (ny, nx)
        Values; finite where they are usable.
    usable : ndarray of bool (ny, nx)
        Which pixels count.
    box : tuple of int
        Size (y, x) of the boxes, pixels.

    Returns
    -------
    ndarray of float32 (ny, nx)
        The median of all where no box has enough usable pixels.
    """
    mesh = np.full([-(-length // size) for length, size in zip(image.shape, box, strict=True)], np.nan)
    _box_medians(image, usable, box, mesh)
    if np.isnan(mesh).all():
        return np.full(image.shape, middle(sample(image, usable)), np.float32)
    mesh = _smoothed(_filled(mesh))
    rows, columns = (
        _spline(count, size, length) for count, size, length in zip(mesh.shape, box, image.shape, strict=True)
    )
    surface = rows @ mesh.astype(np.float32) @ columns.T
    return np.asarray(np.clip(surface, mesh.min(), mesh.max(), out=surface))


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


def _smoothed(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    half = FILTER // 2
    padded = np.pad(mesh, half, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, (FILTER, FILTER))
    return np.asarray(np.nanmedian(around, axis=(2, 3)))


@lru_cache(maxsize=8)
def _spline(count: int, size: int, length: int) -> Image:
    """Return the matrix (length, count) that takes levels of boxes to a cubic spline through them."""
    from scipy.ndimage import zoom

    one = [zoom(row, size, order=3, mode="reflect", grid_mode=True) for row in np.eye(count)]
    return np.ascontiguousarray(np.array(one, np.float32).T[:length])


@njit(cache=True, parallel=True)
def _box_medians(image, usable, box, mesh):
    ny, nx = image.shape
    for row in prange(mesh.shape[0]):
        values = np.empty(box[0] * box[1], np.float32)
        for column in range(mesh.shape[1]):
            n = 0
            for y in range(row * box[0], min((row + 1) * box[0], ny)):
                for x in range(column * box[1], min((column + 1) * box[1], nx)):
                    if usable[y, x]:
                        values[n] = image[y, x]
                        n += 1
            ordered = np.sort(values[:n])
            first, last = clipped_range(ordered)
            if last - first > ENOUGH * box[0] * box[1]:
                mesh[row, column] = middle(ordered[first:last])
