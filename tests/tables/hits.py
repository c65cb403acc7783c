"""How many injected jumps of which size are found, how many are false, and what hits leave behind."""

from dataclasses import dataclass

import numpy as np
from rich.table import Table

from processors.ramps import gls, jumps, twopoint
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ
from tests.processors.ramps.ramps import GAIN, planes, read_times, sigma_of_difference, simulate

SHAPE = (160, 160)
SIZES = (3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30)
"""Of a jump, in sigma of a difference of two groups: read noise and the photons between them."""
CASES = {
    f"{ngroups} groups, {rate:g} e-/s": (ngroups, rate)
    for ngroups in (4, 6, 10, 20)
    for rate in (0.5, 20.0, 1000.0)
}
METHODS = ("likelihood", "two_point")
AVERAGED = {
    f"{name}, {ngroups} groups": (ngroups, nframes, gap)
    for name, nframes, gap in (("BRIGHT2", 2, 0), ("SHALLOW4", 4, 1), ("DEEP8", 8, 12))
    for ngroups in (3, 4, 5, 10)
}
SKY = 10.0
"""Of exposures with averaged groups, e-/s."""


@dataclass(frozen=True)
class Curve:
    """What a method finds."""

    found: dict
    """For each size the part of jumps that are flagged at their group."""
    false: float
    """Part of clean ramps in which anything is flagged."""
    beside: float
    """Part of ramps with a jump of 10 sigma or more in which another group is flagged too."""


def curve(case, method):
    """Return the curve of a case: one jump in each ramp, between two groups, at any of them but the first."""
    ngroups, rate = CASES[case]
    sigma = sigma_of_difference(rate)
    seed = 1000 * (1 + list(CASES).index(case))
    times = read_times(ngroups)
    clean = simulate(times, rate, SHAPE, seed)
    found, others = {}, []
    for size in SIZES:
        rng = np.random.default_rng(seed + size)
        group = rng.integers(1, ngroups, SHAPE)
        struck = simulate(times, rate, SHAPE, seed + size, (group, np.full(SHAPE, size * sigma)))
        flagged = _search(struck, times, method)
        here = np.arange(ngroups)[:, None, None] == group
        found[size] = float((flagged & here).any(axis=0).mean())
        if size >= 10:
            others.append(float((flagged & ~here).any(axis=0).mean()))
    return Curve(found, float(_search(clean, times, method).any(axis=0).mean()), float(np.mean(others)))


@dataclass(frozen=True)
class Rest:
    """What is left of pixels that were hit at any read, by 5 to 1,000 sigma of a difference of two groups."""

    flagged: float
    """Part of them with a jump."""
    lost: float
    """Part of them without a rate."""
    spoilt: float
    """Part of them whose rate is more than 6 errors too bright."""


def rest(case, method):
    """Return what hits leave behind in ramps of averaged groups, a fifth of which are hit."""
    ngroups, nframes, gap = AVERAGED[case]
    rng = np.random.default_rng(list(AVERAGED).index(case))
    sigma = sigma_of_difference(SKY, nframes, gap)
    struck = rng.uniform(size=SHAPE) < 0.2
    charge = np.where(struck, sigma * 10 ** rng.uniform(0.7, 3, SHAPE), 0)
    times = read_times(ngroups, nframes, gap)
    data = simulate(times, SKY, SHAPE, 7, (rng.integers(1, ngroups * nframes, SHAPE), charge))
    flags = np.where(_search(data, times, method), np.uint8(DQ.JUMP_DET), np.uint8(0))
    fit = gls.fit_slopes(data, flags, ReadPattern.of_groups(times), PixelNoise(*planes(SHAPE)))
    known = np.isfinite(fit.slope[struck])
    pull = (fit.slope * GAIN - SKY)[struck][known] / (fit.err * GAIN)[struck][known]
    return Rest((flags != 0).any(axis=0)[struck].mean(), 1 - known.mean(), (pull > 6).sum() / known.size)


def table_of_rests(rests):
    """Return the table of what hits leave behind, by case and method."""
    found = Table(
        title=f"Hits at any read, within averaged groups too, on {SKY:g} e-/s, % of the pixels hit: flagged; "
        "without a rate; with one more than 6 errors too bright",
        title_justify="left",
    )
    for heading in ("ramps", "method"):
        found.add_column(heading)
    for heading in ("flagged", "lost", "too bright"):
        found.add_column(heading, justify="right")
    for (case, method), one in rests.items():
        cells = (f"{100 * part:.2f}" for part in (one.flagged, one.lost, one.spoilt))
        found.add_row(case, method, *cells)
    return found


def _search(data, times, method):
    flags, noise = np.zeros(data.shape, np.uint8), PixelNoise(*planes(SHAPE))
    if method == "likelihood":
        how = jumps.JumpThresholds(neighbours=None)
        flags = jumps.find_jumps(data, flags, ReadPattern.of_groups(times), noise, how)
    else:
        flags = twopoint.find_jumps(data[None], flags[None], 1, noise, twopoint.TwoPoint(neighbours=None))[0]
    return (flags & DQ.JUMP_DET) != 0


def table(curves):
    """Return the table of curves, by case and method."""
    found = Table(
        title="Jumps found, % of those of a size in sigma of a difference; false: % of clean ramps; beside: "
        "% of ramps with a jump >= 10 sigma in which another group is flagged",
        title_justify="left",
    )
    found.add_column("ramps")
    found.add_column("method")
    for size in SIZES:
        found.add_column(f"{size}", justify="right")
    found.add_column("false", justify="right")
    found.add_column("beside", justify="right")
    for (case, method), one in curves.items():
        cells = [f"{100 * part:.1f}" for part in one.found.values()]
        found.add_row(case, method, *cells, f"{100 * one.false:.2f}", f"{100 * one.beside:.2f}")
    return found
