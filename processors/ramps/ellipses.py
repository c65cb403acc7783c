"""Ellipses about regions of flagged pixels: large events are flagged beyond what is seen of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps.components import Region
from processors.ramps.kernels import JUMP, SAT

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Ellipse:
    """An ellipse with the second moments of a region.

    Attributes
    ----------
    centre : tuple of float
        (y, x).
    major, minor : float
        Full axes, pixels.
    direction : tuple of float
        Unit vector (y, x) of the major axis.
    """

    centre: tuple[float, float]
    major: float
    minor: float
    direction: tuple[float, float]

    @classmethod
    def of(cls, region: Region) -> Ellipse:
        """Return that of a region; a pixel has no extent."""
        yy, xx, xy = region.moments
        mean, half = (yy + xx) / 2, math.hypot((yy - xx) / 2, xy)
        angle = 0.5 * math.atan2(2 * xy, yy - xx)  # from the rows' direction
        return cls(
            region.centre,
            4 * math.sqrt(max(mean + half, 0.0)) - 1,
            4 * math.sqrt(max(mean - half, 0.0)) - 1,
            (math.cos(angle), math.sin(angle)),
        )

    def holds(self, point: tuple[float, float]) -> bool:
        """Tell whether a point (y, x) lies within."""
        if self.minor <= 0:
            return False
        y, x = point[0] - self.centre[0], point[1] - self.centre[1]
        return bool(self._squared(y, x, self.major / 2, self.minor / 2) <= 1)

    def grown(self, factor: float, max_radius: float) -> tuple[float, float]:
        """Return semi-axes, the minor one times a factor and the major one by as many pixels longer.

        Neither is longer than `max_radius`.
        """
        more = (factor - 1) * self.minor
        return min((self.major + more) / 2, max_radius), min((self.minor + more) / 2, max_radius)

    def pixels(
        self, shape: tuple[int, int], major: float, minor: float
    ) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
        """Return box and pixels of an ellipse of other semi-axes, rounded, at the same place."""
        a, b = round(major), round(minor)
        y0, x0 = round(self.centre[0]), round(self.centre[1])
        reach = max(a, b)
        rows = slice(max(y0 - reach, 0), min(y0 + reach + 1, shape[0]))
        columns = slice(max(x0 - reach, 0), min(x0 + reach + 1, shape[1]))
        y = np.arange(rows.start, rows.stop)[:, None] - y0
        x = np.arange(columns.start, columns.stop)[None, :] - x0
        if a <= 0 or b <= 0:
            return (rows, columns), np.zeros((y.size, x.size), bool)
        return (rows, columns), self._squared(y, x, a, b) < 1

    def _squared(self, y: Any, x: Any, major: float, minor: float) -> Any:
        """Return the squared distance from the centre, 1 on the ellipse with these semi-axes."""
        along = y * self.direction[0] + x * self.direction[1]
        across = y * self.direction[1] - x * self.direction[0]
        return (along / major) ** 2 + (across / minor) ** 2


def flag_grown(plane: Bits, patch: Ellipse, factor: float, max_radius: float) -> None:
    """Flag a grown ellipse JUMP_DET where a group is not saturated.

    Parameters
    ----------
    plane : ndarray of uint8 (ny, nx)
        Flags of a group; changed in place.
    patch : Ellipse
        What is seen of an event.
    factor : float
        By which its minor axis grows; the major axis grows by as many pixels.
    max_radius : float
        Pixels; it grows no larger.
    """
    box, inside = patch.pixels(plane.shape, *patch.grown(factor, max_radius))
    here = plane[box]
    here[inside & ((here & SAT) == 0)] |= JUMP
