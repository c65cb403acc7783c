"""Rates that come from groups which are left out elsewhere, because they follow a reset.

MIRI's first groups suffer from the first frame and from what is left of the integration before (Ressler et
al. 2015, PASP 127, 675; Argyriou et al. 2023, A&A 675, A111). A pixel that saturates early has no others. How
far they are off is seen in the pixels of the same integration that do have others: what such a difference of
groups has too much, in faint and in bright ones, gives a straight line in the charge that is collected in the
end. The line's value for a pixel's own charge is taken off.

What is uncertain about that is measured as well, and counts as error: how well the pixels tell the line; by
how much more than their noise bright ones scatter about it, in proportion to the charge; how far the
brightest are off it together, which grows with the square of the charge, as it does where the line is the
beginning of a parabola; and what the groups behind those that are left out still have too much, which the
slopes of the pixels that tell have in them. All of them are charge that is not the pixel's light.

Pixels that saturate later tell best: they were as full in the integration before as those that saturate
early, so nothing is extrapolated.

How the effects end is not in the data. Of at most 5 groups only the first is left out; where the second is
off as well, the slopes of bright pixels are off by one per cent and these rates by one to two, of which a
part counts. And where too few bright pixels saturate later, the line comes from charge that is corrected for
the bent response, as that of saturated groups is not; then rates of a single group are up to 0.7 per cent too
low.

Of a pixel that has a single group it is the level of that group above the pedestal that MIRI's ramps begin at
(see `processors.ramps.pedestals`). What that level has too much is seen in the pixels that tell as the
difference from the first group that they use: neither the pedestal nor the noise of the reset is in it. How
these scatter from pixel to pixel is counted in `processors.ramps.resets`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps.covariance import PixelNoise, Pixels, ReadPattern
from processors.ramps.gls import Slopes
from processors.ramps.kernels import JUMP, SAT, UNUSABLE
from processors.ramps.pedestals import UNLIT, first_used
from processors.ramps.resets import SIGMA
from schemas.dq import DQ

BROKEN = SAT | JUMP
UNRELIABLE = np.uint32(DQ.UNRELIABLE_SLOPE)
BRIGHT = 0.5
"""Part of the charge of the brightest pixels from which on pixels count as bright."""
FEWEST = 50
"""Pixels that it takes to tell."""
FEW_FULL = 20
"""Bright ones of those that saturate later: each of them tells more, and how well they do is counted."""
OUTLYING = 7.0
"""Median deviations from the line, about 5 standard deviations, beyond which a pixel tells nothing of it."""
MEDIAN = 1.2533
"""Standard deviation of a median of normal numbers over that of their mean."""
LARGEST = 1e12
"""DN that can be too much; single precision holds their square."""

Float = NDArray[np.float64]
Ramps = tuple[NDArray[Any], NDArray[np.uint8]]


def without_excess(
    found: Slopes,
    kept: NDArray[np.bool_],
    ramps: Ramps,
    pattern: ReadPattern,
    noise: PixelNoise,
    *,
    pedestal: Float | None = None,
) -> Slopes:
    """Return slopes without what they have too much where groups were kept that are left out elsewhere.

    Pixels tell how much that is if they have a slope from groups behind those that are left out: those that
    saturate later, or, where fewer than 20 bright ones do, all that do not jump, or, where fewer than 50 do
    not, all. Where even these are too few (a small subarray on a bright source), the rates stay as they are
    and are UNRELIABLE_SLOPE: by how much they are off is then not in the data, and an error that was made up
    would be taken for a measured one, while a rate that is known to some per cent is worth more than none.

    Parameters
    ----------
    found : Slopes
        Of one integration, by generalised least squares.
    kept : ndarray of bool (ny, nx)
        The pixels that keep such groups.
    ramps : tuple of ndarray
        Data in DN and GROUPDQ (ngroup, ny, nx).
    pattern : ReadPattern
        Of the groups.
    noise : PixelNoise
        Of all pixels.
    pedestal : ndarray (ny, nx), optional
        Level that ramps begin at, DN, for pixels with a single group; 0 unless given.

    Returns
    -------
    Slopes
        There also with the Poisson variance and error of the rate that is left, in which what is uncertain
        counts, and as much smaller shares in an average; or with UNRELIABLE_SLOPE in the flags.
    """
    data, groupdq = ramps
    rows, columns = np.nonzero(kept & np.isfinite(found.slope))
    if not rows.size:
        return found
    first = ((groupdq[:, rows, columns] & UNUSABLE) == 0).argmax(axis=0)
    single = found.ndiff[rows, columns] == 0
    telling = _Telling(found, kept, ramps, pattern, noise)
    extra, unsure = np.zeros((2, rows.size))
    for group, alone in sorted(set(zip(first.tolist(), single.tolist(), strict=True))):
        own = (first == group) & (single == alone)
        pixels, times = (rows[own], columns[own]), pattern.mean_t
        begin = pedestal[pixels] if alone and pedestal is not None else np.zeros(pixels[0].size)
        span = float(times[group] if alone else times[group + 1] - times[group])
        charge = _charge(found, data, pixels, (group, float(times[group]))) - begin
        line = telling.line(group, alone, charge)
        if line is None:
            extra[own] = np.nan
            continue
        excess = line.at(charge, 0.0 if alone else float(times[group]) / span)
        counted = line.uncertainty(charge)
        held = (np.abs(excess) < LARGEST) & (counted < LARGEST)
        extra[own] = (begin + np.where(held, excess, 0)) / span
        unsure[own] = np.where(held, counted, 0) / span
    return _without(found, (rows, columns), extra, unsure)


def untold(found: Slopes, single: Pixels, pattern: ReadPattern, pedestal: Float | None) -> Slopes:
    """Return slopes of an exposure of which all pixels keep such groups, so that none tells the excess.

    Parameters
    ----------
    found : Slopes
        Of one integration, by generalised least squares; its arrays are changed.
    single : tuple of ndarray
        Rows and columns of pixels with the rate of their first group alone.
    pattern : ReadPattern
        Of the groups.
    pedestal : ndarray (ny, nx), optional
        Level that ramps begin at, DN, which is taken off those; 0 unless given.

    Returns
    -------
    Slopes
        All that are finite are FLUX_ESTIMATED and UNRELIABLE_SLOPE.
    """
    found.dq[np.isfinite(found.slope)] |= UNRELIABLE | np.uint32(DQ.FLUX_ESTIMATED)
    if pedestal is None:
        return found
    begin = pedestal[single] / float(pattern.mean_t[0])
    return _without(found, single, begin, np.zeros_like(begin))


@dataclass(frozen=True)
class _Line:
    """What is collected too much, by the charge in the end; through the medians of all pixels, DN."""

    slope: float
    charge: float
    level: float
    errors: tuple[float, float]
    """Standard deviations of level and slope."""
    scatter: float
    """By how much bright pixels scatter beyond their noise, for each DN of charge."""
    reach: float
    """How much more charge than the median pixel the brightest have."""
    bend: float
    """How far these are off the line."""
    before: _Line | None = None
    """What is collected too much from the first group that is used to the next, where that was asked."""
    steps: float = 0.0
    """How often this is in the excess."""

    def at(self, charge: Float, included: float = 0.0) -> Float:
        """Return the excess of pixels with such a charge, of which so many times the excess is none."""
        with np.errstate(all="ignore"):
            return (self.level + self.slope * (charge - self.charge)) / (1 + included * self.slope)

    def uncertainty(self, charge: Float) -> Float:
        """Return the standard deviation of a pixel's excess about the line."""
        level, slope = self.errors
        with np.errstate(all="ignore"):
            lever = np.abs(charge - self.charge)
            ratio = lever / self.reach
            variance = level**2 + (slope * lever) ** 2 + (self.bend * ratio**2) ** 2
            variance += (self.scatter * charge) ** 2
            if self.before is not None:
                variance += (self.steps * self.before.at(charge)) ** 2
            return np.asarray(np.sqrt(variance))


@dataclass(frozen=True)
class _Sample:
    """Pixels that tell: charge in the end, excess, and the variance of the latter by noise; DN, DN^2."""

    charge: Float
    excess: Float
    variance: Float


@dataclass(frozen=True)
class _Telling:
    """The pixels with a slope from other groups, and what they tell."""

    found: Slopes
    kept: NDArray[np.bool_]
    ramps: Ramps
    pattern: ReadPattern
    noise: PixelNoise

    @cached_property
    def fitted(self) -> NDArray[np.bool_]:
        """Where they are."""
        return ~self.kept & (self.found.ndiff > 0) & ((self.found.dq & UNLIT) == 0)

    @cached_property
    def saturating(self) -> Pixels:
        """Those that saturate later, and have not jumped before."""
        groupdq = self.ramps[1]
        rows, columns = np.nonzero(self.fitted & (self.found.ndiff > 1) & (groupdq & SAT).any(axis=0))
        steady = ((groupdq[:, rows, columns] & BROKEN) != JUMP).all(axis=0)
        return rows[steady], columns[steady]

    @cached_property
    def steady(self) -> Pixels:
        """Those that have not jumped, or not before they saturate."""
        rows, columns = np.nonzero(self.fitted & ((self.ramps[1] & BROKEN) != JUMP).all(axis=0))
        return rows, columns

    @cached_property
    def everywhere(self) -> Pixels:
        """All of them."""
        rows, columns = np.nonzero(self.fitted)
        return rows, columns

    def choices(self) -> Iterator[tuple[Pixels, int]]:
        """Yield those that tell best with the number that it takes, then others."""
        yield self.saturating, FEW_FULL
        yield self.steady, FEWEST
        yield self.everywhere, FEWEST

    def line(self, group: int, alone: bool, own: Float) -> _Line | None:
        """Return the line of what a group has too much if it is alone, or else its difference from the next.

        `own` is the charge of the pixels that it is for. None where too few pixels tell.
        """
        full = float(np.median(own))
        for pixels, fewest in self.choices():
            used = first_used(self.ramps[1], pixels)
            ends = (group, used) if alone else (group, group + 1)
            line = _line(self._sample(pixels, ends, -1 if alone else 1), own, fewest)
            if line is None or (fewest == FEW_FULL and line.charge + line.reach < BRIGHT * full):
                continue
            if used + 1 >= self.pattern.ngroups:
                return line
            later = _line(self._sample(pixels, (used, used + 1), 1), own, fewest)
            return replace(line, before=later, steps=float(abs(used - group) + alone))
        return None

    def _sample(self, pixels: Pixels, ends: tuple[int, int], sign: int) -> _Sample:
        """Return what these pixels collect too much from one group to another, times a sign.

        The charge in the end counts from the line through the group whose level is known: in pixels that have
        a single one the pedestal takes its place.
        """
        data, groupdq = self.ramps
        early, late = min(ends), max(ends)
        slope, times = self.found.slope[pixels].astype(np.float64), self.pattern.mean_t
        known = ends[1] if sign < 0 else ends[0]
        charge = _charge(self.found, data, pixels, (known, float(times[known])))
        with np.errstate(invalid="ignore", over="ignore"):
            excess = sign * (_rise(data, pixels, *ends) - slope * (times[ends[1]] - times[ends[0]]))
            variance = self._variance(pixels, early, late)
        usable = np.isfinite(charge) & np.isfinite(excess) & np.isfinite(variance)
        usable &= (groupdq[early][pixels] & SAT) == 0
        for group in range(early + 1, late + 1):
            usable &= (groupdq[group][pixels] & BROKEN) == 0
        return _Sample(charge[usable], excess[usable], variance[usable])

    def _variance(self, pixels: Pixels, early: int, late: int) -> Float:
        """Return the variance that read and photon noise give to a difference of groups less the line's."""
        times, tau, inverse = self.pattern.table
        read = 0.5 * self.noise.readnoise[pixels].astype(np.float64) ** 2 * (inverse[early] + inverse[late])
        electrons = np.maximum(self.found.slope[pixels], 0) * (tau[early] + tau[late] - 2 * times[early])
        line = (times[late] - times[early]) * self.found.err[pixels].astype(np.float64)
        return np.asarray(read + electrons / self.noise.gain[pixels] + line**2)


def _charge(found: Slopes, data: NDArray[Any], pixels: Pixels, group: tuple[int, float]) -> Float:
    """Return what pixels have collected when the last group is read since a line through `group` began, DN.

    `group` is its number and its time.
    """
    index, time = group
    return _rise(data, pixels, index, -1) + found.slope[pixels] * time


def _rise(data: NDArray[Any], pixels: Pixels, first: int, last: int) -> Float:
    """Return the difference of two groups, DN; in double precision, which holds any."""
    values = data[[first, last]][:, *pixels].astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(values[1] - values[0])


def _line(sample: _Sample, own: Float, fewest: int) -> _Line | None:
    """Return the line of the excess through the medians of all pixels, by least squares without outliers.

    `own` is the charge of the pixels that the line is for. None where too few pixels tell, or all have the
    same charge.
    """
    if sample.charge.size < fewest:
        return None
    x0, y0 = float(np.median(sample.charge)), float(np.median(sample.excess))
    x, y = sample.charge - x0, sample.excess - y0
    number = min(fewest, sample.charge.size // 2)
    brightest = np.argpartition(sample.charge, -number)[-number:]
    reach = float(np.median(x[brightest]))
    if not reach > 0:
        return None
    slope = float(np.median(y[brightest])) / reach
    # nothing that is real has collected much more than what is full
    real = np.abs(x) <= 2 * np.abs(float(np.median(own)) - x0)
    noise = np.hypot(np.sqrt(sample.variance), _spread((y - slope * x)[brightest]) * x / reach)
    error = 0.0
    for _ in range(2):
        beside = np.abs(y - slope * x)
        good = real & (beside <= OUTLYING * float(np.median(beside / noise)) * noise)
        weight = float(np.sum(x[good] ** 2))
        if weight > 0:
            slope = float(np.sum(x[good] * y[good])) / weight
            error = float(np.sqrt(np.sum((x * (y - slope * x))[good] ** 2))) / weight
    beside = y - slope * x
    bright = good & (sample.charge >= BRIGHT * (x0 + reach))
    scatter = float(np.sum(beside[bright] ** 2 - sample.variance[bright]))
    scatter /= max(float(np.sum(sample.charge[bright] ** 2)), 1.0)
    off = beside[brightest]
    bend = float(np.median(off)) ** 2 - (MEDIAN * _spread(off)) ** 2 / number
    level = MEDIAN * _spread(beside) / np.sqrt(beside.size)
    return _Line(slope, x0, y0, (level, error), max(scatter, 0.0) ** 0.5, reach, max(bend, 0.0) ** 0.5)


def _spread(values: Float) -> float:
    return SIGMA * float(np.median(np.abs(values - np.median(values))))


def _without(found: Slopes, pixels: Pixels, extra: Float, unsure: Float) -> Slopes:
    """Return slopes less `extra`, of which `unsure` counts as error; UNRELIABLE_SLOPE where it is NaN.

    Photon noise is that of the rate that is left.
    """
    slope, err, var_poisson = (plane.copy() for plane in (found.slope, found.err, found.var_poisson))
    dq = found.dq.copy()
    dq[pixels] |= np.where(np.isnan(extra), UNRELIABLE, np.uint32(0))
    extra = np.nan_to_num(extra)
    rate, photons = slope[pixels].astype(np.float64), var_poisson[pixels].astype(np.float64)
    left = np.divide(rate - extra, rate, out=np.ones_like(rate), where=rate > 0)
    photons *= np.maximum(left, 0)
    before = photons + found.var_rnoise[pixels]
    after = before + unsure**2
    slope[pixels] -= extra
    err[pixels] = np.sqrt(after)
    var_poisson[pixels] = photons + unsure**2
    shares = found.shares
    if shares is not None:
        shares = shares.copy()
        shares[:, *pixels] *= np.divide(before, after, out=np.ones_like(after), where=after > 0)
    return replace(found, slope=slope, err=err, var_poisson=var_poisson, shares=shares, dq=dq)
