"""Rates from groups that are left out elsewhere and have too much, in proportion to the charge in the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processors.ramps import firstgroups, gls, pedestals
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ

UNRELIABLE = np.uint32(DQ.UNRELIABLE_SLOPE)
DNU, SAT = np.uint8(DQ.DO_NOT_USE), np.uint8(DQ.SATURATED)
REFERENCE = np.uint32(DQ.REFERENCE_PIXEL)
NGROUP, SHAPE, PATTERN = 12, (80, 100), ReadPattern.regular(12, 1, 0, 2.0)
CONSTANT, SHARE, SPREAD, WELL, PEDESTAL = 30.0, 0.01, 0.3, 20000.0, 10000.0
NOISE = PixelNoise(np.ones(SHAPE, np.float32), np.full(SHAPE, 3 * np.sqrt(2), np.float32))


def shares():
    """What the first group has too much for each DN in the end, which scatters from pixel to pixel."""
    return SHARE * (1 + SPREAD * np.random.default_rng(10).standard_normal(SHAPE))


@pytest.fixture(scope="module")
def exposure():
    """Return true rates, which pixels keep their first groups, and data and flags."""
    rng = np.random.default_rng(8)
    rate = rng.uniform(5, 60, SHAPE)
    rate[::4, ::8] = 600
    rate[3::8, ::4] = 4000
    kept = rate == 4000
    steps = rng.normal(rate * 2.0, np.sqrt(rate * 2.0), (NGROUP, *SHAPE))
    data = np.minimum(np.cumsum(steps, axis=0), WELL)
    flags = np.where(data >= WELL, SAT, np.uint8(0))
    data += rng.normal(0, 3, data.shape)
    data[0] -= CONSTANT + shares() * data[-1]
    flags[0, ~kept] |= DNU
    return rate, kept, (data.astype(np.float32), flags)


@pytest.fixture(scope="module")
def slopes(exposure):
    return gls.fit_slopes(*exposure[2], PATTERN, NOISE)


def without(slopes, kept, ramps, pedestal=None):
    return firstgroups.without_excess(slopes, kept, ramps, PATTERN, NOISE, pedestal=pedestal)


def pulls(made, rate, kept):
    return ((made.slope - rate) / made.err)[kept]


def test_what_they_have_too_much_is_taken_off_and_what_is_uncertain_of_it_is_error(exposure, slopes):
    rate, kept, ramps = exposure
    made = without(slopes, kept, ramps)
    excess = (CONSTANT + SHARE * WELL) / 2.0
    assert (slopes.slope - rate)[kept].mean() == pytest.approx(excess, rel=0.25)
    assert abs((made.slope - rate)[kept].mean()) < 0.1 * excess
    assert pulls(made, rate, kept).std() == pytest.approx(1, abs=0.12)
    added = np.sqrt(np.square(made.err) - np.square(slopes.err))[kept]
    assert added == pytest.approx(np.full(added.size, SPREAD * SHARE * WELL / 2.0), rel=0.35)
    np.testing.assert_allclose(made.var_poisson + made.var_rnoise, np.square(made.err), rtol=1e-5)
    lighter = (made.shares / slopes.shares)[:, kept]
    np.testing.assert_allclose(lighter[0], lighter[1], rtol=1e-5)
    np.testing.assert_allclose(1 / lighter[0] - 1, np.square(added / slopes.err[kept]), rtol=0.15)


def test_where_it_does_not_scatter_hardly_anything_is_uncertain(exposure, slopes):
    rate, kept, (data, flags) = exposure
    same = data.copy()
    same[0] += (shares() - SHARE) * data[-1]
    found = gls.fit_slopes(same, flags, PATTERN, NOISE)
    made = without(found, kept, (same, flags))
    assert pulls(made, rate, kept).std() == pytest.approx(1, abs=0.12)
    assert np.median((made.err / found.err)[kept]) < 1.1
    assert np.median((without(slopes, kept, (data, flags)).err / slopes.err)[kept]) > 1.15


def test_how_far_the_brightest_are_off_the_line_counts_for_those_that_are_brighter(exposure):
    """What grows faster than the charge has no line, and where it leads to is not in the data."""
    rate, kept, (data, flags) = exposure
    bent = data.copy()
    bent[0] += (shares() - 2 * SHARE * data[-1] / WELL) * data[-1]
    bent[0] += np.where(kept, SHARE * WELL * np.random.default_rng(3).choice([-0.2, 0.2], SHAPE), 0)
    found = gls.fit_slopes(bent, flags, PATTERN, NOISE)
    made = without(found, kept, (bent, flags))
    assert abs(pulls(made, rate, kept).mean()) < 1.5
    assert not (made.err[kept] > 3 * found.err[kept]).any()


def test_what_the_groups_that_are_used_have_too_much_counts(exposure, slopes):
    """Their slopes have it in them, and it is seen where the ramps of bright pixels are not straight."""
    rate, kept, (data, flags) = exposure
    later = data.copy()
    later[1] -= SHARE * data[-1]
    found = gls.fit_slopes(later, flags, PATTERN, NOISE)
    made, usual = without(found, kept, (later, flags)), without(slopes, kept, (data, flags))
    assert (made.err[kept] > usual.err[kept]).all()
    assert np.abs(pulls(made, rate, kept)).mean() < 1.2


def test_all_other_pixels_stay(exposure, slopes):
    _, kept, ramps = exposure
    made = without(slopes, kept, ramps)
    for name in ("slope", "err", "var_poisson", "var_rnoise", "dq"):
        np.testing.assert_array_equal(getattr(made, name)[~kept], getattr(slopes, name)[~kept])
    assert without(slopes, np.zeros(SHAPE, bool), ramps) is slopes


def test_pixels_that_saturate_later_tell_best(exposure):
    """They were as full in the integration before; the straight line of the others leads somewhere else."""
    rate, kept, (data, flags) = exposure
    rng = np.random.default_rng(11)
    later = np.zeros(SHAPE, bool)
    later[1::8, ::4] = True
    rate = np.where(later, 1500, rate)
    data, flags = data.copy(), flags.copy()
    light = np.cumsum(rng.normal(3000, np.sqrt(3000), (NGROUP, *SHAPE)), axis=0)
    flags = np.where(later, np.where(light >= WELL, SAT, np.uint8(0)), flags)
    data = np.where(later, np.minimum(light, WELL) + rng.normal(0, 3, data.shape), data).astype(np.float32)
    data[0, later] -= CONSTANT + SHARE * WELL
    flags[0, later] |= DNU
    data[0, later | kept] -= SHARE * WELL
    found = gls.fit_slopes(data, flags, PATTERN, NOISE)
    made = without(found, kept, (data, flags))
    assert abs((made.slope - rate)[kept].mean()) < 0.1 * SHARE * WELL
    flags[:, later] |= DNU
    found = gls.fit_slopes(data, flags, PATTERN, NOISE)
    made = without(found, kept, (data, flags))
    assert (made.slope - rate)[kept].mean() > 0.4 * SHARE * WELL


def test_pixels_that_see_no_light_tell_nothing(exposure, slopes):
    _, kept, (data, flags) = exposure
    dark = np.zeros(SHAPE, bool)
    dark[:, :4] = True
    odd, dq = data.copy(), slopes.dq | np.where(dark, REFERENCE, np.uint32(0))
    odd[0, dark & ~kept] += 3000
    made = without(replace(slopes, dq=dq), kept & ~dark, (odd, flags))
    usual = without(replace(slopes, dq=dq), kept & ~dark, (data, flags))
    np.testing.assert_array_equal(made.slope, usual.slope)
    np.testing.assert_array_equal(made.err, usual.err)


def test_where_few_are_good_to_the_end_those_that_jump_or_saturate_later_tell_too(exposure, slopes):
    _, kept, (data, flags) = exposure
    hit = flags.copy()
    hit[5, ~kept] |= np.uint8(DQ.JUMP_DET)
    hit[9:, ~kept] |= SAT
    made = without(slopes, kept, (data, hit))
    usual = without(slopes, kept, (data, flags))
    np.testing.assert_allclose(made.slope[kept], usual.slope[kept], rtol=1e-6)
    assert not (made.dq & UNRELIABLE).any()


def test_those_that_jump_are_looked_for_only_where_they_are_needed(exposure, slopes, monkeypatch):
    def looked_for(_):
        raise AssertionError("they were not needed")

    monkeypatch.setattr(firstgroups._Telling, "everywhere", property(looked_for))
    assert not (without(slopes, *exposure[1:]).dq & UNRELIABLE).any()


def test_where_no_pixels_tell_the_rates_are_unreliable(exposure, slopes):
    _, kept, (data, flags) = exposure
    hit = flags.copy()
    hit[1, ~kept] |= np.uint8(DQ.JUMP_DET)  # of all differences, the one that would tell
    made = without(slopes, kept, (data, hit))
    for name in ("slope", "var_rnoise", "shares"):
        np.testing.assert_array_equal(getattr(made, name), getattr(slopes, name))
    for name in ("err", "var_poisson"):
        np.testing.assert_allclose(getattr(made, name), getattr(slopes, name), rtol=1e-6)
    assert (made.dq[kept] & UNRELIABLE).all()
    assert not ((made.dq ^ slopes.dq)[~kept]).any()
    assert not (slopes.dq & UNRELIABLE).any()


def test_49_pixels_are_too_few(exposure, slopes):
    _, kept, (data, flags) = exposure
    for few in (49, 50):
        lost = flags.copy()
        lost[0, np.flatnonzero(~kept)[few:] // SHAPE[1], np.flatnonzero(~kept)[few:] % SHAPE[1]] |= SAT
        made = without(slopes, kept, (data, lost))
        assert (made.dq[kept] & UNRELIABLE).any() == (few == 49)


@pytest.fixture(scope="module")
def brightest(exposure):
    """The same, with the pixels that keep their first groups so bright that a single one is left."""
    rate, kept, (data, flags) = exposure
    rng = np.random.default_rng(9)
    rate = np.where(kept, 8000, rate)
    data, flags = data.copy(), flags.copy()
    data[0, kept] = rng.poisson(16000, np.count_nonzero(kept)) + rng.normal(0, 3, np.count_nonzero(kept))
    data[0, kept] -= CONSTANT + shares()[kept] * WELL
    data[1:, kept] = WELL
    data += level()
    flags[1:, kept] |= SAT
    return rate, kept, (data, flags)


def level():
    """Return a pedestal that rises along the rows, and is another one in each of the four outputs."""
    return np.float32(PEDESTAL + 5 * np.arange(SHAPE[1]) + 50 * (np.arange(SHAPE[1]) % 4))


def test_the_pedestal_is_known_of_each_output_and_to_the_edges(brightest):
    _, kept, ramps = brightest
    found = gls.fit_slopes(*ramps, PATTERN, NOISE, suppress_one_group=False)
    begin = pedestals.pedestal(found, kept, ramps, PATTERN)
    np.testing.assert_allclose(begin, np.broadcast_to(level(), SHAPE), atol=10)


def test_a_single_first_group_is_treated_too(brightest):
    rate, kept, ramps = brightest
    found = gls.fit_slopes(*ramps, PATTERN, NOISE, suppress_one_group=False)
    assert (found.ndiff[kept] == 0).all()
    begin = pedestals.pedestal(found, kept, ramps, PATTERN)
    made = without(found, kept, ramps, begin)
    assert (found.slope - rate)[kept].mean() > 400
    assert abs((made.slope - rate)[kept].mean()) < 15
    # the pedestal makes no photon noise
    assert pulls(made, rate, kept).std() == pytest.approx(1, abs=0.12)
    np.testing.assert_allclose(made.var_poisson + made.var_rnoise, np.square(made.err), rtol=1e-5)
    np.testing.assert_array_equal(made.slope[~kept], found.slope[~kept])


def test_absurd_values_do_no_harm(exposure, slopes):
    _, kept, (data, flags) = exposure
    odd, where = data.copy(), np.flatnonzero(~kept.any(axis=1))[:3]
    odd[0, where, 5], odd[1, where, 5] = (3e38, -np.inf, np.nan), (-3e38, -np.inf, 0)
    made = without(slopes, kept, (odd, flags))
    usual = without(slopes, kept, (data, flags))
    np.testing.assert_allclose(made.slope[kept], usual.slope[kept], rtol=1e-3)
