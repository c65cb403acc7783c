"""The footprint of a mosaic from those of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def combined(polygons: Sequence[Float64], wcs: Any) -> list[Float64]:
    """Return the outlines of what the inputs cover: the hull of each group of inputs that touch.

    Parameters
    ----------
    polygons : sequence of ndarray (n, 2)
        Convex footprints, right ascension and declination in degrees.
    wcs : gwcs.WCS
        A plane on which they are joined.

    Returns
    -------
    list of ndarray (n, 2)
        Right ascension and declination in degrees, going round.
    """
    flat = [np.stack(wcs.invert(*polygon.T, with_bounding_box=False), axis=1) for polygon in polygons]
    outlines = [_hull(np.concatenate([flat[i] for i in group])) for group in _groups(flat)]
    return [np.stack(wcs(*outline.T, with_bounding_box=False), axis=1) for outline in outlines]


def _groups(polygons: list[Float64]) -> list[list[int]]:
    """Return the connected groups of polygons, each in order."""
    groups: list[list[int]] = []
    for index, polygon in enumerate(polygons):
        touched = [group for group in groups if any(_touch(polygon, polygons[other]) for other in group)]
        merged = sorted([index, *(other for group in touched for other in group)])
        groups = [group for group in groups if group not in touched] + [merged]
    return sorted(groups)


def _touch(a: Float64, b: Float64) -> bool:
    """Say whether two convex polygons overlap: no edge's normal separates them."""
    for polygon in (a, b):
        edges = np.roll(polygon, -1, axis=0) - polygon
        for normal in np.stack([-edges[:, 1], edges[:, 0]], axis=1):
            mine, theirs = a @ normal, b @ normal
            if mine.max() < theirs.min() or theirs.max() < mine.min():
                return False
    return True


def _hull(points: Float64) -> Float64:
    """Return the convex hull, counter-clockwise (Andrew 1979, Information Processing Letters 9, 216)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def chain(sequence: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for point in sequence:
            while len(kept) >= 2 and _turn(kept[-2], kept[-1], point) <= 0:
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
