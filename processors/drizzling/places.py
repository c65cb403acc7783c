"""Where a mosaic's pixels lie on those of its inputs.

Polynomials from mosaic to input pixels travel with a mosaic as a table, since what drizzling did to a
source's light depends on where its position lies within the pixels of each input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors.drizzling.pixmap import chebyshev_points

Float64 = NDArray[np.float64]

TABLE: Final = "PIXEL_MAPS"
"""Name of the table's extension."""

DEGREE: Final = 5
"""Of the polynomials: that of JWST's distortions, whose inverse they take to some thousandths of a pixel."""

_POWERS: Final = np.array([(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)])
_POINTS: Final = 12
"""Along each axis of an image, through which its polynomials go."""

ROW: Final = np.dtype(
    [
        ("input", "i4"), ("weight", "f8"), ("window", "i4", (4,)), ("origin", "f8", (2,)), ("scale", "f8"),
        ("x", "f8", (len(_POWERS),)), ("y", "f8", (len(_POWERS),)),
    ]
)  # fmt: skip
"""A row of the table: bit of the context image; typical weight of a pixel; (xmin, xmax, ymin, ymax) of the
pixels with a weight, inclusive; then the mosaic's pixel ``(X, Y)`` is the input's pixel ``(sum x u^i v^j,
sum y u^i v^j)`` with ``(u, v) = ((X, Y) - origin) / scale``, and i running from 0 to 5, j from 0 to 5 - i."""


def place(index: int, pixmap: Float64, weight: NDArray[Any]) -> NDArray[Any]:
    """Return the row of one input.

    Parameters
    ----------
    index : int
        Its number among the inputs, from 0.
    pixmap : ndarray (ny, nx, 2)
        Where each of its pixels falls on the mosaic.
    weight : ndarray (ny, nx)
        Of its pixels.

    Returns
    -------
    ndarray of `ROW`, shape ()
    """
    rows, columns = (
        np.unique(np.rint(chebyshev_points(_POINTS, 0, size - 1)).astype(int)) for size in weight.shape
    )
    y, x = np.meshgrid(rows, columns, indexing="ij")
    points = pixmap[y, x].reshape(-1, 2)
    origin = (points.min(axis=0) + points.max(axis=0)) / 2
    scale = max(float(np.abs(points - origin).max()), 1.0)
    u = (points - origin) / scale
    found, *_ = np.linalg.lstsq(_terms(u), np.stack([x.ravel(), y.ravel()], axis=1).astype(float))
    used = weight > 0
    row = np.zeros((), ROW)
    row["input"], row["window"] = index, (0, -1, 0, -1)
    if used.any():
        row["weight"] = np.median(weight[used])
        sides = (np.flatnonzero(used.any(axis=axis)) for axis in (0, 1))
        row["window"] = [side[end] for side in sides for end in (0, -1)]
    row["origin"], row["scale"] = origin, scale
    row["x"], row["y"] = found.T
    return row


def table_of(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the table of all inputs' rows."""
    return np.array(list(rows), ROW)


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where some positions on a mosaic are on one input.

    Attributes
    ----------
    input : int
        Bit of the context image.
    weight : float
        Of a pixel.
    window : tuple of int
        (xmin, xmax, ymin, ymax), inclusive, of the pixels with a weight.
    xy : ndarray (n, 2)
        The input's pixels.
    jacobian : ndarray (n, 2, 2)
        Derivatives of its x and y (first axis) with respect to the mosaic's (second).
    """

    input: int
    weight: float
    window: tuple[int, int, int, int]
    xy: Float64
    jacobian: Float64

    def at(self, index: int) -> Place:
        """Return the place of one of the positions."""
        one = slice(index, index + 1)
        return replace(self, xy=self.xy[one], jacobian=self.jacobian[one])


def places(table: NDArray[Any], xy: Float64) -> list[Place]:
    """Return where positions on a mosaic are on each input.

    Parameters
    ----------
    table : ndarray of `ROW`
        From the mosaic.
    xy : ndarray (n, 2)
        The mosaic's pixels.
    """
    found = []
    for row in table:
        u = (xy - row["origin"]) / row["scale"]
        coefficients = np.stack([row["x"], row["y"]])
        slopes = np.stack([_terms(u, axis) @ coefficients.T for axis in (0, 1)], axis=2) / row["scale"]
        xmin, xmax, ymin, ymax = (int(edge) for edge in row["window"])
        found.append(
            Place(
                input=int(row["input"]), weight=float(row["weight"]), window=(xmin, xmax, ymin, ymax),
                xy=_terms(u) @ coefficients.T, jacobian=slopes,
            )
        )  # fmt: skip
    return found


def _terms(u: Float64, derivative: int | None = None) -> Float64:
    """Return the monomials at points (n, 2), or their derivatives along an axis, as (n, nterm)."""
    powers = _POWERS.copy()
    factor = np.ones(len(powers))
    if derivative is not None:
        factor = powers[:, derivative].astype(float)
        powers[:, derivative] = np.maximum(powers[:, derivative] - 1, 0)
    return np.asarray(factor * u[:, :1] ** powers[:, 0] * u[:, 1:] ** powers[:, 1])
