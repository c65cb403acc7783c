"""Slopes by generalised least squares: against dense matrices, against truth, and on bad input."""

from itertools import pairwise

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from processors.ramps import gls
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ
from tests.processors.ramps.ramps import GAIN, READNOISE, planes, read_times, simulate

SHAPE = (256, 256)
PATTERNS = {
    "6": (6, 1, 0),
    "10": (10, 1, 0),
    "20": (20, 1, 0),
    "nframes 4, gap 1": (8, 4, 1),
    "MEDIUM8": (10, 8, 2),
}
UNEVEN = [[3.0], [6.0, 9.0, 12.0], [30.0, 33.0], [60.0], [63.0], [66.0, 69.0, 72.0, 75.0], [120.0]]


def fit(data, groupdq=None, times=None, **how):
    flags = np.zeros(data.shape, np.uint8) if groupdq is None else groupdq
    return gls.fit_slopes(
        data, flags, ReadPattern.of_groups(times), PixelNoise(*planes(data.shape[1:])), **how
    )


def dense_fit(values, flags, times):
    """GLS with the full covariance of all reads, from Poisson and read noise alone."""
    reads = np.concatenate(times)
    group = np.repeat(np.arange(len(times)), [len(t) for t in times])
    mean = np.array([(group == g) / np.sum(group == g) for g in range(len(times))])
    stop = next((g for g in range(len(times)) if flags[g] & 2), len(times))
    usable = [g for g in range(stop) if not flags[g] & 1 and np.isfinite(values[g])]
    pairs = [(a, b) for a, b in pairwise(usable) if not any(flags[a + 1 : b + 1] & 4)]
    difference = np.zeros((len(pairs), len(times)))
    for row, (a, b) in enumerate(pairs):
        difference[row, [a, b]] = -1, 1
    d = difference @ np.nan_to_num(values.astype(float))
    dt = difference @ mean @ reads
    project = difference @ mean
    poisson = project @ np.minimum.outer(reads, reads) @ project.T / GAIN
    read = project @ project.T * READNOISE**2 / 2
    rate = d.sum() / dt.sum()
    for _ in range(2):
        inverse = np.linalg.inv(max(rate, 0) * poisson + read)
        weight = inverse @ dt / (dt @ inverse @ dt)
        assumed, rate = max(rate, 0), weight @ d
    residual = d - rate * dt
    at_zero_flux = 1 / (dt @ np.linalg.inv(read) @ dt)
    return (
        rate,
        weight @ (assumed * poisson + read) @ weight - at_zero_flux,
        at_zero_flux,
        residual @ inverse @ residual,
        len(d),
    )


def test_read_noise_variance_knows_nothing_of_the_counts():
    """Weights made of it must not favour the faint samples of a source."""
    times = read_times(8)
    dark, bright = (np.full((8, 4, 4), 10.0, np.float32).cumsum(axis=0) * scale for scale in (0.01, 100))
    flags = np.zeros(dark.shape, np.uint8)
    flags[4, 0, 0] = 4
    flags[6:, 1, 1] = 2
    faint, strong = (fit(ramp.astype(np.float32), flags, times) for ramp in (dark, bright))
    assert_array_equal(faint.var_rnoise, strong.var_rnoise)
    assert len(np.unique(faint.var_rnoise)) > 2
    assert np.all(strong.var_poisson > 100 * faint.var_poisson)


@pytest.mark.parametrize(
    "times", [read_times(10), read_times(8, 4, 1), UNEVEN], ids=["10", "grouped", "uneven"]
)
def test_equals_dense_matrix(times):
    rng = np.random.default_rng(5)
    rate = 10 ** rng.uniform(-1, 3, (16, 70))
    data = simulate(times, rate, rate.shape, 6)
    flags = rng.choice(np.array([0, 0, 0, 0, 0, 0, 1, 4, 5, 32], np.uint8), data.shape)
    flags[4:, ::3] |= 2
    data[2, ::5, ::3] = np.nan
    got = fit(data, flags, times)
    compared = 0
    for y, x in np.ndindex(rate.shape):
        if got.ndiff[y, x] == 0:
            assert np.isnan(got.slope[y, x])
            assert got.dq[y, x] & DQ.DO_NOT_USE
            continue
        want = dense_fit(data[:, y, x], flags[:, y, x], times)
        have = [plane[y, x] for plane in (got.slope, got.var_poisson, got.var_rnoise, got.chi2, got.ndiff)]
        assert_allclose(have, want, rtol=2e-6, atol=1e-9 + 1e-6 * got.err[y, x], err_msg=f"pixel {y}, {x}")
        assert_allclose(got.err[y, x] ** 2, have[1] + have[2], rtol=1e-6)
        compared += 1
    assert compared > 800


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
@pytest.mark.parametrize("rate", [0.5, 5.0, 100.0, 1000.0])
def test_errors_are_right(pattern, rate):
    times = read_times(*pattern)
    got = fit(simulate(times, rate, SHAPE, 11), times=times)
    pull = (got.slope * GAIN - rate) / (got.err * GAIN)
    assert abs(pull.std() - 1) < 0.02
    assert abs(got.chi2.mean() / got.ndof.mean() - 1) < 5 * np.sqrt(2 / got.ndof.mean() / got.slope.size)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
@pytest.mark.parametrize("rate", [2.0, 20.0, 300.0, 5000.0])
def test_unbiased(pattern, rate):
    """Less than 0.1 % of bias, within three standard errors."""
    times = read_times(*pattern)
    slope = fit(simulate(times, rate, SHAPE, 12), times=times).slope.astype(float) * GAIN
    standard_error = slope.std() / np.sqrt(slope.size)
    assert abs(slope.mean() - rate) < 1e-3 * rate + 3 * standard_error
    assert standard_error < 2e-3 * rate


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
def test_zero_flux_averages_to_zero(pattern):
    times = read_times(*pattern)
    slope = fit(simulate(times, 0.0, SHAPE, 13), times=times).slope.astype(float)
    assert abs(slope.mean()) < 3 * slope.std() / np.sqrt(slope.size)


def test_bridges_an_unusable_group():
    """A group left out costs its information, not both of its differences."""
    data = simulate(read_times(8), 50.0, SHAPE, 14)
    flags = np.zeros(data.shape, np.uint8)
    flags[3] = DQ.DO_NOT_USE
    data[3] += 1e4
    got = fit(data, flags, read_times(8))
    assert (got.ndiff == 6).all()
    pull = (got.slope * GAIN - 50) / (got.err * GAIN)
    assert abs(pull.std() - 1) < 0.02
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)


def test_flags_become_pixel_flags():
    data = simulate(read_times(5), 10.0, (1, 6), 15)
    flags = np.zeros(data.shape, np.uint8)
    flags[3:, 0, 1] = DQ.SATURATED
    flags[2, 0, 2] = DQ.JUMP_DET
    flags[:, 0, 3] = DQ.SATURATED
    flags[:, 0, 4] = DQ.DO_NOT_USE
    pixeldq = np.array([[0, 0, DQ.HOT, 0, 0, DQ.DO_NOT_USE]], np.uint32)
    got = fit(data, flags, read_times(5), pixeldq=pixeldq)
    expected = [
        0,
        DQ.SATURATED,
        DQ.HOT | DQ.JUMP_DET,
        DQ.SATURATED | DQ.DO_NOT_USE,
        DQ.DO_NOT_USE,
        DQ.DO_NOT_USE,
    ]
    assert_array_equal(got.dq[0], np.array(expected, np.uint32))
    assert_array_equal(got.ndiff[0], [4, 2, 3, 0, 0, 0])
    assert_array_equal(np.isnan(got.err[0]), [False] * 3 + [True] * 3)
    assert pixeldq[0, 1] == 0  # the input's flags stay


@pytest.mark.parametrize("suppress", [True, False])
def test_single_group(suppress):
    """Only the first group good: suppressed, or its charge over its time."""
    times = read_times(4, 4, 1)
    data = simulate(times, 400.0, SHAPE, 16)
    flags = np.zeros(data.shape, np.uint8)
    flags[1:] = DQ.SATURATED
    got = fit(data, flags, times, suppress_one_group=suppress)
    if suppress:
        assert np.isnan(got.slope).all()
        assert (got.dq == DQ.SATURATED | DQ.DO_NOT_USE).all()
        return
    assert abs(got.slope.mean() * GAIN - 400) < 4 * got.slope.std() * GAIN / 256
    assert abs(np.std(got.slope) / got.err.mean() - 1) < 0.02
    assert_allclose(got.err**2, got.var_poisson + got.var_rnoise, rtol=1e-5)
    assert (got.dq == DQ.SATURATED).all()


def test_one_group_exposure_is_always_fitted():
    times = read_times(1)
    got = fit(simulate(times, 4.0, SHAPE, 17), times=times)
    assert np.isfinite(got.slope).all()
    assert abs(np.std(got.slope) / got.err.mean() - 1) < 0.02
    assert not got.dq.any()


def test_dark_rate_adds_noise_only():
    times = read_times(10)
    data = (
        simulate(times, 30.0, SHAPE, 18)
        - (10.0 / GAIN * np.array([t[0] for t in times], np.float32))[:, None, None]
    )
    gain, readnoise = planes(SHAPE)
    noise = PixelNoise(gain, readnoise, np.full(SHAPE, 10.0 / GAIN, np.float32))
    got = gls.fit_slopes(data, np.zeros(data.shape, np.uint8), ReadPattern.of_groups(times), noise)
    pull = (got.slope * GAIN - 20) / (got.err * GAIN)
    assert abs(pull.std() - 1) < 0.02


def test_bad_values_give_flags_not_crashes():
    data = simulate(read_times(6), 20.0, (1, 8), 19)
    gain, readnoise = planes((1, 8))
    gain[0, :3] = 0, -1, np.nan
    readnoise[0, 3:6] = 0, -4, np.nan
    data[:, 0, 6] = np.nan
    data[2:4, 0, 7] = np.inf, -np.inf
    got = gls.fit_slopes(
        data,
        np.zeros(data.shape, np.uint8),
        ReadPattern.of_groups(read_times(6)),
        PixelNoise(gain, readnoise),
    )
    assert np.isnan(got.slope[0, :7]).all()
    assert (got.dq[0, :7] & DQ.DO_NOT_USE).all()
    assert_array_equal((got.dq[0] & DQ.NO_GAIN_VALUE) != 0, [True] * 3 + [False] * 5)
    assert abs(got.slope[0, 7] * GAIN - 20) < 5 * got.err[0, 7] * GAIN
    assert got.ndiff[0, 7] == 3
    assert got.dq[0, 7] == 0


def test_shapes_must_agree():
    data, flags = np.zeros((5, 4, 4), np.float32), np.zeros((5, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="5 groups, the read pattern 6"):
        fit(data, flags, read_times(6))
    with pytest.raises(ValueError, match="groupdq"):
        fit(data, flags[:4], read_times(5))
    with pytest.raises(ValueError, match="gain has shape"):
        gls.fit_slopes(data, flags, ReadPattern.of_groups(read_times(5)), PixelNoise(*planes((3, 4))))


@pytest.mark.parametrize("times", [[], [[1.0], []], [[1.0], [1.0]], [[0.0], [1.0]], [[1.0], [np.nan]]])
def test_read_patterns_must_make_sense(times):
    with pytest.raises(ValueError, match="read"):
        ReadPattern.of_groups(times)


def test_regular_pattern_is_jwsts():
    pattern = ReadPattern.regular(3, 4, 1, 10.0, drop_frames1=2)
    assert pattern.read_times[0] == (30.0, 40.0, 50.0, 60.0)
    assert pattern.read_times[2][0] == 130.0


def test_same_bytes_for_any_number_of_threads_and_rows():
    times = read_times(10)
    data = simulate(times, 20.0, (96, 130), 20)
    flags = np.random.default_rng(1).choice(np.array([0] * 20 + [1, 2, 4], np.uint8), data.shape)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = fit(data, flags, times)
    finally:
        numba.set_num_threads(before)
    many = fit(data, flags, times)
    part = fit(data[:, 40:60], flags[:, 40:60], times)
    for name in ("slope", "err", "var_poisson", "var_rnoise", "chi2", "ndiff", "dq"):
        a, b, c = (getattr(result, name) for result in (one, many, part))
        assert a.tobytes() == b.tobytes()
        assert c.tobytes() == a[40:60].tobytes()
