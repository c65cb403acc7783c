"""Quality figures of stage 1, from a sample of groups and pixels: what they are is told in `schemas.quality`.

A figure that cannot be measured, for want of reference pixels or groups, is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.detector1.readout import read_pattern
from processors.ramps.components import number_of_regions
from processors.steps import STATUS
from schemas.dq import DQ
from schemas.meta import Meta
from schemas.products import Ramp, Rate

LOOKED_AT = 4
"""Groups that are looked at, spread over the exposure."""
SAMPLE = 1 << 16
"""Pixels of a rate that are looked at, about."""
PART = np.s_[1::4, 1::4]
"""Pixels of a group that are looked at for parts of all."""
ROWS = 1024
COLUMNS = 128
"""Rows, and pixels of a row of an amplifier, that are looked at, at least."""
JUMP, SAT, DNU = (np.uint8(bit) for bit in (DQ.JUMP_DET, DQ.SATURATED, DQ.DO_NOT_USE))
BLIND = np.uint32(DQ.REFERENCE_PIXEL | DQ.NON_SCIENCE)
REFERENCE = np.uint32(DQ.REFERENCE_PIXEL)
MAD = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""
PIXEL = {"MIRI": 25e-4}
NEAR_INFRARED_PIXEL = 18e-4
"""Side of a pixel, cm."""


class RampFigures:
    """Figures of a corrected ramp, as its blocks come; any division gives the same.

    Parameters
    ----------
    nint : int
        Integrations of the exposure.
    """

    def __init__(self, nint: int) -> None:
        self._nint = nint
        self._hits, self._exposed = 0, 0.0
        self._saturated: list[float] = []
        self._scatter: list[float] = []
        self._rows: list[float] = []

    def add(self, block: Ramp) -> None:
        """Look at a block of integrations."""
        chosen = _chosen(self._nint, block.shape[1])
        mine = [(i - block.first_integration, g) for i, g in chosen]
        mine = [(i, g) for i, g in mine if 0 <= i < block.shape[0]]
        if not mine:
            return
        sensitive = (block.pixeldq[PART] & BLIND) == 0
        reference = np.flatnonzero(block.pixeldq >= REFERENCE)
        for i in dict.fromkeys(i for i, _ in mine if sensitive.any()):
            self._saturated.append(float(np.mean((block.groupdq[i, -1][PART] & SAT)[sensitive] != 0)))
        for i, g in mine:
            if g > 0 and block.meta.get("S_JUMP") == STATUS["complete"]:
                self._count(block, i, g)
            if g > 0 and reference.size:
                step = block.data[i, g].flat[reference] - block.data[i, g - 1].flat[reference]
                self._scatter.append(_clipped_deviation(step) / np.sqrt(2))
            if g > 1 and not self._rows and (rows := _row_power(block, i, g)) is not None:
                self._rows.append(rows)

    def figures(self) -> dict[str, float]:
        """Return what was measured."""
        found = {
            "cosmic_ray_rate": self._hits / self._exposed if self._exposed > 0 else None,
            "saturated_fraction": _mean(self._saturated),
            "reference_pixel_scatter": _mean(self._scatter),
            "residual_1f_power": _mean(self._rows),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _count(self, block: Ramp, i: int, g: int) -> None:
        """Add the hits of a group, and the area times the seconds in which they came."""
        before, now = block.groupdq[i, g - 1], block.groupdq[i, g]
        usable = (block.pixeldq[PART] & (BLIND | np.uint32(DNU))) == 0
        watched = np.mean(usable & ((now[PART] & (SAT | DNU)) == 0)) * now.size
        times = read_pattern(block.meta, block.shape[1]).mean_t
        side = PIXEL.get(str(block.meta.get("INSTRUME")), NEAR_INFRARED_PIXEL)
        self._hits += number_of_regions(now, int(JUMP), before)
        self._exposed += float(watched) * side**2 * float(times[g] - times[g - 1])


def rate_figures(rate: Rate) -> dict[str, float]:
    """Return figures of the rate of an exposure (ny, nx)."""
    step = max(1, int(np.sqrt(rate.data.size / SAMPLE)))
    part = np.s_[step // 2 :: step, step // 2 :: step]
    data, dq = rate.data[part], rate.dq[part]
    sensitive = (dq & BLIND) == 0
    fitted = sensitive & np.isfinite(data)
    found: dict[str, float] = {}
    if sensitive.any():
        found["saturated_fraction"] = float(np.mean((dq & np.uint32(SAT))[sensitive] != 0))
    if fitted.any():
        found["median_background"] = _clipped_median(data[fitted])
    if rate.chisq is None or rate.dof is None:
        return found
    judged = fitted & (rate.dof[part] > 0)
    if judged.any():
        reduced = rate.chisq[part][judged] / rate.dof[part][judged]
        for quantile, value in zip((5, 50, 95), np.percentile(reduced, (5, 50, 95)), strict=True):
            found[f"chisq_per_dof_q{quantile:02d}"] = float(value)
        poor = dq[judged] & np.uint32(DQ.UNRELIABLE_SLOPE)
        found["poor_fit_fraction"] = float(np.mean(poor != 0))
    return found


def _chosen(nint: int, ngroup: int) -> list[tuple[int, int]]:
    """Return integration and group of those that are looked at, never the first or last where there are more.

    The last group of MIRI's is of no use.
    """
    groups = list(range(2, ngroup - 1)) or list(range(1, ngroup)) or [0]
    number = nint * len(groups)
    places = sorted({(2 * k + 1) * number // (2 * LOOKED_AT) for k in range(LOOKED_AT)})
    return [(place // len(groups), groups[place % len(groups)]) for place in places]


def _row_power(ramp: Ramp, i: int, g: int) -> float | None:
    """Return the excess variance of rows along the fast direction over a pixel's, from three groups.

    The second difference of groups holds neither sky nor stars, but their noise. Offsets of rows are
    uncorrelated from group to group, as pixels' noise is, so their ratio is that of a single group.
    """
    axis = abs(int(ramp.meta.get("FASTAXIS") or 0))
    if axis not in (1, 2):
        return None
    window = slice(g - 2, g + 1)
    first, second, third = (_amplifiers(plane, axis, ramp.meta) for plane in ramp.data[i, window])
    flags = [_amplifiers(plane, axis, ramp.meta) for plane in (*ramp.groupdq[i, window], ramp.pixeldq)]
    change = third - 2 * second + first
    good = ((flags[0] | flags[1] | flags[2]) == 0) & ((flags[3] & (BLIND | np.uint32(DNU))) == 0)
    good &= np.isfinite(change)
    if good.sum() < 100:
        return None
    centre, sigma = _robust(change[good][:: max(1, change.size // SAMPLE)])
    good &= np.abs(change - centre) < 4 * sigma
    number = good.sum(axis=-1)
    kept = number >= COLUMNS // 4
    if not sigma > 0 or kept.sum() < 16:
        return None
    number = np.maximum(number, 1)
    means = np.where(good, change, 0).sum(axis=-1) / number
    squares = np.where(good, change - means[..., np.newaxis], 0) ** 2
    variance = float(squares.sum(axis=-1)[kept].sum() / (number - 1)[kept].sum())
    offsets = [row[keep] - np.median(row[keep]) for row, keep in zip(means, kept, strict=True) if keep.any()]
    white = variance * float(np.mean(1 / number[kept]))
    return (float(np.mean(np.concatenate(offsets) ** 2)) - white) / variance


def _amplifiers(plane: NDArray[Any], axis: int, meta: Meta) -> NDArray[Any]:
    """Return some pixels of some rows as (amplifier, row, pixel), rows along the fast direction."""
    lines = plane if axis == 1 else plane.T
    lines = lines[:: max(1, lines.shape[0] // ROWS)]
    strips = 4 if meta.get("NOUTPUTS") == 4 and str(meta.get("INSTRUME")) != "MIRI" else 1
    strips = strips if lines.shape[1] % strips == 0 else 1
    width = lines.shape[1] // strips
    parts = lines.reshape(lines.shape[0], strips, width)[..., :: max(1, width // COLUMNS)]
    return np.ascontiguousarray(np.moveaxis(parts, 1, 0))


def _robust(values: NDArray[Any]) -> tuple[float, float]:
    """Return median and standard deviation from the median absolute deviation."""
    centre = float(np.median(values))
    return centre, MAD * float(np.median(np.abs(values - centre)))


def _clipped_deviation(values: NDArray[np.float32]) -> float:
    """Return the standard deviation of what lies near the median; right for whole numbers too."""
    centre, sigma = _robust(values)
    return float(np.std(values[np.abs(values - centre) <= 5 * max(sigma, 1.0)], dtype=np.float64))


def _clipped_median(values: NDArray[np.float32]) -> float:
    """Return the median without what lies 3 sigma from it, three times over."""
    for _ in range(3):
        centre, sigma = _robust(values)
        kept = np.abs(values - centre) <= 3 * sigma
        if kept.all() or not kept.any():
            break
        values = values[kept]
    return float(np.median(values))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
