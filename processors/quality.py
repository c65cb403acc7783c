"""Quality figures of stage 1, from a sample of groups and pixels: what they are is told in `schemas.quality`.

A figure that cannot be measured, for want of reference pixels or groups, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.detector1.readout import read_pattern
from processors.modes import is_miri
from processors.ramps.components import peaks_of_regions
from processors.steps import STATUS
from schemas.dq import DQ
from schemas.meta import Meta
from schemas.products import Ramp, Rate

LOOKED_AT = (4, 64)
"""Bounds on the groups that are looked at, spread over the exposure: as many as 4 full frames' pixels."""
FULL_FRAME = 1 << 22
SAMPLE = 1 << 16
"""Pixels of a rate that are looked at, about."""
PART = np.s_[1::4, 1::4]
"""Pixels of a group that are looked at for the area that can be hit."""
AROUND = 5
"""Differences of groups before and after one, with which it is compared."""
SURE = 6.0
"""Standard deviations of a hit that counts: noise alone goes as far in 1 of 500 million differences."""
ROWS = 1024
COLUMNS = 128
"""Rows, and pixels of a row of an amplifier, that are looked at, at least."""
JUMP, SAT, DNU = (np.uint8(bit) for bit in (DQ.JUMP_DET, DQ.SATURATED, DQ.DO_NOT_USE))
BLIND = np.uint32(DQ.REFERENCE_PIXEL | DQ.NON_SCIENCE)
REFERENCE = np.uint32(DQ.REFERENCE_PIXEL)
MAD = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""
TINY = 1e-6
"""DN; the least noise that is believed."""
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
        self._saturated: list[NDArray[np.bool_]] = []
        self._scatter: list[float] = []
        self._rows: list[float] = []

    def add(self, block: Ramp) -> None:
        """Look at a block of integrations."""
        self._saturate(block)
        chosen = _chosen(self._nint, block.shape)
        mine = [(i - block.first_integration, g) for i, g in chosen]
        mine = [(i, g) for i, g in mine if 0 <= i < block.shape[0]]
        if not mine:
            return
        reference = np.flatnonzero((block.pixeldq >= REFERENCE) & ((block.pixeldq & np.uint32(DNU)) == 0))
        for i, g in mine:
            if g > 0 and block.meta.get("S_JUMP") == STATUS["complete"]:
                self._count(block, i, g)
            if g > 0 and reference.size:
                step = block.data[i, g].flat[reference] - block.data[i, g - 1].flat[reference]
                step = step[np.isfinite(step)]
                if step.size:
                    self._scatter.append(_clipped_deviation(step) / np.sqrt(2))
            if g > 1 and not self._rows and (rows := _row_power(block, i, g)) is not None:
                self._rows.append(rows)

    def figures(self) -> dict[str, float]:
        """Return what was measured."""
        found = {
            "cosmic_ray_rate": max(self._hits, 0) / self._exposed if self._exposed > 0 else None,
            "saturated_fraction": self._saturated_fraction(),
            "reference_pixel_scatter": _mean(self._scatter),
            "residual_1f_power": _mean(self._rows),
        }
        return known({name: value for name, value in found.items() if value is not None})

    def _saturate(self, block: Ramp) -> None:
        """Note which of the sample's pixels saturate in any integration."""
        part = _sample(block.shape[2:])
        saturated = ((block.groupdq[:, -1, *part] & SAT) != 0).any(axis=0)
        sensitive = (block.pixeldq[part] & BLIND) == 0
        before = self._saturated or [saturated, sensitive]
        self._saturated = [saturated | before[0], sensitive & before[1]]

    def _saturated_fraction(self) -> float | None:
        """Return the part of the sample's sensitive pixels that were saturated; None without any."""
        if not self._saturated or not self._saturated[1].any():
            return None
        return float(np.mean(self._saturated[0][self._saturated[1]]))

    def _count(self, block: Ramp, i: int, g: int) -> None:
        """Add the hits of a group, and the area times the seconds in which they came."""
        now = block.groupdq[i, g]
        usable = (block.pixeldq[PART] & (BLIND | np.uint32(DNU))) == 0
        watched = np.mean(usable & ((now[PART] & (SAT | DNU)) == 0)) * now.size
        times = read_pattern(block.meta, block.shape[1]).mean_t
        side = PIXEL.get(str(block.meta.get("INSTRUME")), NEAR_INFRARED_PIXEL)
        self._hits += _hits(block, i, g)
        self._exposed += float(watched) * side**2 * float(times[g] - times[g - 1])


def rate_figures(rate: Rate) -> dict[str, float]:
    """Return figures of the rate of an exposure (ny, nx)."""
    part = _sample(rate.data.shape)
    data, dq = rate.data[part], rate.dq[part]
    sensitive = (dq & BLIND) == 0
    fitted = sensitive & np.isfinite(data)
    found: dict[str, float] = {}
    if sensitive.any():
        found["saturated_fraction"] = float(np.mean((dq & np.uint32(SAT))[sensitive] != 0))
    if fitted.any():
        found["median_background"] = _clipped_median(data[fitted])
    if rate.chisq is None or rate.dof is None:
        return known(found)
    judged = fitted & (rate.dof[part] > 0)
    if judged.any():
        reduced = rate.chisq[part][judged] / rate.dof[part][judged]
        for quantile, value in zip((5, 50, 95), np.percentile(reduced, (5, 50, 95)), strict=True):
            found[f"chisq_per_dof_q{quantile:02d}"] = float(value)
        poor = dq[judged] & np.uint32(DQ.UNRELIABLE_SLOPE)
        found["poor_fit_fraction"] = float(np.mean(poor != 0))
    return known(found)


def known(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that are finite: what has no value was not measured."""
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def _sample(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return which pixels of an image (ny, nx) are looked at, evenly spread."""
    step = max(1, int(np.sqrt(shape[0] * shape[1] / SAMPLE)))
    return slice(step // 2, None, step), slice(step // 2, None, step)


def _hits(block: Ramp, i: int, g: int) -> int:
    """Return the regions of jumps of a group that rise beyond doubt, less those that fall as far.

    Hits add charge; what noise of any kind makes falls as often as it rises. A hit that is flagged in two
    differences counts where it shows more.
    """
    hit = np.flatnonzero((block.groupdq[i, g] & JUMP) != 0)
    stride = block.pixeldq.size // 2048 | 1  # odd, so that it passes through all columns
    few = np.arange(stride // 2, block.pixeldq.size, stride)
    quiet = (block.groupdq[i, g - 1 : g + 1].reshape(2, -1)[:, few] == 0).all(axis=0)
    quiet &= (block.pixeldq.flat[few] & (BLIND | np.uint32(DNU))) == 0
    noise = _excess(block, i, g, few[quiet])
    if not hit.size or not noise.size:
        return 0
    sigma = _clipped_deviation(noise)
    rises = _excess(block, i, g, hit)
    own = np.ones(hit.size, np.bool_)
    for other in (g - 1, g + 1):
        if 0 < other < block.shape[1]:
            flagged = (block.groupdq[i, other].flat[hit] & JUMP) != 0
            own[flagged] &= np.abs(_excess(block, i, other, hit[flagged])) < np.abs(rises[flagged])
    peaks = peaks_of_regions(hit[own], block.shape[3], rises[own] / (SURE * max(sigma, TINY)))
    return int(np.count_nonzero(peaks > 1) - np.count_nonzero(peaks < -1))


def _excess(block: Ramp, i: int, g: int, pixels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return by how much pixels rise more to a group than to those around it, DN; 0 where nothing tells."""
    first = max(0, g - 1 - AROUND)
    window = np.s_[i, first : g + 1 + AROUND]
    ramps = block.data[window].reshape(-1, block.pixeldq.size)[:, pixels].astype(np.float64)
    flags = block.groupdq[window].reshape(-1, block.pixeldq.size)[:, pixels]
    steps = np.diff(ramps, axis=0)
    here = steps[g - 1 - first].copy()
    bad = ((flags[1:] & JUMP) != 0) | (((flags[1:] | flags[:-1]) & (SAT | DNU)) != 0)
    steps[bad] = np.nan
    steps[g - 1 - first] = np.nan
    steps.sort(axis=0)  # what is not finite comes last
    number = np.isfinite(steps).sum(axis=0)
    middle = [
        np.take_along_axis(steps, k[np.newaxis], 0)[0] for k in (np.maximum(number - 1, 0) // 2, number // 2)
    ]
    excess = here - (middle[0] + middle[1]) / 2
    return np.where(np.isfinite(excess), excess, 0.0)


def _chosen(nint: int, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return integration and group of those that are looked at, never the first or last where there are more.

    The last group of MIRI's is of no use.
    """
    ngroup = shape[1]
    groups = list(range(2, ngroup - 1)) or list(range(1, ngroup)) or [0]
    number = nint * len(groups)
    wanted = min(max(LOOKED_AT[0], LOOKED_AT[0] * FULL_FRAME // (shape[2] * shape[3])), LOOKED_AT[1])
    places = sorted({(2 * k + 1) * number // (2 * wanted) for k in range(wanted)})
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
    kept = number >= max(2, min(COLUMNS // 4, change.shape[-1] // 2))
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
    # NIRSpec's IRS2 counts the output of its reference pixels as a fifth
    strips = 4 if meta.get("NOUTPUTS") in (4, 5) and not is_miri(meta) else 1
    strips = strips if lines.shape[1] % strips == 0 else 1
    width = lines.shape[1] // strips
    parts = lines.reshape(lines.shape[0], strips, width)[..., :: max(1, width // COLUMNS)]
    return np.ascontiguousarray(np.moveaxis(parts, 1, 0))


def _robust(values: NDArray[Any]) -> tuple[float, float]:
    """Return median and standard deviation from the median absolute deviation."""
    centre = float(np.median(values))
    return centre, MAD * float(np.median(np.abs(values - centre)))


def _clipped_deviation(values: NDArray[np.floating]) -> float:
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
