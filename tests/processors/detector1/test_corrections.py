"""The steps that are one formula each: forward effect in, truth out."""

import numpy as np
import pytest

from processors.detector1 import dark_current, dq_init, group_scale, linearity, superbias
from schemas.dq import DQ
from schemas.errors import Unprocessable
from tests.processors.detector1.build import dark, image, make_ramp, mask, references

SHAPE = (2, 4, 12, 16)
RNG = np.random.default_rng(11)
TRUTH = np.cumsum(RNG.uniform(100, 4000, SHAPE), axis=1)


def outcome(ramp):
    return ramp.meta.provenance.steps[-1].outcome


def test_group_scale():
    ramp = make_ramp(TRUTH * 3 / 4, NFRAMES=3, FRMDIVSR=4)
    np.testing.assert_allclose(group_scale(ramp).data, TRUTH, rtol=1e-6)


@pytest.mark.parametrize("cards", [{"NFRAMES": 4, "FRMDIVSR": 4}, {"NFRAMES": 8, "FRMDIVSR": None}])
def test_group_scale_has_nothing_to_do(cards):
    ramp = make_ramp(TRUTH)
    out = group_scale(ramp.with_meta(ramp.meta.with_primary(**cards)))
    assert outcome(out) == "not applicable"
    assert out.meta.get("S_GRPSCL") == "SKIPPED"
    assert out.data is ramp.data


def test_dq_init():
    flags = np.zeros(SHAPE[2:], np.uint32)
    flags[3, 4] = int(DQ.DO_NOT_USE | DQ.DEAD)
    flags[5, 6] = int(DQ.HOT)
    before = np.full(SHAPE[2:], int(DQ.WARM), np.uint32)
    out = dq_init(make_ramp(TRUTH, pixeldq=before), references(mask(flags)))
    np.testing.assert_array_equal(out.pixeldq, flags | before)
    assert (out.groupdq[:, :, 3, 4] == 1).all()
    assert out.groupdq.sum() == SHAPE[0] * SHAPE[1]


def test_superbias_and_raw_integers():
    bias = RNG.normal(9000, 100, SHAPE[2:]).round()
    raw = make_ramp(np.zeros(SHAPE))
    counts = (np.round(TRUTH) + bias).astype(np.uint16)
    raw = type(raw)(meta=raw.meta, data=counts, groupdq=raw.groupdq, pixeldq=raw.pixeldq)
    out = superbias(raw, references(image("superbias", bias)))
    assert out.data.dtype == np.float32
    np.testing.assert_allclose(out.data, np.round(TRUTH), atol=0.01)


def test_superbias_without_value_subtracts_nothing():
    bias = np.full(SHAPE[2:], 100.0)
    bias[2, 3] = np.nan
    zero = np.full((SHAPE[0], *SHAPE[2:]), 150.0)
    zero[:, 5, 5] = 0
    out = superbias(make_ramp(TRUTH, zeroframe=zero), references(image("superbias", bias)))
    np.testing.assert_allclose(out.data[:, :, 2, 3], TRUTH[:, :, 2, 3], rtol=1e-6)
    assert out.pixeldq[2, 3] == int(DQ.UNRELIABLE_BIAS)
    assert out.zeroframe[0, 5, 5] == 0
    assert out.zeroframe[0, 0, 0] == 50


def measured(truth, coefficients):
    """Invert the polynomial by Newton's method."""
    value = truth.copy()
    for _ in range(50):
        f = sum(c * value**j for j, c in enumerate(coefficients))
        slope = sum(j * c * value ** (j - 1) for j, c in enumerate(coefficients) if j)
        value -= (f - truth) / slope
    return value


def test_linearity_inverts_the_detector():
    ones = np.ones(SHAPE[2:])
    coefficients = [0.5 * ones, ones, RNG.normal(2e-6, 2e-7, SHAPE[2:]), 1e-11 * ones]
    seen = measured(TRUTH, coefficients)
    assert np.abs(seen - TRUTH).max() > 100
    out = linearity(make_ramp(seen), references(image("linearity", coefficients)))
    np.testing.assert_allclose(out.data, TRUTH, rtol=3e-6, atol=1e-2)


def test_linearity_leaves_alone_what_it_cannot_correct():
    ones = np.ones(SHAPE[2:])
    coefficients = np.stack([0 * ones, ones, 1e-5 * ones])
    coefficients[2, 1, 1] = np.nan
    coefficients[1, 2, 2] = 0
    dq = np.zeros(SHAPE[2:], np.uint32)
    dq[3, 3] = int(DQ.NO_LIN_CORR)
    groupdq = np.zeros(SHAPE, np.uint8)
    groupdq[0, 3, 7, 7] = int(DQ.SATURATED)
    zero = TRUTH[:, 0].copy()
    zero[0, 9, 9] = 0
    ramp = make_ramp(TRUTH, groupdq=groupdq, zeroframe=zero)
    out = linearity(ramp, references(image("linearity", coefficients, dq)))
    same = out.data == ramp.data
    assert same[:, :, [1, 2, 3], [1, 2, 3]].all()
    assert same[0, 3, 7, 7]
    assert same.sum() == 3 * 8 + 1
    assert (out.pixeldq[[1, 2, 3], [1, 2, 3]] == int(DQ.NO_LIN_CORR)).all()
    assert np.count_nonzero(out.pixeldq) == 3
    assert out.zeroframe[0, 9, 9] == 0
    np.testing.assert_array_equal(out.zeroframe[1], out.data[1, 0])


def test_linearity_with_coefficients_of_the_wrong_shape_is_refused():
    with pytest.raises(Unprocessable, match=r"test_linearity\.fits: .* at least two"):
        linearity(make_ramp(TRUTH), references(image("linearity", np.ones((1, *SHAPE[2:])))))


def test_dark_of_the_same_pattern():
    frames = np.cumsum(RNG.uniform(0, 3, (6, *SHAPE[2:])), axis=0)
    flags = np.zeros(SHAPE[2:], np.uint32)
    flags[0, 1] = int(DQ.WARM)
    ramp = make_ramp(TRUTH + frames[:4], NFRAMES=2, GROUPGAP=3)
    out = dark_current(ramp, references(dark(frames, 2, 3, flags)))
    np.testing.assert_allclose(out.data, TRUTH, atol=0.01)
    np.testing.assert_array_equal(out.pixeldq, flags)


def test_dark_is_averaged_and_continued_as_the_exposure_was():
    # 4 groups of 3 frames with gaps of 2 are 18 frames; the dark has 10 and goes on in a straight line
    per_frame = RNG.uniform(0, 3, SHAPE[2:])
    frames = np.arange(1, 11)[:, None, None] * per_frame
    groups = np.stack([np.mean([(5 * g + k + 1) * per_frame for k in range(3)], axis=0) for g in range(4)])
    out = dark_current(make_ramp(TRUTH + groups, NFRAMES=3, GROUPGAP=2), references(dark(frames)))
    np.testing.assert_allclose(out.data, TRUTH, atol=0.01)


def test_frames_of_a_dark_that_are_not_finite_are_left_out_of_the_average():
    frames = np.arange(1.0, 9)[:, None, None] * np.ones(SHAPE[2:])
    frames[2, 4, 4] = np.nan  # the first of the second group's two
    frames[4:6, 5, 5] = np.nan
    ramp = make_ramp(TRUTH[:, :4], NFRAMES=2, GROUPGAP=0)
    out = dark_current(ramp, references(dark(frames)))
    taken = TRUTH[0, :4] - out.data[0]
    np.testing.assert_allclose(taken[:, 4, 4], [1.5, 4, 5.5, 7.5], atol=0.01)
    np.testing.assert_allclose(taken[:, 5, 5], [1.5, 3.5, 0, 7.5], atol=0.01)
    np.testing.assert_allclose(taken[:, 4, 5], [1.5, 3.5, 5.5, 7.5], atol=0.01)
    assert out.pixeldq[5, 5] == int(DQ.UNRELIABLE_DARK)
    assert np.count_nonzero(out.pixeldq) == 1


def test_dark_without_value_subtracts_nothing():
    frames = np.ones((4, *SHAPE[2:]))
    frames[2, 4, 4] = np.nan
    out = dark_current(make_ramp(TRUTH), references(dark(frames)))
    assert out.data[0, 2, 4, 4] == np.float32(TRUTH[0, 2, 4, 4])
    assert out.pixeldq[4, 4] == int(DQ.UNRELIABLE_DARK)
    assert np.count_nonzero(out.pixeldq) == 1


def test_average_dark_current_goes_on_to_the_fit():
    average = np.full(SHAPE[2:], 0.25, np.float32)
    frames = np.zeros((4, *SHAPE[2:]))
    ramp = make_ramp(TRUTH)
    assert dark_current(ramp, references(dark(frames))).average_dark_current is None
    assert (dark_current(ramp, references(dark(frames, average=average))).average_dark_current == 0.25).all()
    chosen = dark_current(ramp, references(dark(frames, average=average)), average_dark_current=1.5)
    assert (chosen.average_dark_current == 1.5).all()


@pytest.mark.parametrize(
    ("reference", "cards", "words"),
    [
        (dark(np.ones((9, *SHAPE[2:])), nframes=4), {}, "cannot be combined"),
        (dark(np.ones((1, *SHAPE[2:]))), {}, "single group cannot be continued"),
        (dark(np.full((9, *SHAPE[2:]), np.nan)), {}, "is finite"),
        (dark(np.ones((9, 3, 3))), {}, "3 x 3 pixels, the exposure 16 x 12"),
    ],
)
def test_darks_that_do_not_fit_are_refused(reference, cards, words):
    with pytest.raises(Unprocessable, match=rf"step dark_current: test_dark\.fits: .*{words}"):
        dark_current(make_ramp(TRUTH, **cards), references(reference))


@pytest.mark.parametrize("step", [superbias, linearity])
def test_all_nan_references_are_refused(step):
    data = np.full((3, *SHAPE[2:]) if step is linearity else SHAPE[2:], np.nan)
    with pytest.raises(Unprocessable, match=rf"test_{step.name}\.fits: none of the .* values"):
        step(make_ramp(TRUTH), references(image(step.name, data)))
