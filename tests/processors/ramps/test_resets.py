"""The noise of the reset is measured in the pixels that have more than one group."""

from __future__ import annotations

import numpy as np
import pytest

from processors.ramp_fit import ramp_fit
from processors.ramps import gls, resets, singles
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ
from tests.processors.detector1.build import everything, make_ramp
from tests.processors.ramps.ramps import read_times, simulate

SHAPE, GAIN, READ = (120, 130), 2.0, 6.0
NOISE = PixelNoise(np.full(SHAPE, GAIN, np.float32), np.full(SHAPE, READ, np.float32))
SAT = np.uint8(DQ.SATURATED)


def ramps(scatter, ngroup=5, rate=3.0, offset=0.0, seed=1):
    """Return data (ngroup, ny, nx) of faint ramps that begin at levels with some scatter, and the pattern."""
    rng = np.random.default_rng(seed)
    steps = rng.poisson(rate * GAIN * 10, (ngroup, *SHAPE)) / GAIN
    data = np.cumsum(steps, axis=0) + rng.normal(offset, scatter, SHAPE)
    data += rng.normal(0, READ / np.sqrt(2), data.shape)
    return data.astype(np.float32), ReadPattern.regular(ngroup, 1, 0, 10.0)


@pytest.mark.parametrize("ngroup", [2, 3, 10])
@pytest.mark.parametrize("scatter", [0.0, 10.0, 30.0])
def test_it_is_what_levels_scatter_by_beyond_read_and_photon_noise(scatter, ngroup):
    data, pattern = ramps(scatter, ngroup)
    flags = np.zeros(data.shape, np.uint8)
    found = gls.fit_slopes(data, flags, pattern, NOISE)
    variance = resets.reset_variance(found, (data, flags), pattern, NOISE)
    assert np.sqrt(variance) == pytest.approx(scatter, abs=0.05 * scatter + 2.0)


def test_a_common_level_counts_unless_a_pedestal_is_known():
    data, pattern = ramps(10.0, offset=50.0)
    flags = np.zeros(data.shape, np.uint8)
    found = gls.fit_slopes(data, flags, pattern, NOISE)
    apart, about = (
        np.sqrt(resets.reset_variance(found, (data, flags), pattern, NOISE, pedestal=p))
        for p in (np.full(SHAPE, 50.0), None)
    )
    assert apart == pytest.approx(10, rel=0.1)
    assert about > 50


def test_stars_hits_and_flagged_pixels_do_not_matter():
    data, pattern = ramps(10.0)
    flags = np.zeros(data.shape, np.uint8)
    data[:, ::7] += np.float32(3000) * np.arange(1, 6, dtype=np.float32)[:, None, None] ** 1.5
    data[1:, 3::11] += 500  # hits that nobody found
    data[:, :, ::5] = 1e5
    flags[2:, :, ::5] = SAT
    found = gls.fit_slopes(data, flags, pattern, NOISE)
    assert np.sqrt(resets.reset_variance(found, (data, flags), pattern, NOISE)) == pytest.approx(10, rel=0.15)


def test_errors_of_single_groups_are_right():
    data, pattern = ramps(20.0)
    flags = np.zeros(data.shape, np.uint8)
    flags[1:, :, ::3] = SAT
    header = {"NINTS": 2}
    given = make_ramp(np.stack([data, data]), np.stack([flags, flags]), **header)
    rate = ramp_fit(given, everything(SHAPE, gain=GAIN, readnoise=READ))
    single = (rate.dq & np.uint32(DQ.FLUX_ESTIMATED)) != 0
    assert single[..., ::3].all()
    assert not single[..., 1::3].any()
    pull = ((rate.data - 3.0) / rate.err)[0]
    assert pull[:, ::3].std() == pytest.approx(1, abs=0.05)
    assert abs(pull[:, ::3].mean()) < 0.05
    np.testing.assert_allclose(rate.err**2, rate.var_poisson + rate.var_rnoise, rtol=1e-5)
    # in an average it counts as much as it knows where read noise, and with it that of the reset, dominates
    ratio = rate.shares[0] / gls.fit_slopes(data, flags, pattern, NOISE, suppress_one_group=False).shares
    expected = 0.5 * READ**2 / (0.5 * READ**2 + 20.0**2)
    np.testing.assert_allclose(ratio[0][:, ::3], expected, rtol=0.1)
    np.testing.assert_allclose(ratio[1][:, ::3], 1, rtol=1e-6)


@pytest.mark.parametrize("nframes", [1, 8])
@pytest.mark.parametrize("scatter", [0.0, 10.0, 30.0])
def test_of_one_group_it_is_what_faint_pixels_differ_from_neighbours_by(scatter, nframes):
    """Whatever smooth light, stars, hits and bad pixels there are."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rate = 3.0 + 0.02 * y + 0.05 * x
    rate[::9, ::11] += 500
    rate[40:60, 40:60] += 50
    data = rng.poisson(rate * GAIN * 10 * np.ones((nframes, *SHAPE))).cumsum(axis=0) / GAIN
    data = (data + rng.normal(0, READ / np.sqrt(2), data.shape)).mean(axis=0)
    data += rng.normal(0, scatter, SHAPE)
    flags = np.zeros((1, 1, *SHAPE), np.uint8)
    flags[0, 0, 3::20] = SAT
    data[3::20] = 1e5
    header = {"NFRAMES": nframes, "NINTS": 2}
    given = make_ramp(np.stack([data[None]] * 2), np.concatenate([flags, flags]), **header)
    given.pixeldq[5, ::2], data[5, ::2] = np.uint32(DQ.HOT), 3000
    found = ramp_fit(given, everything(SHAPE, gain=GAIN, readnoise=READ))
    rated = np.isfinite(found.data)
    assert not rated[0, 3::20].any()
    assert (((found.dq & np.uint32(DQ.FLUX_ESTIMATED)) != 0) == rated).all()
    pull = ((found.data - rate) / found.err)[0][rated[0] & (found.dq[0] == DQ.FLUX_ESTIMATED)]
    assert pull.std() == pytest.approx(1, abs=0.06)
    np.testing.assert_allclose(found.err**2, found.var_poisson + found.var_rnoise, rtol=1e-5)


def test_of_one_group_and_few_pixels_only_the_flag_is_new():
    for shape in ((1, 1), (2, 40), (8, 9)):
        given = make_ramp(np.random.default_rng(1).normal(1000, 100, (1, 1, *shape)))
        found = ramp_fit(given, everything(shape, gain=GAIN, readnoise=READ))
        np.testing.assert_allclose(found.var_rnoise, 0.5 * READ**2 / 10.0**2, rtol=1e-5)
        assert (found.dq == DQ.FLUX_ESTIMATED).all()


def test_where_too_few_pixels_tell_nothing_is_added():
    data, pattern = ramps(20.0)
    flags = np.zeros(data.shape, np.uint8)
    flags[1:, 1:] = SAT
    flags[1:, 0, 40:] = SAT
    found = gls.fit_slopes(data, flags, pattern, NOISE, suppress_one_group=False)
    before = found.err.copy()
    made = resets.estimated(found, [(singles.single_groups(found), 10.0)], (data, flags), pattern, NOISE)
    np.testing.assert_array_equal(made.err, before)
    assert (made.dq[1:] & np.uint32(DQ.FLUX_ESTIMATED)).all()


def test_averaged_groups_have_less_read_noise():
    times = read_times(4, 4, 1)
    pattern = ReadPattern.of_groups(times)
    data = simulate(times, np.full(SHAPE, 2.0), SHAPE, 3).astype(np.float32)
    flags = np.zeros(data.shape, np.uint8)
    found = gls.fit_slopes(data, flags, pattern, NOISE)
    assert np.sqrt(resets.reset_variance(found, (data, flags), pattern, NOISE)) < 2.0
