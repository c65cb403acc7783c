"""Slopes by ordinary least squares, against truth and on bad input (parity: tests/parity)."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processors.ramps import combine, ols, twopoint
from processors.ramps.covariance import PixelNoise
from schemas.dq import DQ
from tests.processors.ramps.ramps import FRAME, GAIN, READNOISE, planes, read_times, simulate

SHAPE = (128, 128)
TIMING = ols.Timing(FRAME, FRAME, 1)


@pytest.mark.parametrize("rate", [1.0, 20.0, 1000.0])
def test_recovers_the_rate(rate):
    data = simulate(read_times(10), rate, SHAPE, 61)
    got = ols.fit_slopes(data, np.zeros(data.shape, np.uint8), TIMING, PixelNoise(*planes(SHAPE)))
    slope = got.slope * GAIN
    assert abs(slope.mean() - rate) < 4 * slope.std() / 128
    assert (
        0.85 < np.std((slope - rate) / (got.err * GAIN)) < 1.2
    )  # its formulae know no correlation of groups
    assert (got.ndiff == 9).all()
    assert not got.dq.any()


def test_segments_are_joined():
    data = simulate(read_times(10), 20.0, SHAPE, 62)
    data[4:] += 5000.0
    flags = np.zeros(data.shape, np.uint8)
    flags[4] = DQ.JUMP_DET
    flags[9] = DQ.SATURATED
    got = ols.fit_slopes(data, flags, TIMING, PixelNoise(*planes(SHAPE)))
    assert abs(got.slope.mean() * GAIN - 20) < 4 * got.slope.std() * GAIN / 128
    assert (got.ndiff == 7).all()
    assert (got.dq == DQ.JUMP_DET | DQ.SATURATED).all()


def test_errors_of_very_bright_short_ramps_are_stated_and_averaged():
    timing, time = ols.Timing(0.01, 0.01, 1), 0.01
    gain, readnoise = np.full(SHAPE, 2, np.float32), np.full(SHAPE, 14, np.float32)
    rng, total, pulls = np.random.default_rng(66), combine.OlsRate(SHAPE), []
    for _ in range(3):
        charge = np.cumsum(rng.poisson(1e6 * time, (3, *SHAPE)), axis=0) / 2
        data = (charge + rng.normal(0, 14 / np.sqrt(2), charge.shape)).astype(np.float32)
        got = ols.fit_slopes(data, np.zeros(data.shape, np.uint8), timing, PixelNoise(gain, readnoise))
        assert (np.square(got.err) > 1e6).all()
        pulls.append((got.slope - 5e5) / got.err)
        total.add(got)
    assert np.std(pulls) == pytest.approx(1, abs=0.05)
    mean = total.result()
    assert np.std((mean.slope - 5e5) / mean.err) == pytest.approx(1, abs=0.05)


def test_integrations_of_which_no_error_is_known_are_left_out_of_averages():
    timing, noise = ols.Timing(FRAME, FRAME, 1), PixelNoise(*planes(SHAPE))
    data = simulate(read_times(5), 20.0, SHAPE, 67)
    one = ols.fit_slopes(data, np.zeros(data.shape, np.uint8), timing, noise)
    zero = np.zeros(SHAPE, np.float32)
    unknown = replace(one, slope=one.slope + 100, err=zero, var_poisson=zero)
    total = combine.OlsRate(SHAPE)
    total.add(unknown)
    assert np.isnan(total.result().slope).all()
    assert (total.result().dq & DQ.DO_NOT_USE).all()
    total.add(one)
    np.testing.assert_allclose(total.result().slope, one.slope, rtol=1e-6)
    np.testing.assert_allclose(total.result().err, one.err, rtol=1e-5)


def test_bad_values_give_flags_not_crashes():
    data = simulate(read_times(6), 20.0, (1, 6), 63)
    gain, readnoise = planes((1, 6))
    gain[0, :3] = 0, -1, np.nan
    data[:, 0, 3] = np.nan
    data[2, 0, 4] = np.nan
    flags = np.zeros(data.shape, np.uint8)
    flags[:, 0, 5] = DQ.JUMP_DET
    got = ols.fit_slopes(data, flags, TIMING, PixelNoise(gain, readnoise))
    assert_array_equal(np.isnan(got.slope[0]), [True, True, True, True, False, True])
    assert_array_equal((got.dq[0] & DQ.DO_NOT_USE) != 0, np.isnan(got.slope[0]))
    assert abs(got.slope[0, 4] * GAIN - 20) < 5 * got.err[0, 4] * GAIN


def test_two_point_finds_hits():
    times = read_times(8)
    rng = np.random.default_rng(64)
    read = rng.integers(1, 8, SHAPE)
    charge = 15 * np.hypot(READNOISE * GAIN, np.sqrt(20 * FRAME))
    data = simulate(times, 20.0, SHAPE, 65, (read, np.full(SHAPE, charge)))[None]
    settings = twopoint.TwoPoint(neighbours=None)
    found = (
        twopoint.find_jumps(data, np.zeros(data.shape, np.uint8), 1, PixelNoise(*planes(SHAPE)), settings)[0]
        != 0
    )
    assert np.take_along_axis(found, read[None], axis=0).mean() > 0.97
    assert found.sum() < 1.02 * read.size


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must both be"):
        ols.fit_slopes(
            np.zeros((5, 4, 4)), np.zeros((5, 4, 3), np.uint8), TIMING, PixelNoise(*planes((4, 4)))
        )
    with pytest.raises(ValueError, match="must both be"):
        twopoint.find_jumps(
            np.zeros((5, 4, 4)), np.zeros((5, 4, 4), np.uint8), 1, PixelNoise(*planes((4, 4)))
        )
