"""Bias, scatter and error calibration of our slopes and the standard pipeline's, on the same clean ramps."""

from dataclasses import dataclass

import numpy as np
from rich.table import Table

from processors.ramps import gls, ols
from processors.ramps.covariance import PixelNoise, ReadPattern
from tests.processors.ramps.ramps import FRAME, GAIN, planes, read_times, simulate

SHAPE = (160, 160)
RATES = (0.5, 5.0, 100.0, 1000.0)
"""e-/s."""
PATTERNS = {
    "6": (6, 1, 0),
    "10": (10, 1, 0),
    "20": (20, 1, 0),
    "8 of 4, gap 1": (8, 4, 1),
    "10 of 8, gap 2": (10, 8, 2),
}
"""Groups, reads averaged in each, reads dropped between."""
CASES = {f"{name}, {rate:g} e-": (pattern, rate) for name, pattern in PATTERNS.items() for rate in RATES}
OURS = ("gls", "ols")
THEIRS = ("OLS_C", "LIKELY")


@dataclass(frozen=True)
class Score:
    """How well rates and errors of many ramps of the same rate are."""

    bias: float
    """Mean deviation from the truth, e-/s."""
    standard_error: float
    """Of the bias."""
    scatter: float
    """Root mean square deviation from the truth, e-/s."""
    calibration: float
    """Standard deviation of deviations over their errors; 1 is right."""

    @classmethod
    def of(cls, slope, err, rate):
        """Return the score of slopes and errors in DN/s against a rate in e-/s."""
        good = np.isfinite(slope) & (err > 0)
        off = slope[good].astype(float) * GAIN - rate
        pull = off / (err[good].astype(float) * GAIN)
        return cls(off.mean(), off.std() / np.sqrt(off.size), np.sqrt(np.mean(off**2)), pull.std())


def ramps(case):
    """Return the clean ramps of a case `(ngroup, ny, nx)`, DN, the same whenever asked for."""
    pattern, rate = CASES[case]
    return simulate(read_times(*pattern), rate, SHAPE, 100 + list(CASES).index(case))


def ours(case, data):
    """Return scores of both our algorithms, by name."""
    (ngroups, nframes, gap), rate = CASES[case]
    noise, flags = PixelNoise(*planes(SHAPE)), np.zeros(data.shape, np.uint8)
    pattern = ReadPattern.of_groups(read_times(ngroups, nframes, gap))
    timing = ols.Timing(FRAME * (nframes + gap), FRAME, nframes)
    fits = {
        "gls": gls.fit_slopes(data, flags, pattern, noise),
        "ols": ols.fit_slopes(data, flags, timing, noise),
    }
    return {name: Score.of(fit.slope, fit.err, rate) for name, fit in fits.items()}


def tasks(data):
    """Return what `tests.parity.functions` is to do with ramps of all cases, by task name."""
    gain, readnoise = planes(SHAPE)
    made = {}
    for number, (case, ramp) in enumerate(data.items()):
        (_, nframes, gap), _ = CASES[case]
        given = {
            "data": ramp[None], "groupdq": np.zeros((1, *ramp.shape), np.uint8), "suppress": True,
            "pixeldq": np.zeros(SHAPE, np.uint32), "gain": gain, "readnoise": readnoise,
            "dark": np.zeros(SHAPE, np.float32), "tframe": FRAME, "nframes": nframes, "gap": gap,
        }  # fmt: skip
        made |= {f"{number}-{task}": {**given, "task": task} for task in THEIRS}
    return made


def theirs(answers):
    """Return scores of the standard pipeline's algorithms from its answers to `tasks`, by case."""
    scores = {}
    for number, (case, (_, rate)) in enumerate(CASES.items()):
        found = {task: answers[f"{number}-{task}"] for task in THEIRS if f"{number}-{task}" in answers}
        scores[case] = {
            task: Score.of(one["rate_slope"], one["rate_err"], rate) for task, one in found.items()
        }
    return scores


def table(scores):
    """Return the table of all scores, by case and algorithm."""
    names = {"gls": "gls", "ols": "ols", "OLS_C": "stcal OLS_C", "LIKELY": "stcal LIKELY"}
    found = Table(
        title="Slopes of clean ramps: std of (fit - truth)/error, rms of fit - truth relative to gls, bias",
        title_justify="left",
    )
    found.add_column("groups, rate")
    for name in names.values():
        found.add_column(f"{name}: error", justify="right")
        found.add_column("rms", justify="right")
        found.add_column("bias %", justify="right")
    for case, by_algorithm in scores.items():
        cells = []
        for algorithm in names:
            one = by_algorithm.get(algorithm)
            if one is None:
                cells += ["-", "-", "-"]
                continue
            percent = 100 / CASES[case][1]
            cells += [
                f"{one.calibration:.3f}", f"{one.scatter / by_algorithm['gls'].scatter:.3f}",
                f"{one.bias * percent:+.2f}±{one.standard_error * percent:.2f}",
            ]  # fmt: skip
        found.add_row(case, *cells)
    return found
