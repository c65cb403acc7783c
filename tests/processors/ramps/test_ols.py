"""Slopes by ordinary least squares, against truth and on bad input (parity: tests/parity)."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processors.ramps import ols, twopoint
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
