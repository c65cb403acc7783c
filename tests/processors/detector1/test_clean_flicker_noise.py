"""Stripes in groups and in rates, as the steps take them away."""

from dataclasses import replace

import numpy as np
import pytest

from processors.detector1 import DETECTOR1_NIR, clean_flicker_noise
from processors.pipelines import Pipeline
from processors.ramp_fit import RAMP_FIT, clean_flicker_noise_rate, ramp_fit
from processors.steps import StepSettings
from schemas.dq import DQ
from tests.processors.detector1 import build
from tests.processors.detector1.build import make_ramp

SHAPE = (2, 5, 64, 96)
NIRCAM = {"EXP_TYPE": "NRC_IMAGE", "SLOWAXIS": 2, "FASTAXIS": -1, "SUBARRAY": "SUB", "DETECTOR": "NRCA1"}
PLAIN = {"background_method": "median", "keep_scale": 0, "grow_mask": 0, "n_sigma": 4.0}
REFERENCES = build.references(
    build.image("gain", np.full(SHAPE[2:], 2.0)), build.image("readnoise", np.full(SHAPE[2:], 6.0))
)


def striped(axis=1, seed=1, noise=1.0, **keywords):
    """Ramps of a sky and some stars, and the stripes that were added to each group."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[2], : SHAPE[3]]
    stars = sum(500 * np.exp(-((y - b) ** 2 + (x - a) ** 2) / 4) for a, b in ((20, 10), (70, 40), (50, 60)))
    times = np.arange(1, SHAPE[1] + 1)[:, None, None]
    lines = rng.normal(0, 5, (*SHAPE[:2], SHAPE[3 - axis]))
    stripes = np.broadcast_to(np.expand_dims(lines, 2 + axis), SHAPE)
    data = (20 + stars) * times + stripes + rng.normal(0, noise, SHAPE)
    return make_ramp(data.astype(np.float32), NINTS=SHAPE[0], **NIRCAM | keywords), stripes


def left(made, ramp, stripes):
    """What is left of the differences of the stripes, beside what there was."""
    gone = np.diff(ramp.data - made.data, axis=1)
    wanted = np.diff(stripes, axis=1)
    wanted = wanted - np.median(wanted, axis=(2, 3), keepdims=True)
    return np.std(gone - wanted) / np.std(wanted)


@pytest.mark.parametrize(("axis", "more"), [(1, {}), (0, {"SLOWAXIS": -1, "FASTAXIS": -2}), (0, build.MIRI)])
@pytest.mark.parametrize("single", [True, False])
def test_stripes_are_taken_out_of_groups(axis, more, single):
    ramp, stripes = striped(axis, **more)
    made = clean_flicker_noise(ramp, REFERENCES, single_mask=single, **PLAIN)
    assert left(made, ramp, stripes) < 0.15
    assert (made.data[:, 0] == ramp.data[:, 0]).all()
    assert (made.groupdq == ramp.groupdq).all()
    assert made.meta.get("S_CLNFNS") == "COMPLETE"


def test_stars_keep_their_light():
    ramp, _ = striped(noise=0.1)
    rate = ramp_fit(clean_flicker_noise(ramp, REFERENCES, **PLAIN), REFERENCES)
    truth = ramp_fit(replace(ramp, data=(ramp.data - striped(noise=0.1)[1]).astype(np.float32)), REFERENCES)
    star = (slice(None), slice(36, 45), slice(66, 75))
    moved = (rate.data[star] - truth.data[star]).sum() / truth.data[star].sum()
    assert abs(moved) < 0.02


def test_hits_and_unusable_groups_do_not_count():
    ramp, _ = striped()
    ramp.data[:, 2:, :, 30:90] += 1000
    ramp.groupdq[:, 2, :, 30:90] = DQ.JUMP_DET
    made = clean_flicker_noise(ramp, REFERENCES, background_method=None, keep_scale=0, n_sigma=0)
    without, _ = striped()
    expected = clean_flicker_noise(without, REFERENCES, background_method=None, keep_scale=0, n_sigma=0)
    shown = np.std((ramp.data - made.data) - (without.data - expected.data))
    assert shown < 0.5


def test_values_that_are_not_finite_stay_and_do_no_harm():
    ramp, stripes = striped()
    ramp.data[0, 2, 5, 5] = np.nan
    made = clean_flicker_noise(ramp, REFERENCES, **PLAIN)
    assert np.argwhere(np.isnan(made.data)).tolist() == [[0, 2, 5, 5]]
    filled = replace(ramp, data=np.nan_to_num(ramp.data)), replace(made, data=np.nan_to_num(made.data))
    assert left(filled[1], filled[0], stripes) < 0.15


def test_slow_variations_along_the_lines_are_kept():
    ramp, _ = striped(noise=0.5)
    slope = np.linspace(0, 200, SHAPE[2])[:, None] * np.arange(1, SHAPE[1] + 1)[:, None, None]
    tilted = replace(ramp, data=(ramp.data + slope).astype(np.float32))
    lost = {}
    for scale in (0, 33):
        made = clean_flicker_noise(tilted, REFERENCES, background_method=None, n_sigma=0, keep_scale=scale)
        gone = (tilted.data - made.data)[:, -1].mean(axis=(0, 2))
        lost[scale] = np.polyfit(np.arange(SHAPE[2]), gone, 1)[0] / (800 / SHAPE[2])
    assert lost[0] == pytest.approx(1, abs=0.05)
    assert abs(lost[33]) < 0.02


def test_blocks_give_the_same_bytes():
    ramp, _ = striped()
    pipeline = Pipeline("one", (clean_flicker_noise,))
    for single in (True, False):
        how = {
            "clean_flicker_noise": StepSettings(options=clean_flicker_noise.options_type(single_mask=single))
        }
        whole = pipeline(ramp, REFERENCES, how)
        blocks = [replace(ramp, data=ramp.data[i : i + 1], groupdq=ramp.groupdq[i : i + 1],
                          first_integration=i) for i in range(2)]  # fmt: skip
        parts = list(pipeline.stream(blocks, REFERENCES, how, donate=False))
        assert np.concatenate([part.data for part in parts]).tobytes() == whole.data.tobytes()


@pytest.mark.parametrize(
    ("keywords", "options", "reason"),
    [
        ({"EXP_TYPE": "MIR_MRS"}, {}, "only MIR_IMAGE"),
        ({}, {"fit_method": "fft"}, "fft is for NRS_MSASPEC"),
    ],
)
def test_it_does_not_apply_elsewhere(keywords, options, reason):
    ramp, _ = striped(**keywords)
    made = clean_flicker_noise(ramp, REFERENCES, **options)
    assert made.data.tobytes() == ramp.data.tobytes()
    assert reason in made.meta.provenance.steps[-1].reason


def test_fixed_slits_are_left_out_of_exposures_through_the_shutters():
    from processors.flicker.cleaning import FIXED_SLITS, Cleaner

    ramp, _ = striped(EXP_TYPE="NRS_MSASPEC", DETECTOR="NRS1", SUBSTRT2=FIXED_SLITS.start - 9)
    for known in (True, False):
        options = clean_flicker_noise.options_type(mask_science_regions=known, n_sigma=0)
        cleaner = Cleaner.of(ramp.meta, SHAPE[2:], REFERENCES, options)
        flags = np.zeros(SHAPE[2:], np.uint32)
        flags[0, 0] = DQ.MSA_FAILED_OPEN
        mask = cleaner.background_mask(ramp.data[0, -1], flags, ramp.meta, REFERENCES)
        assert mask[1:10].all()
        assert mask[10:].any() != known
        assert mask[0, 0] != known


def test_rates_are_cleaned_alike():
    ramp, stripes = striped()
    raw = ramp_fit(ramp, REFERENCES)
    made = clean_flicker_noise_rate(raw, REFERENCES, keep_scale=0, n_sigma=4)
    clean = ramp_fit(replace(ramp, data=(ramp.data - stripes).astype(np.float32)), REFERENCES)
    sky = (slice(None), slice(20, 35), slice(None, 40))
    before, after = ((rate.data - clean.data)[sky].mean(axis=2).std() for rate in (raw, made))
    assert after < 0.15 * before
    assert made.err.tobytes() == raw.err.tobytes()
    again = clean_flicker_noise_rate(made, REFERENCES)
    assert again.data.tobytes() == made.data.tobytes()
    assert "cleaned before" in again.meta.provenance.steps[-1].reason


def test_pipelines_leave_it_out_unless_asked():
    assert clean_flicker_noise in DETECTOR1_NIR.steps
    ramp, _ = striped()
    rates = RAMP_FIT(ramp, REFERENCES)
    assert rates.meta.get("S_CLNFNS") == "SKIPPED"
    asked = RAMP_FIT(ramp, REFERENCES, {"clean_flicker_noise_rate": StepSettings()})
    assert asked.meta.get("S_CLNFNS") == "COMPLETE"
    assert np.std(asked.data - rates.data) > 0
