"""Limits, levels, surfaces and medians of lines, against astropy, photutils and numpy."""

import numpy as np
import pytest
from astropy.stats import SigmaClip, sigma_clipped_stats
from photutils.background import Background2D, MedianBackground
from scipy.signal import savgol_filter

from processors.flicker.background import box_for, smooth_background
from processors.flicker.cleaning import _slow
from processors.flicker.clipping import background_limits, clipped_median, lower_half_limits, middle
from processors.flicker.differences import Background, Differences, residual, sample
from processors.flicker.selection import median_of, order
from processors.flicker.stripes import Lines
from schemas.dq import DQ


def field(shape=(96, 128), seed=1):
    """An image with noise of 5 around 3, sources and bad values, and which of its pixels count."""
    rng = np.random.default_rng(seed)
    image = rng.normal(3, 5, shape).astype(np.float32)
    image[rng.random(shape) < 0.05] += 300
    image[rng.random(shape) < 0.002] -= 10000
    return image, rng.random(shape) < 0.9


def test_limits_are_those_of_astropy():
    image, usable = field()
    _, centre, width = sigma_clipped_stats(image.astype(float), mask=~usable, sigma=3)
    found = background_limits(sample(image, usable), (3.0, 2.0))
    assert (found.low, found.high) == pytest.approx((centre - 3 * width, centre + 2 * width))


def test_diffuse_light_does_not_widen_the_lower_half():
    image, usable = field()
    light = np.random.default_rng(2).random(image.shape) < 0.3
    image[light] += 12
    values = sample(image, usable)
    lower, both = lower_half_limits(values, (2.0, 2.0)), background_limits(values, (2.0, 2.0))
    assert lower.high - lower.low < 0.93 * (both.high - both.low)


def test_limits_of_the_lower_half_are_those_of_the_mirrored_values():
    image, usable = field()
    _, centre, _ = sigma_clipped_stats(image.astype(float), mask=~usable, sigma=3)
    below = image[usable & (image <= centre)].astype(float)
    _, middle_, width = sigma_clipped_stats(np.concatenate([below, 2 * centre - below]), sigma=3)
    found = lower_half_limits(sample(image, usable), (2.0, 2.0))
    assert (found.low, found.high) == pytest.approx((middle_ - 2 * width, middle_ + 2 * width))


def test_a_fitted_gaussian_gives_the_true_limits():
    found = background_limits(sample(*field((512, 512))), (3.0, 2.0), fit=True)
    assert (found.low, found.high) == pytest.approx((3 - 15, 3 + 10), abs=0.3)


def test_nothing_usable_has_no_width():
    image, usable = field()
    values = sample(image, usable & False)
    assert background_limits(values, (3.0, 2.0)) == lower_half_limits(values, (3.0, 2.0))
    assert middle(values) == 0


def test_samples_of_large_images_give_the_same_limits():
    image, usable = field((2048, 2048))
    few, every = sample(image, usable), np.sort(image[usable])
    assert few.size < every.size / 10
    found, exact = background_limits(few, (3.0, 2.0)), background_limits(every, (3.0, 2.0))
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.05)


@pytest.mark.parametrize("shape", [(96, 256), (100, 70)])
def test_surfaces_are_those_of_photutils(shape):
    rng = np.random.default_rng(8)
    image = (rng.normal(3, 5, shape) + np.linspace(0, 30, shape[1])).astype(np.float32)
    usable = rng.random(shape) < 0.97
    usable[:30, :40] = False
    box = box_for(shape)
    theirs = Background2D(
        image, box, mask=~usable, filter_size=5, sigma_clip=SigmaClip(3, maxiters=5),
        bkg_estimator=MedianBackground(), exclude_percentile=10,
    ).background  # fmt: skip
    assert theirs.std() > 2
    assert smooth_background(image, usable, box) == pytest.approx(theirs, abs=1e-4)


def test_a_surface_without_any_box_is_the_median():
    image, usable = field()
    usable[:, ::2] = False
    assert np.unique(smooth_background(image, usable, (32, 32))) == [np.float32(np.median(image[usable]))]


@pytest.mark.parametrize("along", [0, 1])
@pytest.mark.parametrize("channel", [0, 24])
def test_medians_of_lines_are_those_of_numpy(along, channel):
    image, usable = field()
    usable[7], usable[:, 9] = False, False
    lines = Lines(along, channel)
    found = np.zeros((1, *image.shape), np.float32)
    lines.subtract(-lines.medians(image, usable)[np.newaxis], found)
    length = image.shape[along]
    expected = np.zeros(image.shape)
    for first in range(0, length, channel or length):
        part = [slice(None)] * 2
        part[along] = slice(first, first + (channel or length))
        seen = np.ma.masked_array(image, ~usable)[tuple(part)]
        expected[tuple(part)] = np.ma.median(seen, axis=along, keepdims=True).filled(0)
    assert found[0] == pytest.approx(expected, abs=1e-6)


def test_differences_leave_out_what_is_flagged_or_not_finite():
    before, now = np.full((4, 6), 10, np.float32), np.full((4, 6), 14, np.float32)
    flags = np.zeros((4, 6), np.uint8)
    flags[0, 0], flags[0, 1], flags[0, 2] = DQ.JUMP_DET, DQ.DO_NOT_USE, DQ.SATURATED
    now[1, 1] = np.nan
    mask = np.ones((4, 6), bool)
    mask[2, 2] = False
    flat = np.full((4, 6), 2, np.float32)
    differences = Differences(before[np.newaxis], now[np.newaxis], flags[np.newaxis], mask, flat)
    image, usable = residual(differences, 0, Background.none(1))
    out = [(0, 0), (0, 1), (1, 1), (2, 2)]
    assert sorted(map(tuple, np.argwhere(~usable))) == out
    assert (image == np.where(usable, 2, 0)).all()


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1024, 2047])
@pytest.mark.parametrize("outlier", [0.0, 1e30, -3e38])
def test_medians_and_order_are_exact_whatever_lies_among_the_values(n, outlier):
    rng = np.random.default_rng(n)
    for values in (rng.normal(3, 5, n), rng.integers(0, 2, n), np.full(n, 2.0)):
        given = values.astype(np.float32)
        given[: n // 300] = outlier
        assert median_of(given.copy(), n) == (np.median(given.astype(float)) if n else 0)
        ordered = given.copy()
        order(ordered)
        assert (ordered == np.sort(given)).all()


def test_clipped_medians_are_those_of_astropy():
    image, usable = field()
    for row, seen in zip(image, usable, strict=True):
        values = row[seen]
        kept = SigmaClip(3, maxiters=5)(values.astype(float), masked=False)
        assert clipped_median(values.copy(), values.size) == (np.median(kept), kept.size)


@pytest.mark.parametrize(("nline", "scale", "window"), [(200, 64, 65), (64, 64, 63), (9, 64, 9)])
def test_slow_variations_are_those_of_scipy(nline, scale, window):
    values = np.random.default_rng(5).normal(0, 4, (3, nline, 2)).cumsum(axis=1)
    expected = savgol_filter(values, window, 2, axis=1, mode="interp")
    assert _slow(values, scale) == pytest.approx(expected, abs=1e-9)
    assert _slow(values, 2) == pytest.approx(values.mean(axis=1, keepdims=True))
