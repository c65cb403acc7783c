"""The probability of chi-squared, which ramps it condemns, and what the diagnostics say of them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2 as chi_squared

from processors.ramps import diagnostics, gls, goodness, jumps
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ
from tests.processors.ramps.ramps import FRAME, GAIN, READNOISE, planes, read_times, simulate

SHAPE = (1000, 500)


def fit(data, times, flags=None):
    flags = np.zeros(data.shape, np.uint8) if flags is None else flags
    pattern, noise = ReadPattern.of_groups(times), PixelNoise(*planes(data.shape[1:]))
    return gls.fit_slopes(data, flags, pattern, noise)


@pytest.mark.parametrize("ndof", [1, 2, 3, 4, 7, 8, 60, 61, 900, 1301, 5000])
def test_the_probability_is_scipys(ndof):
    chi2 = np.concatenate([np.linspace(0, 2 * ndof + 150, 3000), [1e5, 3e38]]).astype(np.float32)[None]
    got = goodness.probability(chi2, np.full(chi2.shape, ndof, np.int32))
    want = chi_squared.sf(chi2.astype(float), ndof)
    assert_allclose(got, want, rtol=1e-6, atol=1e-37)


def test_every_pixel_has_its_own_degrees_of_freedom():
    rng = np.random.default_rng(1)
    ndof = rng.integers(0, 30, (40, 50)).astype(np.int16)
    chi2 = (10 ** rng.uniform(-3, 3, ndof.shape)).astype(np.float32)
    chi2[3, 3], chi2[4, 4] = np.nan, np.inf
    got, tested = goodness.probability(chi2, ndof), (ndof > 0) & np.isfinite(chi2)
    assert_allclose(got[tested], chi_squared.sf(chi2.astype(float), ndof)[tested], rtol=1e-6, atol=1e-37)
    assert np.isnan(got[(ndof == 0) | np.isnan(chi2)]).all()
    assert got[4, 4] == 0 or ndof[4, 4] == 0


def test_nothing_to_judge():
    nothing = goodness.probability(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.int32))
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("rate", [0.0, 1.0, 100.0, 3000.0])
@pytest.mark.parametrize("pattern", [(4, 1, 0), (10, 1, 0), (8, 4, 1)])
@pytest.mark.parametrize("searched", [False, True])
def test_clean_ramps_fail_at_most_at_the_threshold(pattern, rate, searched):
    """At a threshold that half a million ramps can measure, and at the default; jumps taken out or not."""
    times = read_times(*pattern)
    data = simulate(times, rate, SHAPE, 71)
    flags = np.zeros(data.shape, np.uint8)
    if searched:
        how = ReadPattern.of_groups(times), PixelNoise(*planes(SHAPE))
        flags = jumps.find_jumps(data, flags, *how)
    slopes = fit(data, times, flags)
    for threshold in (1e-2, 1e-3, 1e-5):
        expected = threshold * slopes.slope.size
        poor = (goodness.judged(slopes, threshold).probability < np.float32(threshold)).sum()
        assert poor < expected + 3.5 * np.sqrt(expected)
    assert (slopes.dq & DQ.UNRELIABLE_SLOPE != 0).mean() == pytest.approx(1e-2, rel=0.15)


def bent(rate=200.0):
    """A ramp whose rate halves in its middle: persistence, or a non-linearity that was not corrected."""
    times = read_times(10)
    data = simulate(times, rate, (64, 64), 72)
    late = np.arange(10)[:, None, None] - 5
    return times, (data - np.where(late > 0, late * rate / 2 * FRAME / GAIN, 0)).astype(np.float32)


def test_ramps_that_no_line_fits_are_flagged():
    times, data = bent()
    judged = goodness.judged(fit(data, times), 1e-5)
    assert (judged.dq & DQ.UNRELIABLE_SLOPE != 0).mean() > 0.99
    assert (judged.dq & DQ.DO_NOT_USE == 0).all()


def test_no_threshold_flags_nothing():
    times, data = bent()
    assert not goodness.judged(fit(data, times), 0.0).dq.any()


def test_diagnostics_tell_offset_and_worst_difference():
    times = read_times(8)
    data = simulate(times, 50.0, (96, 96), 73) + np.float32(700.0)
    step = 12 * np.hypot(READNOISE, np.sqrt(50 * FRAME) / GAIN)
    data[5:, :48] += np.float32(step)
    flags = np.zeros(data.shape, np.uint8)
    flags[2, :, 90:] = DQ.DO_NOT_USE
    flags[1:, :, :2] = DQ.SATURATED
    slopes = fit(data, times, flags)
    how = ReadPattern.of_groups(times), PixelNoise(*planes((96, 96)))
    got = diagnostics.diagnose(data, flags, *how, slopes)
    none = np.isnan(slopes.slope)
    assert_array_equal(none.any(axis=0), np.arange(96) < 2)
    assert_array_equal(np.isnan(got.pedestal), none)
    assert_array_equal(got.ndiff[0, [0, 10, 95]], [0, 7, 6])
    clean = got.pedestal[48:, 2:].astype(float)
    assert abs(clean.mean() - 700) < 4 * clean.std() / np.sqrt(clean.size)
    assert (got.worst_group[:48, 2:] == 6).mean() > 0.99
    assert np.median(got.worst[:48, 2:]) == pytest.approx(12, rel=0.15)
    assert np.abs(got.worst[48:, 2:]).max() < 6
    assert not got.worst_group[:, :2].any()


def test_the_worst_difference_is_the_one_whose_removal_lowers_chi_squared_most():
    times = read_times(7, 4, 1)
    data = simulate(times, 20.0, (12, 12), 74)
    flags, slopes = np.zeros(data.shape, np.uint8), fit(data, times)
    got = diagnostics.diagnose(
        data, flags, ReadPattern.of_groups(times), PixelNoise(*planes((12, 12))), slopes
    )
    lowered = []
    for group in range(1, 7):
        without = flags.copy()
        without[group] = DQ.JUMP_DET
        lowered.append(slopes.chi2 - fit(data, times, without).chi2)
    largest = np.max(lowered, axis=0)
    # the covariance's rate is fitted anew each time, so the two agree as far as that changes nothing
    close = np.abs(got.worst**2 - largest) < 0.1 * largest + 0.05
    assert close.mean() > 0.9
    assert (got.worst_group == np.argmax(lowered, axis=0) + 2)[close].mean() > 0.95
