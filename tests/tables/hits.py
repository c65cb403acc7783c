"""How many injected jumps of which size are found, and how many that were not there."""

from dataclasses import dataclass

import numpy as np
from rich.table import Table

from processors.ramps import jumps, twopoint
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ
from tests.processors.ramps.ramps import FRAME, GAIN, READNOISE, planes, read_times, simulate

SHAPE = (160, 160)
SIZES = (3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30)
"""Of a jump, in sigma of a difference of two groups: read noise and the photons between them."""
CASES = {
    f"{ngroups} groups, {rate:g} e-/s": (ngroups, rate)
    for ngroups in (4, 6, 10, 20)
    for rate in (0.5, 20.0, 1000.0)
}
METHODS = ("likelihood", "two_point")


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
    sigma = np.hypot(READNOISE * GAIN, np.sqrt(rate * FRAME))
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
