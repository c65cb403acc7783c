"""Interference put in by the times at which pixels are read comes out again."""

import numpy as np
import pytest

from processors.detector1 import emicorr
from processors.detector1.interference import best_phase, noise_variance
from schemas.dq import DQ
from schemas.errors import Unprocessable
from tests.processors.detector1.build import MIRI, make_ramp, references
from tests.processors.detector1.build import emicorr as reference

ROW, FRAME = 28, 8512
"""Ticks of SUB64."""
FREQUENCY = 390.625
SHAPE = (3, 6, 64, 72)


def wave(phase):
    return np.sin(2 * np.pi * phase) + 0.4 * np.cos(4 * np.pi * phase)


def disturbance(amplitude, phase, shape=SHAPE, samples=1):
    """What all samples of an exposure have too much; a frame of reset lies between integrations."""
    nint, ngroup, ny, nx = shape
    ticks = np.arange(ny)[:, None] * ROW + np.arange(nx) // 4 * samples
    frames = np.arange(nint)[:, None] * (ngroup + 1) + np.arange(ngroup)
    seconds = (frames[:, :, None, None] * FRAME + ticks) * 1e-5
    return amplitude * wave(phase + FREQUENCY * seconds)


def truth(seed=3, noise=4.0):
    rng = np.random.default_rng(seed)
    rates = np.where(rng.random(SHAPE[2:]) < 0.1, 3000.0, 20.0)
    clean = 9000 + np.arange(1, 7)[:, None, None] * rates + rng.normal(0, 30, SHAPE[2:])
    return clean + rng.normal(0, noise, SHAPE)


GIVEN = references(reference(wave((np.arange(120) + 0.5) / 120), FREQUENCY, SUB64=(ROW, FRAME)))


@pytest.mark.parametrize("phase", [0.0, 0.123, 0.5, 0.999])
@pytest.mark.parametrize("separately", [True, False])
def test_interference_is_removed(phase, separately):
    clean, extra = truth(), disturbance(12.0, phase)
    out = emicorr(make_ramp(clean + extra, **MIRI), GIVEN, fit_ints_separately=separately)
    assert extra.std() > 8
    assert (out.data - clean).std() < 0.25
    assert out.data.dtype == np.float32


def test_one_fit_for_all_integrations_is_better_than_one_for_each():
    clean, extra = truth(noise=10.0), disturbance(6.0, 0.3)
    left = [
        (emicorr(make_ramp(clean + extra, **MIRI), GIVEN, fit_ints_separately=each).data - clean).std()
        for each in (True, False)
    ]
    assert left[1] < left[0] < 0.5


@pytest.mark.parametrize("separately", [True, False])
def test_ramps_without_interference_stay(separately):
    for seed in range(3, 9):
        given = make_ramp(truth(seed), **MIRI)
        out = emicorr(given, GIVEN, fit_ints_separately=separately)
        np.testing.assert_array_equal(out.data, given.data)
        noise = emicorr(given, GIVEN, fit_ints_separately=separately, significance=0.0).data - given.data
        assert 0 < noise.std() < 0.25


def test_an_amplitude_that_noise_would_hardly_make_is_subtracted():
    clean, extra = truth(), disturbance(0.5, 0.3)
    left = emicorr(make_ramp(clean + extra, **MIRI), GIVEN, fit_ints_separately=False).data - clean
    assert left.std() < 0.5 * extra.std()


def test_the_noise_is_that_of_samples():
    given = make_ramp(truth(noise=4.0), **MIRI)
    assert noise_variance(given.data, given.pixeldq) == pytest.approx(16, rel=0.05)


def test_bright_and_flagged_pixels_do_not_disturb_the_fit():
    clean, extra = truth(), disturbance(12.0, 0.7)
    spoilt = clean + extra
    pixeldq = np.zeros(SHAPE[2:], np.uint32)
    pixeldq[5:9] = int(DQ.WARM)
    spoilt[:, :, 5:9] += 20 * np.sin(np.arange(6))[:, None, None]
    spoilt[:, 3:, 20, 20:60] += 5000
    out = emicorr(make_ramp(spoilt, pixeldq=pixeldq, **MIRI), GIVEN)
    assert (out.data - clean)[:, :, 30:].std() < 0.3


def test_a_later_segment_has_the_phase_of_its_integrations():
    clean, extra = truth(), disturbance(12.0, 0.2)
    whole = emicorr(make_ramp(clean + extra, **MIRI), GIVEN)
    cards = MIRI | {"NINTS": 3, "INTSTART": 3, "INTEND": 3}
    last = emicorr(make_ramp((clean + extra)[2:], **cards), GIVEN)
    np.testing.assert_array_equal(last.data, whole.data[2:])


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"READPATT": "FASTGRPAVG"}, "known for FAST, FASTR1, SLOW, SLOWR1, and this exposure is FASTGRPAVG"),
        ({"SUBARRAY": "SUB128"}, "has no frequencies for SUB128 in FASTR1"),
        ({"SUBARRAY": "FULL"}, "has no frequencies for FULL_FAST in FASTR1"),
        ({"READPATT": "SLOWR1"}, "has no frequencies for SUB64 in SLOWR1"),
        ({"INSTRUME": "NIRISS"}, "only MIRI's detectors need it"),
    ],
)
def test_where_nothing_is_known_it_does_not_apply(cards, words):
    out = emicorr(make_ramp(truth(), **MIRI | cards), GIVEN)
    found = out.meta.provenance.steps[-1]
    assert found.outcome == "not applicable"
    assert words in found.reason
    assert out.meta.get("S_MIREMI") == "SKIPPED"


def test_two_groups_are_too_few():
    out = emicorr(make_ramp(truth()[:, :2], **MIRI), GIVEN)
    assert "2 groups are too few" in out.meta.provenance.steps[-1].reason


@pytest.mark.parametrize("shape", [[], [1.0, np.nan, 1.0, 0.0]])
def test_a_reference_without_waveform_is_refused(shape):
    with pytest.raises(Unprocessable, match=r"test_emicorr\.asdf: its frequency Hz390 has no usable"):
        emicorr(make_ramp(truth(), **MIRI), references(reference(shape, SUB64=(ROW, FRAME))))


@pytest.mark.parametrize("where", [0.0004, 0.25, 0.9991])
def test_the_best_phase_lies_between_the_samples(where):
    phases = np.arange(500) / 500
    found = best_phase(-np.cos(2 * np.pi * (phases - where)))
    assert abs((found - where + 0.5) % 1 - 0.5) < 1e-5


def test_no_phase_is_best_where_nothing_is_finite():
    assert best_phase(np.full(500, np.nan)) == 0
