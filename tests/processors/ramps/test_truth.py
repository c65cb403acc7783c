"""Rates and jumps against truth, on so many ramps that small biases show (more: test_gls, test_jumps)."""

from itertools import pairwise

import numpy as np
import pytest

from processors.ramps import gls
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ
from tests.processors.ramps.ramps import GAIN, planes, read_times, simulate
from tests.tables import hits

FULL = 60_000.0
"""Electrons at which a pixel saturates."""


def slopes(data, times, flags=None):
    """Rates and errors in e-/s of ramps in DN."""
    flags = np.zeros(data.shape, np.uint8) if flags is None else flags
    noise = PixelNoise(*planes(data.shape[1:]))
    fit = gls.fit_slopes(data, flags, ReadPattern.of_groups(times), noise)
    return fit.slope.astype(float) * GAIN, fit.err.astype(float) * GAIN


@pytest.mark.parametrize("pattern", [(6, 1, 0), (10, 1, 0), (8, 4, 1)])
def test_no_flux_gives_none(pattern):
    """The mean is within 3 standard errors of 0, and below 1 % of one pixel's error."""
    times = read_times(*pattern)
    rate, err = slopes(simulate(times, 0.0, (600, 600), 81), times)
    assert abs(rate.mean()) < 3 * rate.std() / np.sqrt(rate.size)
    assert abs(rate.mean()) < 0.01 * np.median(err)


@pytest.mark.parametrize(("rate", "count"), [(2.0, 500), (5.0, 300), (50.0, 200), (500.0, 150)])
@pytest.mark.parametrize("pattern", [(6, 1, 0), (10, 1, 0), (8, 4, 1)])
def test_bias_below_a_part_in_a_thousand(pattern, rate, count):
    """Strictly below: there are so many ramps that three standard errors fit in."""
    times = read_times(*pattern)
    found = np.concatenate(
        [slopes(simulate(times, rate, (count, 400), 82 + part), times)[0] for part in range(3)]
    )
    standard_error = found.std() / np.sqrt(found.size)
    assert 3 * standard_error < 1.5e-3 * rate
    assert abs(found.mean() - rate) < 1e-3 * rate


@pytest.mark.parametrize("group_time", [0.5, 1.5, 2.5])
@pytest.mark.parametrize("rate", [1000.0, 2500.0, 5000.0])
def test_bright_ramps_that_saturate(rate, group_time):
    """Short group times; at least 4 groups are below saturation, which ends a ramp."""
    times = [[group_time * (g + 1)] for g in range(16)]
    assert 4 * group_time * rate < FULL
    data = simulate(times, rate, (300, 300), 83)
    flags = np.where(np.maximum.accumulate(data > FULL / GAIN, axis=0), DQ.SATURATED, 0).astype(np.uint8)
    found, err = slopes(data, times, flags)
    assert abs(found.mean() - rate) < 1e-3 * rate
    assert np.std((found - rate) / err) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("case", hits.CASES)
def test_jumps_found_grow_with_their_size(case):
    """At least 97 % from 10 sigma on, and false alarms on at most 0.5 % of clean ramps."""
    curve = hits.curve(case, "likelihood")
    parts = [curve.found[size] for size in hits.SIZES]
    assert all(part >= 0.97 for size, part in curve.found.items() if size >= 10)
    assert all(later > earlier - 0.01 for earlier, later in pairwise(parts))
    assert parts[0] < 0.5
    assert curve.false <= 0.005
    assert curve.beside <= 0.01


@pytest.mark.parametrize("case", [case for case, (ngroups, *_) in hits.AVERAGED.items() if ngroups > 3])
def test_hits_leave_no_bright_pixels_behind(case):
    """Less than 1 % of those that were hit, and 1 % without a rate, from four averaged groups on."""
    rest = hits.rest(case, "likelihood")
    assert rest.flagged > 0.88
    assert rest.lost < 0.01
    assert rest.spoilt < 0.01
