"""Jumps by likelihood: what is found, what is not there and found, what is flagged besides."""

import numba
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processors.ramps import gls, jumps
from processors.ramps.covariance import PixelNoise, ReadPattern
from processors.ramps.growth import Neighbours
from schemas.dq import DQ
from tests.processors.ramps.ramps import (
    FRAME,
    GAIN,
    READNOISE,
    planes,
    read_times,
    sigma_of_difference,
    simulate,
)

SHAPE = (128, 128)
ALONE = jumps.JumpThresholds(neighbours=None)


def find(data, times, flags=None, thresholds=ALONE, **how):
    flags = np.zeros(data.shape, np.uint8) if flags is None else flags
    return jumps.find_jumps(
        data, flags, ReadPattern.of_groups(times), PixelNoise(*planes(data.shape[1:])), thresholds, **how
    )


def jumped(flags):
    return (flags & DQ.JUMP_DET) != 0


@pytest.mark.parametrize("rate", [0.0, 0.5, 20.0, 2000.0])
@pytest.mark.parametrize(
    "pattern", [(3, 1, 0), (4, 1, 0), (4, 8, 12), (5, 1, 0), (10, 1, 0), (30, 1, 0), (8, 8, 2)]
)
def test_false_alarms(pattern, rate):
    """At most 0.5 % of clean pixels; the slope stays unbiased."""
    times = read_times(*pattern)
    data = simulate(times, rate, SHAPE, 31)
    flags = find(data, times)
    assert jumped(flags).any(axis=0).mean() < 5e-3
    fit = gls.fit_slopes(data, flags, ReadPattern.of_groups(times), PixelNoise(*planes(SHAPE)))
    residual = fit.slope[np.isfinite(fit.slope)].astype(float) * GAIN - rate
    assert abs(residual.mean()) < 1e-3 * rate + 3.5 * residual.std() / np.sqrt(residual.size)


@pytest.mark.parametrize("rate", [0.5, 20.0, 2000.0])
@pytest.mark.parametrize("ngroups", [3, 4, 6, 10, 20])
def test_completeness(ngroups, rate):
    """Hits of 10 to 30 sigma of a difference: at least 97 % are found, at the right group."""
    times = read_times(ngroups)
    rng = np.random.default_rng(32)
    sigma = sigma_of_difference(rate)
    read = rng.integers(1, ngroups, SHAPE)
    data = simulate(times, rate, SHAPE, 33, (read, sigma * rng.uniform(10, 30, SHAPE)))
    hit = np.arange(ngroups)[:, None, None] == read
    found = jumped(find(data, times))
    assert (found & hit).any(axis=0).mean() > 0.97
    assert (found & ~hit).any(axis=0).mean() < 0.01


def test_hits_within_averaged_groups():
    """A hit between the reads of a group spoils two differences; with both gone the slope is right."""
    times = read_times(8, 8, 2)
    rng = np.random.default_rng(34)
    sigma = sigma_of_difference(5.0, 8, 2)
    read = rng.integers(1, 64, SHAPE)
    data = simulate(times, 5.0, SHAPE, 35, (read, sigma * rng.uniform(15, 100, SHAPE)))
    flags = find(data, times)
    inside = read % 8 != 0
    found = jumped(flags).sum(axis=0)
    assert (found > 0).mean() > 0.97
    # freeing the other neighbour as well gains more than the thresholds' distance of 3.55 in some 10 % of
    # cases
    assert 0.85 < (found[~inside] == 1).mean() < 0.95
    middle = (read % 8 > 1) & (read % 8 < 7) & (read >= 8) & (read < 56)
    assert (found[middle] == 2).mean() > 0.9
    fit = gls.fit_slopes(data, flags, ReadPattern.of_groups(times), PixelNoise(*planes(SHAPE)))
    pull = (fit.slope * GAIN - 5.0) / (fit.err * GAIN)
    assert abs(np.median(pull)) < 0.1


@pytest.mark.parametrize("rate", [0.5, 20.0, 500.0])
@pytest.mark.parametrize("pattern", [(4, 2, 0), (4, 4, 1), (4, 8, 12), (5, 4, 1), (5, 8, 12), (6, 4, 1)])
def test_hits_within_the_averaged_groups_of_short_ramps(pattern, rate):
    """They add charge to two of few differences: what is left is the part without it."""
    times = read_times(*pattern)
    rng = np.random.default_rng(45)
    sigma = sigma_of_difference(rate, *pattern[1:])
    read = rng.integers(1, pattern[0] * pattern[1], SHAPE)
    data = simulate(times, rate, SHAPE, 46, (read, sigma * 10 ** rng.uniform(1.2, 3, SHAPE)))
    flags = find(data, times)
    assert jumped(flags).any(axis=0).mean() > 0.97
    fit = gls.fit_slopes(data, flags, ReadPattern.of_groups(times), PixelNoise(*planes(SHAPE)))
    known = np.isfinite(fit.slope)
    assert known.mean() > 0.97
    pull = (fit.slope * GAIN - rate) / (fit.err * GAIN)
    assert (np.abs(pull[known]) > 6).mean() < 2e-3
    assert abs(np.median(pull[known])) < 0.1


@pytest.mark.parametrize("rate", [0.5, 20.0])
@pytest.mark.parametrize("pattern", [(3, 2, 0), (3, 4, 1), (3, 8, 12)])
def test_of_two_differences_that_share_a_group_the_other_is_not_trusted(pattern, rate):
    """Unless it is what most pixels have, or so large that the hit is little beside it."""
    times = read_times(*pattern)
    rng = np.random.default_rng(47)
    sigma = sigma_of_difference(rate, *pattern[1:])
    read = rng.integers(1, pattern[0] * pattern[1], SHAPE)
    struck = rng.uniform(size=SHAPE) < 0.3
    charge = np.where(struck, sigma * 10 ** rng.uniform(1.2, 3, SHAPE), 0)
    data = simulate(times, rate, SHAPE, 48, (read, charge))
    flags = find(data, times)
    found = jumped(flags).any(axis=0) & struck
    assert found.sum() > 0.75 * struck.sum()  # one in the middle of the middle group adds the same to both
    fit = gls.fit_slopes(data, flags, ReadPattern.of_groups(times), PixelNoise(*planes(SHAPE)))
    known = found & np.isfinite(fit.slope)
    assert known.sum() > 0.6 * struck.sum()
    assert (np.abs((fit.slope * GAIN - rate) / (fit.err * GAIN))[known] > 6).mean() < 0.01


@pytest.mark.parametrize("pattern", [(3, 1, 0), (4, 1, 0), (4, 4, 1), (4, 8, 12), (5, 4, 1), (8, 1, 0)])
def test_steps_down_are_taken_out_where_light_cannot_be_negative(pattern):
    """As in pixels with telegraph noise: the difference that fell is spoilt, not those that did not."""
    times, rate = read_times(*pattern), 2.0
    rng = np.random.default_rng(49)
    sigma = sigma_of_difference(rate, *pattern[1:])
    group = rng.integers(1, pattern[0], SHAPE)
    data = simulate(times, rate, SHAPE, 50, (group * pattern[1], np.full(SHAPE, -50 * sigma)))
    flags = find(data, times)
    hit = np.arange(pattern[0])[:, None, None] == group
    assert (jumped(flags) & hit).any(axis=0).mean() > 0.999
    fit = gls.fit_slopes(data, flags, ReadPattern.of_groups(times), PixelNoise(*planes(SHAPE)))
    assert (np.abs((fit.slope * GAIN - rate) / (fit.err * GAIN)) < 6).mean() > 0.99


def test_a_source_beside_the_middle_group_keeps_its_rate():
    """Where a hit's parts do not explain a rate that is not the usual one."""
    times = read_times(3, 4, 1)
    rng = np.random.default_rng(51)
    rate = np.where(rng.uniform(size=SHAPE) < 0.2, 10 ** rng.uniform(1.5, 3.3, SHAPE), 10.0)
    sigma = sigma_of_difference(rate, 4, 1)
    data = simulate(times, rate, SHAPE, 52, (rng.choice((4, 8), SHAPE), 100 * sigma))
    fit = gls.fit_slopes(data, find(data, times), ReadPattern.of_groups(times), PixelNoise(*planes(SHAPE)))
    assert np.isfinite(fit.slope[rate > 10]).mean() > 0.9
    assert np.isfinite(fit.slope[rate == 10]).mean() > 0.999


def test_several_hits():
    times = read_times(12)
    data = simulate(times, 20.0, SHAPE, 36)
    for group, charge in ((2, 500.0), (5, 3000.0), (9, 200.0)):
        data[group:] += charge / GAIN
    found = jumped(find(data, times))
    assert found[[2, 5, 9]].all(axis=0).mean() > 0.97
    assert np.delete(found, [2, 5, 9], axis=0).any(axis=0).mean() < 0.01


def test_hit_across_an_unusable_group_is_flagged_at_its_end():
    times = read_times(8)
    data = simulate(times, 20.0, SHAPE, 37)
    data[3:] += 1000.0
    flags = np.zeros(data.shape, np.uint8)
    flags[3] = DQ.DO_NOT_USE
    flags[7] = DQ.SATURATED
    got = find(data, times, flags)
    assert jumped(got[4]).all()
    assert not jumped(got[3]).any()
    assert not jumped(got[7]).any()


def test_known_jumps_stay_and_are_not_searched():
    times = read_times(6)
    data = simulate(times, 20.0, SHAPE, 38)
    data[2:] += 1000.0
    flags = np.zeros(data.shape, np.uint8)
    flags[2] = DQ.JUMP_DET
    got = find(data, times, flags)
    assert (got[2] == DQ.JUMP_DET).all()
    assert (got != flags).any(axis=0).mean() < 5e-3


def test_skips_unusable_pixels_and_short_ramps():
    times = read_times(6)
    data = simulate(times, 20.0, (4, 4), 39)
    data[2:] += 1000.0
    assert_array_equal(find(data, times, pixeldq=np.full((4, 4), DQ.DO_NOT_USE, np.uint32)), 0)
    assert_array_equal(find(data[:2], times[:2]), 0)
    data[1] = np.nan
    gain, readnoise = planes((4, 4))
    gain[0], readnoise[1], readnoise[2] = np.nan, 0, -3
    flags = jumps.find_jumps(
        data, np.zeros(data.shape, np.uint8), ReadPattern.of_groups(times), PixelNoise(gain, readnoise), ALONE
    )
    assert_array_equal(jumped(flags).any(axis=0), np.arange(4)[:, None] * np.ones(4) == 3)


@pytest.mark.parametrize(("sigma", "spreads"), [(6.0, False), (30.0, True), (500.0, False)])
def test_neighbours(sigma, spreads):
    times = read_times(10)
    data = simulate(times, 20.0, (9, 9), 40)
    data[4:, 4, 4] += sigma * np.hypot(READNOISE, np.sqrt(20 * FRAME) / GAIN)
    flags = np.zeros(data.shape, np.uint8)
    flags[4:, 4, 5] = DQ.SATURATED
    got = find(data, times, flags, jumps.JumpThresholds(neighbours=Neighbours(10.0, 200.0)))
    assert jumped(got[4, 4, 4])
    assert_array_equal(jumped(got[4, [3, 5, 4], [4, 4, 3]]), spreads)
    assert not jumped(got[4, 4, 5])
    assert not jumped(got[4, [3, 3, 5, 5], [3, 5, 3, 5]]).any()


def test_groups_after_bright_jumps():
    times = read_times(10)
    data = simulate(times, 20.0, (1, 3), 41)
    data[3:] += np.array([200.0, 1500.0, 30000.0])
    got = find(data, times, None, jumps.JumpThresholds(after=((1000.0, 2), (20000.0, 4)), neighbours=None))
    assert_array_equal(jumped(got).sum(axis=0), [[1, 3, 5]])
    assert jumped(got[3:8, 0, 2]).all()


def test_same_bytes_for_any_number_of_threads():
    times = read_times(10)
    read = np.random.default_rng(2).integers(0, 40, SHAPE)
    data = simulate(times, 20.0, SHAPE, 42, (read, np.full(SHAPE, 600.0)))
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = find(data, times, None, None)
    finally:
        numba.set_num_threads(before)
    assert one.tobytes() == find(data, times, None, None).tobytes()
    assert jumped(one).sum() > 5 * (read < 10).sum() / 2


def test_flags_in_place_are_the_same():
    times = read_times(6)
    read = np.random.default_rng(51).integers(1, 6, SHAPE)
    data = simulate(times, 20.0, SHAPE, 52, (read, np.full(SHAPE, 3000.0)))
    given = np.zeros(data.shape, np.uint8)
    copied = find(data, times, given, jumps.JumpThresholds())
    assert not given.any()
    assert find(data, times, given, jumps.JumpThresholds(), in_place=True) is given
    assert_array_equal(given, copied)
