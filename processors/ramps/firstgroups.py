"""Rates that come from groups which are left out elsewhere, because they follow a reset.

MIRI's first groups suffer from the first frame and from what is left of the integration before (Ressler et
al. 2015, PASP 127, 675; Argyriou et al. 2023, A&A 675, A111). A pixel that saturates early has no others. How
far they are off is seen in the pixels of the same integration that do have others: what such a difference of
groups has too much, in faint and in bright ones, gives a straight line in the charge that is collected in the
end. Its value for a pixel's own charge is taken off; and as nobody knows that the line goes on as far as to a
full well, so much is also a part of that pixel's error, often a larger one than photons' noise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps.covariance import Pixels, ReadPattern
from processors.ramps.gls import Slopes
from schemas.dq import DQ

LOST = np.uint8(DQ.DO_NOT_USE | DQ.SATURATED)
BROKEN = np.uint8(DQ.SATURATED | DQ.JUMP_DET)
BRIGHTEST = 0.001
"""Part of the pixels that tells what bright ones have too much."""
FEWEST = 50
"""Pixels that it takes to tell."""
LARGEST = 1e12
"""DN that can be too much; single precision holds their square."""

Ramps = tuple[NDArray[Any], NDArray[np.uint8]]


def without_excess(found: Slopes, kept: NDArray[np.bool_], ramps: Ramps, pattern: ReadPattern) -> Slopes:
    """Return slopes without what they have too much where groups were kept that are left out elsewhere.

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

    Returns
    -------
    Slopes
        There also with a larger Poisson variance and error, and as much smaller shares in an average. As
        found where fewer than 50 pixels tell how large the effect is.
    """
    data, groupdq = ramps
    rows, columns = np.nonzero(kept & (found.ndiff > 0) & np.isfinite(found.slope))
    if not rows.size:
        return found
    first = ((groupdq[:, rows, columns] & LOST) == 0).argmax(axis=0)
    y, x = np.nonzero(~kept & (found.ndiff > 0) & ~(groupdq & BROKEN).any(axis=0))
    ordinary = y, x
    charge = _charge(found, data, ordinary, pattern)
    if np.count_nonzero(np.isfinite(charge)) < FEWEST:
        return found
    spans = np.diff(pattern.mean_t)
    extra = np.zeros(rows.size)
    for group in np.unique(first):
        rise = _rise(data, ordinary, group, group + 1)
        line = _line(charge, rise - found.slope[ordinary] * spans[group])
        own = first == group
        excess = np.polyval(line, _charge(found, data, (rows[own], columns[own]), pattern))
        extra[own] = np.where(np.abs(excess) < LARGEST, excess, 0) / spans[group]
    return _without(found, (rows, columns), extra)


def _charge(found: Slopes, data: NDArray[Any], pixels: Pixels, pattern: ReadPattern) -> NDArray[Any]:
    """Return what pixels have collected since the reset when the last group is read, DN."""
    return _rise(data, pixels, 0, -1) + found.slope[pixels] * pattern.mean_t[0]


def _rise(data: NDArray[Any], pixels: Pixels, first: int, last: int) -> NDArray[np.float64]:
    """Return the difference of two groups, DN; in double precision, which holds any."""
    values = data[[first, last]][:, *pixels].astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(values[1] - values[0])


def _line(charge: NDArray[Any], excess: NDArray[Any]) -> tuple[float, float]:
    """Return slope and zero of the line through the medians of all pixels and of the brightest ones."""
    usable = np.isfinite(charge) & np.isfinite(excess)
    charge, excess = charge[usable], excess[usable]
    number = max(FEWEST, int(BRIGHTEST * charge.size))
    bright = np.argsort(-charge, kind="stable")[:number]
    x0, y0 = float(np.median(charge)), float(np.median(excess))
    x1, y1 = float(np.median(charge[bright])), float(np.median(excess[bright]))
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    return slope, y0 - slope * x0


def _without(found: Slopes, pixels: Pixels, extra: NDArray[np.float64]) -> Slopes:
    slope, err, var_poisson = (plane.copy() for plane in (found.slope, found.err, found.var_poisson))
    before = np.square(err[pixels].astype(float))
    slope[pixels] -= extra
    err[pixels] = np.sqrt(before + extra**2)
    var_poisson[pixels] += extra**2
    shares = found.shares
    if shares is not None:
        shares = shares.copy()
        shares[:, *pixels] *= before / (before + extra**2)
    return replace(found, slope=slope, err=err, var_poisson=var_poisson, shares=shares)
