"""The exposure's rate from its integrations."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from processors.ramps import combine, gls, ols
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ
from tests.processors.ramps.ramps import FRAME, GAIN, planes, read_times, simulate

SHAPE = (256, 256)
TIMES = read_times(10)
PATTERN = ReadPattern.of_groups(TIMES)
NOISE = PixelNoise(*planes(SHAPE))


def integration(rate, seed, flags=None):
    data = simulate(TIMES, rate, SHAPE, seed)
    groupdq = np.zeros(data.shape, np.uint8)
    for group, flag in (flags or {}).items():
        groupdq[group] = flag
    return gls.fit_slopes(data, groupdq, PATTERN, NOISE)


def combined(slopes):
    total = combine.GlsRate(PATTERN, NOISE)
    for one in slopes:
        total.add(one)
    return total.result()


@pytest.mark.parametrize("rate", [0.5, 2.0, 20.0, 1000.0])
@pytest.mark.parametrize("flags", [None, {5: 4}, {4: 2, 5: 2, 6: 2, 7: 2, 8: 2, 9: 2}, {3: 1, 8: 4}])
def test_unbiased_and_errors_right(rate, flags):
    """Whole ramps together with a broken or shortened one."""
    got = combined([integration(rate, 51), integration(rate, 52, flags), integration(rate, 53)])
    residual = got.slope.astype(float) * GAIN - rate
    assert abs(residual.mean()) < 1e-3 * rate + 3 * residual.std() / 256
    assert abs(np.std(residual / (got.err * GAIN)) - 1) < 0.02


def test_weights_are_efficient():
    """An integration broken in the middle at low flux adds a quarter of its information, harms nothing."""
    whole, broken = integration(0.5, 54), integration(0.5, 55, {5: 4})
    best = 1 / (1 / whole.slope.var() + 1 / broken.slope.var())
    assert combined([whole, broken]).slope.var() < 1.05 * best


def test_missing_integrations_and_flags():
    whole, empty = integration(20.0, 56), integration(20.0, 57, {0: 2})
    got = combined([whole, empty])
    assert_allclose(got.slope, whole.slope, rtol=1e-6)
    assert_allclose(got.err, whole.err, rtol=1e-6)
    assert (got.dq == DQ.SATURATED).all()
    nothing = combined([empty, empty])
    assert np.isnan(nothing.slope).all()
    assert np.isnan(nothing.err).all()
    assert (nothing.dq == DQ.SATURATED | DQ.DO_NOT_USE).all()
    assert not nothing.ndiff.any()


def test_ols_weights_by_read_noise():
    timing = ols.Timing(FRAME, FRAME, 1)
    total, slopes = combine.OlsRate(SHAPE), []
    for seed, end in ((58, 10), (59, 6)):
        data = simulate(TIMES, 20.0, SHAPE, seed)
        flags = np.zeros(data.shape, np.uint8)
        flags[end:] = DQ.SATURATED
        slopes.append(ols.fit_slopes(data, flags, timing, NOISE))
        total.add(slopes[-1])
    got = total.result()
    weights = [n**3 - n for n in (10, 6)]
    assert_allclose(got.slope, np.average([s.slope for s in slopes], axis=0, weights=weights), rtol=1e-5)
    assert_allclose(got.var_rnoise, 1 / sum(1 / s.var_rnoise.astype(float) for s in slopes), rtol=1e-6)
    assert abs(got.slope.mean() * GAIN - 20) < 4 * got.slope.std() * GAIN / 256
