"""Rates that come from groups which are left out elsewhere, because they follow a reset.

MIRI's first groups suffer from the first frame and from what is left of the integration before (Ressler et
al. 2015, PASP 127, 675; Argyriou et al. 2023, A&A 675, A111). A pixel that saturates early has no others. How
far they are off is seen in the pixels of the same integration that do have others: what such a difference of
groups has too much, in faint and in bright ones, gives a straight line in the charge that is collected in the
end. The line's value for a pixel's own charge is taken off; and as nobody knows that it goes on as far as to
a full well, so much is also a part of that pixel's error, often a larger one than photons' noise.

Of a pixel that has a single group it is the level of that group above its rate's line and above the pedestal
that MIRI's ramps begin at (see `processors.ramps.pedestals`). What the line adds from the faint pixels to
that one counts as error here, and how the pedestal scatters from pixel to pixel in `processors.ramps.resets`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps.covariance import Pixels, ReadPattern
from processors.ramps.gls import Slopes
from processors.ramps.kernels import UNUSABLE
from schemas.dq import DQ

SATURATED = np.uint8(DQ.SATURATED)
BROKEN = np.uint8(DQ.SATURATED | DQ.JUMP_DET)
UNRELIABLE = np.uint32(DQ.UNRELIABLE_SLOPE)
BRIGHTEST = 0.001
"""Part of the pixels that tells what bright ones have too much."""
FEWEST = 50
"""Pixels that it takes to tell."""
OUTLYING = 7.0
"""Median deviations from the line, about 5 standard deviations, beyond which a pixel tells nothing of it."""
LARGEST = 1e12
"""DN that can be too much; single precision holds their square."""

Ramps = tuple[NDArray[Any], NDArray[np.uint8]]


def without_excess(
    found: Slopes,
    kept: NDArray[np.bool_],
    ramps: Ramps,
    pattern: ReadPattern,
    pedestal: NDArray[np.float64] | None = None,
) -> Slopes:
    """Return slopes without what they have too much where groups were kept that are left out elsewhere.

    Pixels tell how much that is if they have a slope from groups behind those that are left out. Where fewer
    than 50 of them are good to the end, those that saturate or jump later tell as well. Where even these are
    too few (a small subarray on a bright source), the rates stay as they are and are UNRELIABLE_SLOPE: by how
    much they are off is then not in the data, and an error that was made up would be taken for a measured
    one, while a rate that is known to some per cent is worth more than none.

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
    pedestal : ndarray (ny, nx), optional
        Level that ramps begin at, DN, for pixels with a single group; 0 unless given.

    Returns
    -------
    Slopes
        There also with a larger Poisson variance and error, and as much smaller shares in an average; or with
        UNRELIABLE_SLOPE in the flags.
    """
    data, groupdq = ramps
    rows, columns = np.nonzero(kept & np.isfinite(found.slope))
    if not rows.size:
        return found
    first = ((groupdq[:, rows, columns] & UNUSABLE) == 0).argmax(axis=0)
    single = found.ndiff[rows, columns] == 0
    telling = _telling(found, kept, groupdq)
    extra, unsure = np.zeros((2, rows.size))
    for group, alone in sorted(set(zip(first.tolist(), single.tolist(), strict=True))):
        own = (first == group) & (single == alone)
        pixels, groups = (rows[own], columns[own]), _Groups(group, alone, pedestal)
        charge = _charge(found, data, pixels, pattern) - groups.begin(pixels)
        lines = (_line(found, others, ramps, pattern, (groups, charge)) for others in telling)
        line = next((line for line in lines if line is not None), None)
        if line is None:
            extra[own] = np.nan
            continue
        excess = line.at(charge)
        counted = excess - line.level if alone else excess
        held = np.abs(excess) < LARGEST
        extra[own] = (groups.begin(pixels) + np.where(held, excess, 0)) / groups.span(pattern)
        unsure[own] = np.where(held, counted, 0) / groups.span(pattern)
    return _without(found, (rows, columns), extra, unsure)


@dataclass(frozen=True)
class _Line:
    """What is collected too much, by the charge in the end; through the medians of all pixels, DN."""

    slope: float
    charge: float
    level: float

    def at(self, charge: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the excess of pixels with such a charge."""
        return self.level + self.slope * (charge - self.charge)


@dataclass(frozen=True)
class _Groups:
    """A pixel's first usable group, and whether it has no other: its level counts then, else the rise."""

    first: int
    alone: bool
    pedestal: NDArray[np.float64] | None

    def span(self, pattern: ReadPattern) -> float:
        """Return the seconds that make a rate of what was collected."""
        times = pattern.mean_t
        return float(times[self.first] if self.alone else times[self.first + 1] - times[self.first])

    def collected(self, data: NDArray[Any], pixels: Pixels) -> NDArray[np.float64]:
        """Return the level or rise, DN."""
        if self.alone:
            return np.asarray(data[self.first][pixels].astype(np.float64) - self.begin(pixels))
        return _rise(data, pixels, self.first, self.first + 1)

    def begin(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return the part of a level that is the pedestal, DN."""
        if self.alone and self.pedestal is not None:
            return self.pedestal[pixels]
        return np.zeros(pixels[0].size)

    def whole(self, groupdq: NDArray[np.uint8], pixels: Pixels) -> NDArray[np.bool_]:
        """Return where nothing but light makes the level or rise."""
        good = (groupdq[self.first][pixels] & SATURATED) == 0
        return good if self.alone else good & ((groupdq[self.first + 1][pixels] & BROKEN) == 0)


def _telling(found: Slopes, kept: NDArray[np.bool_], groupdq: NDArray[np.uint8]) -> tuple[Pixels, Pixels]:
    """Return the pixels with a slope from other groups: those that are good to the end, and all of them."""
    fitted = ~kept & (found.ndiff > 0)
    to_the_end = np.nonzero(fitted & ~(groupdq & BROKEN).any(axis=0))
    everywhere = np.nonzero(fitted)
    return (to_the_end[0], to_the_end[1]), (everywhere[0], everywhere[1])


def _charge(found: Slopes, data: NDArray[Any], pixels: Pixels, pattern: ReadPattern) -> NDArray[Any]:
    """Return what pixels have collected since the reset when the last group is read, DN."""
    return _rise(data, pixels, 0, -1) + found.slope[pixels] * pattern.mean_t[0]


def _rise(data: NDArray[Any], pixels: Pixels, first: int, last: int) -> NDArray[np.float64]:
    """Return the difference of two groups, DN; in double precision, which holds any."""
    values = data[[first, last]][:, *pixels].astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(values[1] - values[0])


def _line(
    found: Slopes,
    pixels: Pixels,
    ramps: Ramps,
    pattern: ReadPattern,
    wanted: tuple[_Groups, NDArray[np.float64]],
) -> _Line | None:
    """Return the line of the excess through the medians of all pixels, by least squares without outliers.

    `wanted` are the groups that are looked at, and the charge of the pixels that the line is for. None where
    fewer than 50 pixels tell.
    """
    data, groupdq = ramps
    groups, own = wanted
    charge = _charge(found, data, pixels, pattern)
    with np.errstate(invalid="ignore"):
        excess = groups.collected(data, pixels) - found.slope[pixels] * groups.span(pattern)
    usable = np.isfinite(charge) & np.isfinite(excess) & groups.whole(groupdq, pixels)
    charge, excess = charge[usable], excess[usable]
    if charge.size < FEWEST:
        return None
    x0, y0 = float(np.median(charge)), float(np.median(excess))
    number = max(FEWEST, int(BRIGHTEST * charge.size))
    bright = np.argsort(-charge, kind="stable")[:number]
    x1, y1 = float(np.median(charge[bright])), float(np.median(excess[bright]))
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    # nothing that is real has collected much more than what is full
    x, y = charge - x0, excess - y0
    real = np.abs(x) <= 2 * np.abs(float(np.median(own)) - x0)
    for _ in range(2):
        beside = np.abs(y - slope * x)
        good = real & (beside <= OUTLYING * float(np.median(beside)))
        weight = float(np.sum(x[good] ** 2))
        slope = float(np.sum(x[good] * y[good])) / weight if weight > 0 else slope
    return _Line(slope, x0, y0)


def _without(
    found: Slopes, pixels: Pixels, extra: NDArray[np.float64], unsure: NDArray[np.float64]
) -> Slopes:
    """Return slopes less `extra`, of which `unsure` counts as error; UNRELIABLE_SLOPE where it is NaN."""
    slope, err, var_poisson = (plane.copy() for plane in (found.slope, found.err, found.var_poisson))
    dq = found.dq.copy()
    dq[pixels] |= np.where(np.isnan(extra), UNRELIABLE, np.uint32(0))
    extra = np.nan_to_num(extra)
    before = np.square(err[pixels].astype(float))
    slope[pixels] -= extra
    err[pixels] = np.sqrt(before + unsure**2)
    var_poisson[pixels] += unsure**2
    shares = found.shares
    if shares is not None:
        shares = shares.copy()
        after = before + unsure**2
        shares[:, *pixels] *= np.divide(before, after, out=np.ones_like(after), where=after > 0)
    return replace(found, slope=slope, err=err, var_poisson=var_poisson, shares=shares, dq=dq)
