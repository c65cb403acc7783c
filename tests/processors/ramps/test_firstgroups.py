"""Rates from groups that are left out elsewhere and have too much, in proportion to the charge in the end."""

from __future__ import annotations

import numpy as np
import pytest

from processors.ramps import firstgroups, gls, pedestals
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ

UNRELIABLE = np.uint32(DQ.UNRELIABLE_SLOPE)
DNU, SAT = np.uint8(DQ.DO_NOT_USE), np.uint8(DQ.SATURATED)
NGROUP, SHAPE, PATTERN = 12, (40, 50), ReadPattern.regular(12, 1, 0, 2.0)
CONSTANT, SHARE, WELL, PEDESTAL = 30.0, 0.01, 20000.0, 1000.0


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
    data[0] -= CONSTANT + SHARE * data[-1]
    flags[0, ~kept] |= DNU
    return rate, kept, (data.astype(np.float32), flags)


@pytest.fixture(scope="module")
def slopes(exposure):
    noise = PixelNoise(np.ones(SHAPE, np.float32), np.full(SHAPE, 3 * np.sqrt(2), np.float32))
    return gls.fit_slopes(*exposure[2], PATTERN, noise)


def test_what_they_have_too_much_is_taken_off_and_is_error(exposure, slopes):
    rate, kept, ramps = exposure
    made = firstgroups.without_excess(slopes, kept, ramps, PATTERN)
    excess = (CONSTANT + SHARE * WELL) / 2.0
    assert (slopes.slope - rate)[kept].mean() == pytest.approx(excess, rel=0.25)
    assert abs((made.slope - rate)[kept].mean()) < 0.25 * excess
    added = np.sqrt(np.square(made.err) - np.square(slopes.err))[kept]
    assert added == pytest.approx(np.full(added.size, excess), rel=0.1)
    np.testing.assert_allclose(made.var_poisson + made.var_rnoise, np.square(made.err), rtol=1e-5)
    lighter = np.square(slopes.err / made.err)[kept]
    np.testing.assert_allclose((made.shares / slopes.shares)[:, kept], [lighter, lighter], rtol=1e-5)


def test_all_other_pixels_stay(exposure, slopes):
    _, kept, ramps = exposure
    made = firstgroups.without_excess(slopes, kept, ramps, PATTERN)
    for name in ("slope", "err", "var_poisson", "var_rnoise", "dq"):
        np.testing.assert_array_equal(getattr(made, name)[~kept], getattr(slopes, name)[~kept])
    assert firstgroups.without_excess(slopes, np.zeros(SHAPE, bool), ramps, PATTERN) is slopes


def test_where_few_are_good_to_the_end_those_that_jump_or_saturate_later_tell_too(exposure, slopes):
    _, kept, (data, flags) = exposure
    hit = flags.copy()
    hit[5, ~kept] |= np.uint8(DQ.JUMP_DET)
    hit[9:, ~kept] |= SAT
    made = firstgroups.without_excess(slopes, kept, (data, hit), PATTERN)
    usual = firstgroups.without_excess(slopes, kept, (data, flags), PATTERN)
    np.testing.assert_allclose(made.slope[kept], usual.slope[kept], rtol=1e-6)
    assert not (made.dq & UNRELIABLE).any()


def test_where_no_pixels_tell_the_rates_are_unreliable(exposure, slopes):
    _, kept, (data, flags) = exposure
    hit = flags.copy()
    hit[1, ~kept] |= np.uint8(DQ.JUMP_DET)  # of all differences, the one that would tell
    made = firstgroups.without_excess(slopes, kept, (data, hit), PATTERN)
    for name in ("slope", "err", "var_poisson", "var_rnoise", "shares"):
        np.testing.assert_array_equal(getattr(made, name), getattr(slopes, name))
    assert (made.dq[kept] & UNRELIABLE).all()
    assert not ((made.dq ^ slopes.dq)[~kept]).any()
    assert not (slopes.dq & UNRELIABLE).any()


def test_49_pixels_are_too_few(exposure, slopes):
    _, kept, (data, flags) = exposure
    for few in (49, 50):
        lost = flags.copy()
        lost[0, np.flatnonzero(~kept)[few:] // SHAPE[1], np.flatnonzero(~kept)[few:] % SHAPE[1]] |= SAT
        made = firstgroups.without_excess(slopes, kept, (data, lost), PATTERN)
        assert (made.dq[kept] & UNRELIABLE).any() == (few == 49)


@pytest.fixture(scope="module")
def brightest(exposure):
    """The same, with the pixels that keep their first groups so bright that a single one is left."""
    rate, kept, (data, flags) = exposure
    rng = np.random.default_rng(9)
    rate = np.where(kept, 8000, rate)
    data, flags = data.copy(), flags.copy()
    data[0, kept] = rng.poisson(16000, np.count_nonzero(kept)) + rng.normal(0, 3, np.count_nonzero(kept))
    data[0, kept] -= CONSTANT + SHARE * WELL
    data[1:, kept] = WELL
    data += PEDESTAL + 5 * np.arange(SHAPE[1])
    flags[1:, kept] |= SAT
    return rate, kept, (data, flags)


def test_a_single_first_group_is_treated_too(brightest):
    rate, kept, ramps = brightest
    noise = PixelNoise(np.ones(SHAPE, np.float32), np.full(SHAPE, 3 * np.sqrt(2), np.float32))
    found = gls.fit_slopes(*ramps, PATTERN, noise, suppress_one_group=False)
    assert (found.ndiff[kept] == 0).all()
    begin = pedestals.pedestal(found, kept, ramps, PATTERN)
    true = PEDESTAL - CONSTANT + 5 * np.arange(SHAPE[1])
    np.testing.assert_allclose(begin, np.broadcast_to(true, SHAPE), atol=80)  # two parts, and their slopes
    made = firstgroups.without_excess(found, kept, ramps, PATTERN, begin)
    assert (found.slope - rate)[kept].mean() > 400
    assert abs((made.slope - rate)[kept].mean()) < 30
    added = np.sqrt(np.square(made.err) - np.square(found.err))[kept]
    assert added == pytest.approx(np.full(added.size, SHARE * WELL / 2.0), rel=0.3)
    np.testing.assert_array_equal(made.slope[~kept], found.slope[~kept])


def test_absurd_values_do_no_harm(exposure, slopes):
    _, kept, (data, flags) = exposure
    odd, where = data.copy(), np.flatnonzero(~kept.any(axis=1))[:3]
    odd[0, where, 5], odd[1, where, 5] = (3e38, -np.inf, np.nan), (-3e38, -np.inf, 0)
    made = firstgroups.without_excess(slopes, kept, (odd, flags), PATTERN)
    usual = firstgroups.without_excess(slopes, kept, (data, flags), PATTERN)
    np.testing.assert_allclose(made.slope[kept], usual.slope[kept], rtol=1e-3)
