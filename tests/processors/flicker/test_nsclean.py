"""Low frequencies fitted between the spectra, against the paper's equations and against what was put in."""

import numpy as np
import pytest

from processors.flicker import nsclean
from processors.flicker.nsclean import Reading, fitted_noise, full_frame_noise, subarray_noise


def gaps(shape, seed=1, lit=slice(8, 22)):
    """Which samples of lines are dark: all but a spectrum, and a few bad ones."""
    dark = np.random.default_rng(seed).random(shape) > 0.02
    dark[:, lit] = False
    return dark


def waves(shape, hertz):
    """A wave through the time in which lines are read."""
    nline, length = shape
    tick = np.arange(nline)[:, None] * (length + nsclean.OVERHEAD) + np.arange(length)
    return (3 * np.sin(2 * np.pi * hertz * tick * nsclean.TICK)).astype(np.float32)


@pytest.mark.parametrize("hertz", [90.0, 400.0])
def test_slow_noise_is_found_in_subarrays_and_light_is_not_looked_at(hertz):
    shape = (256, 32)
    dark, noise = gaps(shape), waves(shape, hertz)
    rng = np.random.default_rng(3)
    lines = (noise + rng.normal(0, 0.5, shape) + np.where(dark, 0, 1e4)).astype(np.float32)
    found = subarray_noise(lines, dark, nsclean.EDGES)
    assert np.std((found - noise)[dark]) < 0.35
    assert np.std(found[dark]) == pytest.approx(np.std(noise[dark]), rel=0.05)


def test_fast_noise_is_left():
    lines = waves((256, 32), 12000.0)
    assert np.std(subarray_noise(lines, gaps(lines.shape), nsclean.EDGES)) < 0.3 * np.std(lines)


def test_a_piece_solves_the_equations_of_the_paper():
    """With the matrices written out: b = (B* P P B)^-1 B* P P d."""
    shape = (20, 32)
    dark, rng = gaps(shape), np.random.default_rng(4)
    lines = rng.normal(0, 5, shape).astype(np.float32)
    n = shape[0] * (shape[1] + nsclean.OVERHEAD)
    gain = nsclean._band_pass(np.arange(n // 2 + 1) / (n * nsclean.TICK), nsclean.EDGES)
    k = np.flatnonzero(gain > 0)
    clock = np.arange(n).reshape(shape[0], -1)[:, : shape[1]][dark]
    basis = np.exp(2j * np.pi * np.outer(clock, k) / n)
    sigma = 1 / (4 * sum(nsclean.EDGES[:2]) * nsclean.TICK)
    distance = (np.subtract.outer(clock, clock) - 1 + n // 2) % n - n // 2
    density = (np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))).sum(axis=1)
    weighted = basis / density[:, None]
    b = np.linalg.lstsq(weighted, lines[dark] / density, rcond=None)[0]
    coefficients = np.zeros(n // 2 + 1, complex)
    coefficients[k] = b * gain[k] * n
    expected = np.fft.irfft(coefficients, n).reshape(shape[0], -1)[:, : shape[1]]
    assert nsclean._piece(lines, dark, nsclean.EDGES) == pytest.approx(expected, abs=1e-5)


def test_slow_noise_is_found_in_full_frames():
    shape = (64, 2048)
    phase = np.random.default_rng(5).uniform(0, 2 * np.pi)
    noise = np.broadcast_to(4 * np.sin(np.arange(2048) * 2 * np.pi * 3 / 2048 + phase), shape)
    dark = np.ones(shape, bool)
    for first in range(20, 2000, 90):
        dark[:, first : first + 40] = False
    lines = (noise + np.where(dark, 0, 1e5) + np.random.default_rng(6).normal(0, 1, shape)).astype(np.float32)
    found = full_frame_noise(lines, dark)
    inner = slice(12, -12)  # the smoothing across lines reaches the border, which is not fitted
    assert np.std((found - noise)[inner]) < 0.25


def test_lines_with_too_little_dark_are_left_alone():
    lines = np.random.default_rng(7).normal(0, 1, (32, 2048)).astype(np.float32)
    dark = np.zeros(lines.shape, bool)
    dark[:, :10] = True
    assert not full_frame_noise(lines, dark).any()
    assert not subarray_noise(lines, np.zeros(lines.shape, bool), nsclean.EDGES).any()


@pytest.mark.parametrize(("detector", "step"), [("NRS1", 1), ("NRS2", -1)])
def test_columns_are_read_in_the_order_of_the_detector(detector, step):
    shape = (256, 32)
    noise, dark = waves(shape, 150.0), gaps(shape)
    image, usable = noise[::step].T, dark[::step].T
    found = fitted_noise(
        np.ascontiguousarray(image), np.ascontiguousarray(usable), Reading.of(detector, "SUB")
    )
    assert np.std(found - image) < 0.2


def test_all_slits_are_fitted_to_lower_frequencies():
    assert Reading.of("NRS1", "allslits").edges[:2] == (150.0, 200.0)
