"""Where each pixel of an image falls on the output grid.

The transform is smooth across a detector (polynomials of low degree, a rotation, a projection), so a
polynomial through a few exact values reproduces it everywhere to far below a thousandth of a pixel. The
polynomial goes through the tensor product of Chebyshev points, in the barycentric form (Berrut and Trefethen
2004, SIAM Review 46, 501), which converges geometrically for smooth functions. It is compared with exact
values between the points; where it misses the tolerance, more points are taken, and at last every pixel is
computed exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Transform = Callable[[Float64, Float64], tuple[Float64, Float64]]
"""From pixel coordinates (x, y) to pixel coordinates of the output grid, arrays of one shape."""

POINTS: Final = (12, 24, 48)
"""Numbers of points along each axis that are tried in turn."""

_CHECKS: Final = 11
_ROWS: Final = 128


def pixel_map(transform: Transform, shape: tuple[int, int], tolerance: float = 1e-6) -> Float64:
    """Return where the centre of each pixel falls.

    Parameters
    ----------
    transform : callable
        The exact transform.
    shape : tuple of int
        (ny, nx) of the image.
    tolerance : float
        Largest error in output pixels; 0 computes every pixel exactly.

    Returns
    -------
    ndarray (ny, nx, 2)
        x and y on the output grid.
    """
    for count in POINTS if tolerance > 0 else ():
        if count * count * 4 > shape[0] * shape[1]:
            break
        nodes = [chebyshev_points(count, -0.5, size - 0.5) for size in (shape[1], shape[0])]
        values = np.stack(transform(*np.meshgrid(*nodes)))
        if _largest_error(transform, nodes, values, shape) <= tolerance:
            weights = [
                barycentric(points, np.arange(size))
                for points, size in zip(nodes, (shape[1], shape[0]), strict=True)
            ]
            return np.asarray(_tensor_product(values, weights[0], weights[1]))
    return exact_map(transform, shape)


def exact_map(transform: Transform, shape: tuple[int, int]) -> Float64:
    """Return what `pixel_map` returns, computed exactly for every pixel."""
    out = np.empty((*shape, 2))
    for first in range(0, shape[0], _ROWS):
        y, x = np.mgrid[first : min(first + _ROWS, shape[0]), 0 : shape[1]].astype(float)
        out[first : first + _ROWS] = np.stack(transform(x, y), axis=-1)
    return out


def between(wcs_in: Any, wcs_out: Any) -> Transform:
    """Return the exact transform from pixels of one gwcs to pixels of another, without bounding boxes."""

    def transform(x: Float64, y: Float64) -> tuple[Float64, Float64]:
        sky = wcs_in(x, y, with_bounding_box=False)
        found = wcs_out.invert(*sky, with_bounding_box=False)
        return np.asarray(found[0], float), np.asarray(found[1], float)

    return transform


def chebyshev_points(count: int, low: float, high: float) -> Float64:
    """Return `count` Chebyshev points of the second kind from `low` to `high`, ends included."""
    angles = np.pi * np.arange(count)[::-1] / (count - 1)
    return (low + high) / 2 + (high - low) / 2 * np.cos(angles)


def barycentric(nodes: Float64, at: NDArray[Any]) -> Float64:
    """Return the matrix that takes values at Chebyshev points to values of their polynomial.

    Parameters
    ----------
    nodes : ndarray (n,)
        Chebyshev points of the second kind.
    at : ndarray (m,)
        Where the polynomial is wanted.

    Returns
    -------
    ndarray (m, n)
        Berrut and Trefethen 2004, eq. 4.2 with the weights of eq. 5.4.
    """
    signs = np.where(np.arange(nodes.size) % 2 == 0, 1.0, -1.0)
    signs[[0, -1]] *= 0.5
    distance = np.asarray(at, float)[:, None] - nodes[None, :]
    hit = distance == 0
    terms = signs / np.where(hit, 1.0, distance)
    matrix = terms / terms.sum(axis=1, keepdims=True)
    on_node = hit.any(axis=1)
    matrix[on_node] = hit[on_node]
    return np.asarray(matrix)


def _largest_error(
    transform: Transform, nodes: list[Float64], values: Float64, shape: tuple[int, int]
) -> float:
    """Return the largest difference from exact values, at points that lie nowhere near the nodes' pattern."""
    spots = [(np.arange(_CHECKS) + 0.382) / _CHECKS * size - 0.5 for size in (shape[1], shape[0])]
    exact = np.stack(transform(*np.meshgrid(*spots)))
    wx, wy = (barycentric(points, at) for points, at in zip(nodes, spots, strict=True))
    error = np.abs(np.einsum("jp,cpq,iq->cji", wy, values, wx) - exact).max()
    return float(error) if np.isfinite(error) else np.inf


@numba.njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _tensor_product(values: Float64, wx: Float64, wy: Float64) -> Float64:
    """Return sum over p, q of wy[j, p] values[c, p, q] wx[i, q], as (ny, nx, 2); rows are independent."""
    ny, nx, count = wy.shape[0], wx.shape[0], wx.shape[1]
    out = np.empty((ny, nx, 2))
    for j in numba.prange(ny):
        row = np.zeros((count, 2))
        for p in range(count):
            for q in range(count):
                row[q, 0] += wy[j, p] * values[0, p, q]
                row[q, 1] += wy[j, p] * values[1, p, q]
        for i in range(nx):
            x = 0.0
            y = 0.0
            for q in range(count):
                x += wx[i, q] * row[q, 0]
                y += wx[i, q] * row[q, 1]
            out[j, i, 0] = x
            out[j, i, 1] = y
    return out
