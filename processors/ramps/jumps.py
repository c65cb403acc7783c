"""Cosmic rays by likelihood (Brandt 2024b, PASP 136, 045005).

A hit adds an unknown charge to one difference of a ramp, or shares it between two when it falls within an
averaged group. Freeing one difference, or two successive ones, lowers chi-squared; the exact decrease for
every candidate follows from one factorisation of the covariance. The best candidate beyond its threshold is
taken out, and so on until none is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.ramps.candidates import CII, NROWS, Q, Z, back_substitute, best_candidate, suspect
from processors.ramps.covariance import Float32, PixelNoise, ReadPattern
from processors.ramps.gls import check_shapes
from processors.ramps.growth import Neighbours, grow
from processors.ramps.kernels import (
    AP,
    AR,
    BP,
    BR,
    DNU,
    DT,
    JUMP,
    SAT,
    TILE,
    Array,
    D,
    collect,
    kernel,
    parallel_kernel,
    reduce,
)
from processors.ramps.tiles import FLAGGED, POISSON, READ, SA, SB, SC, load, medians, sweep, workspace

DNU32 = np.uint32(DNU)
UNEVEN = 3
"""Frames in a group from which on a hit can give its two differences parts that are not the same."""
STEP = 32
"""Rows and columns from one pixel to the next of those that tell the usual rate."""


@dataclass(frozen=True)
class JumpThresholds:
    """When a jump is believed, and what else is flagged because of it.

    Parameters
    ----------
    one : float
        Decrease of chi-squared beyond which one difference is taken out; 4.5 sigma by default.
    two : float
        The same for two successive differences; the same false-alarm probability with two degrees of freedom.
    after : tuple of (float, int)
        Pairs of a jump's size in DN and the number of groups after it that are flagged too, when it is at
        least that big.
    neighbours : Neighbours or None
        Growth into the four neighbouring pixels.
    """

    one: float = 20.25
    two: float = 23.8
    after: tuple[tuple[float, int], ...] = ()
    neighbours: Neighbours | None = field(default_factory=Neighbours)


def find_jumps(
    data: Float32,
    groupdq: NDArray[np.uint8],
    pattern: ReadPattern,
    noise: PixelNoise,
    thresholds: JumpThresholds | None = None,
    *,
    pixeldq: NDArray[np.uint32] | None = None,
    in_place: bool = False,
) -> NDArray[np.uint8]:
    """Flag the jumps of one integration.

    Parameters
    ----------
    data : ndarray `(ngroup, ny, nx)`, float32
        Ramps in DN.
    groupdq : ndarray `(ngroup, ny, nx)`, uint8
        Group flags; jumps that are flagged already stay, and their differences are not looked at.
    pattern : ReadPattern
        Read times of the groups.
    noise : PixelNoise
        Gain, read noise and dark rate, `(ny, nx)`.
    thresholds : JumpThresholds, optional
        Thresholds and what is flagged besides.
    pixeldq : ndarray `(ny, nx)`, uint32, optional
        Pixels with DO_NOT_USE are not searched.
    in_place : bool
        Whether `groupdq`, C-contiguous, is changed and returned itself.

    Returns
    -------
    ndarray `(ngroup, ny, nx)`, uint8
        A copy of `groupdq` with JUMP_DET on each group whose difference from the group before is spoilt.
        Groups with SATURATED or DO_NOT_USE get no JUMP_DET, except where a difference across unusable groups
        jumps: there the group that ends it.

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    check_shapes(data, groupdq, pattern)
    limits = JumpThresholds() if thresholds is None else thresholds
    planes = noise.arrays(data.shape[1:])
    skip = np.zeros(data.shape[1:], np.bool_) if pixeldq is None else (pixeldq & DNU32) != 0
    flags = groupdq if in_place else np.array(groupdq, order="C")
    if pattern.ngroups < 3:
        return flags
    after = np.array(limits.after, np.float64).reshape(-1, 2)
    sides = limits.neighbours
    span = (sides.minimum, sides.maximum) if sides else (np.inf, np.inf)
    seeds = np.zeros(flags.shape if sides else (1, 1, 1), np.bool_)
    cuts = (float(limits.one), float(limits.two), float(span[0]), float(span[1]))
    tables = (pattern.table, pattern.coefficients)
    how = (cuts, _usual_rate(data, pattern), after)
    _search(np.ascontiguousarray(data, np.float32), flags, tables, (*planes, skip), how, seeds)
    if sides:
        grow(flags, seeds)
    return flags


def _usual_rate(data: Float32, pattern: ReadPattern) -> float:
    """Return the rate of most pixels, DN/s, from some of them; 0 where nothing depends on it."""
    if pattern.nreads.max() < UNEVEN:
        return 0.0
    _, ny, nx = data.shape
    some = data[:, ny // 2 % STEP :: STEP, nx // 2 % STEP :: STEP] if min(ny, nx) > 4 * STEP else data
    with np.errstate(invalid="ignore", over="ignore"):
        rates = np.diff(some, axis=0) / np.diff(pattern.mean_t).astype(np.float32)[:, np.newaxis, np.newaxis]
    rates = rates[np.isfinite(rates)]
    return max(float(np.median(rates)), 0.0) if rates.size else 0.0


@parallel_kernel
def _search(data: Array, groupdq: Array, tables: Any, planes: Any, how: Any, seeds: Array) -> None:
    ngroup, ny, nx = data.shape
    gain, readnoise, dark, skip = planes
    cuts, usual, after = how
    for y in prange(ny):
        lanes, differences, seen = workspace(ngroup)
        rates, chosen = np.empty_like(differences), np.zeros(TILE, np.bool_)
        ramp, flags = np.empty(ngroup, np.float32), np.empty(ngroup, np.uint8)
        w, end = np.empty((NROWS, ngroup)), np.empty(ngroup, np.int64)
        found = np.zeros((2, ngroup))
        for x0 in range(0, nx, TILE):
            stop = min(x0 + TILE, nx)
            load(data, groupdq, (y, x0, stop - x0), differences, seen)
            noise = (gain[y, x0:stop], readnoise[y, x0:stop], dark[y, x0:stop])
            _judge_lanes(differences, tables[1], noise, lanes, rates)
            _choose(lanes, seen, (noise, skip[y, x0:stop]), min(cuts[0], cuts[1]), chosen)
            for k in range(stop - x0):
                if not chosen[k]:
                    continue
                x = x0 + k
                g, r = np.float64(gain[y, x]), np.float64(readnoise[y, x])
                ramp[:], flags[:] = data[:, y, x], groupdq[:, y, x]
                n, _ = collect(ramp, flags, tables[0], w, end)
                noise_ = (g, 0.5 * r * r, np.float64(dark[y, x]))
                if _search_ramp(w, n, end, noise_, (cuts, usual), found):
                    _flag(found, after, groupdq[:, y, x])
                    for i in range(ngroup):
                        if found[0, i] > cuts[2] and found[0, i] < cuts[3]:
                            seeds[i, y, x] = True
                    found[:] = 0.0


@kernel
def _judge_lanes(differences: Array, coefficients: Array, noise: Any, lanes: Array, rates: Array) -> None:
    """Chi-squared of the clean ramps of a piece of a row, in SA; no jump can lower it by more than that."""
    gain, readnoise, dark = noise
    ndiff = differences.shape[0]
    medians(differences, coefficients, rates)
    low, high = rates[0 if ndiff < 4 else (ndiff - 1) // 2], rates[0 if ndiff < 4 else ndiff // 2]
    for k in range(gain.size):
        lanes[POISSON + k] = max(0.5 * (low[k] + high[k]) + dark[k], 0.0) / gain[k]
        lanes[READ + k] = 0.5 * np.float64(readnoise[k]) * np.float64(readnoise[k])
    sweep(differences, coefficients, lanes)
    for k in range(TILE):
        lanes[SA + k] -= lanes[SB + k] * lanes[SB + k] / lanes[SC + k]


@kernel
def _choose(lanes: Array, seen: Array, pixels: Any, cut: float, chosen: Array) -> None:
    """Choose the ramps that are looked at one by one: flagged ones, and those that a straight line fits
    badly.
    """
    (gain, readnoise, _), skip = pixels
    for k in range(gain.size):
        known = (gain[k] > 0.0) & (readnoise[k] > 0.0) & (gain[k] + readnoise[k] < np.inf)
        poor = ((seen[k] & FLAGGED) != 0) | (not lanes[SA + k] <= cut)
        chosen[k] = known & poor & (not skip[k])


@kernel
def _search_ramp(w: Array, n: int, end: Array, noise: Any, how: Any, found: Array) -> bool:
    """Take jumps out of a ramp until none is left; `found` gets their significance and size at their groups.

    `how` is the thresholds, and the rate that is usual, DN/s.

    Returns whether there was any.
    """
    gain, read, dark = noise
    cuts, usual = how
    any_found = False
    while n >= 2:
        rate = max(_typical_rate(w, n) + dark, 0.0) / gain
        a, b, c = reduce(w, n, rate, read)
        if a - b * b / c <= min(cuts[0], cuts[1]):
            break  # no candidate can lower chi-squared by more than all of it
        back_substitute(w, n, b / c)
        first, count, excess = best_candidate(w, n, b / c, c, cuts)
        if count == 0:
            break
        any_found = True
        if n == 2 and suspect(w, first, noise, usual):
            first, count = 0, 2
        sigma = np.sqrt(excess)
        for i in range(first, first + count):
            free = w[CII, i] - w[Q, i] ** 2 / c
            found[0, end[i]] = sigma
            found[1, end[i]] = w[Z, i] / free
        n = _remove(w, n, first, count, end)
    return any_found


@kernel
def _typical_rate(w: Array, n: int) -> float:
    """Median of the differences' rates; of three or two the least: hits add charge, and to two at a time."""
    rates = w[Z]
    for i in range(n):
        rate = w[D, i] / w[DT, i]
        j = i
        while j > 0 and rates[j - 1] > rate:
            rates[j] = rates[j - 1]
            j -= 1
        rates[j] = rate
    if n < 4:
        return float(rates[0])
    return float(0.5 * (rates[(n - 1) // 2] + rates[n // 2]))


@kernel
def _remove(w: Array, n: int, first: int, count: int, end: Array) -> int:
    """Take differences out of the list; what is left on both sides is no longer correlated."""
    for i in range(first + count, n):
        for row in (D, DT, AP, AR, BP, BR):
            w[row, i - count] = w[row, i]
        end[i - count] = end[i]
    if first < n - count:
        w[BP, first] = 0.0
        w[BR, first] = 0.0
    return n - count


@kernel
def _flag(found: Array, after: Array, groupdq: Array) -> None:
    """Set JUMP_DET on the found groups, and on usable ones after big jumps."""
    ngroup = groupdq.size
    for g in range(1, ngroup):
        if found[0, g] == 0.0:
            continue
        groupdq[g] |= JUMP
        for k in range(after.shape[0]):
            if found[1, g] >= after[k, 0]:
                for later in range(g + 1, min(ngroup, g + 1 + int(after[k, 1]))):
                    if not groupdq[later] & (SAT | DNU):
                        groupdq[later] |= JUMP
