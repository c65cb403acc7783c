"""The steps that only MIRI has: forward effect in, truth out."""

import numpy as np
import pytest

from processors.detector1 import dark_current, detector1_of, lastframe, refpix, reset, rscd
from processors.detector1.rscd import estimated
from processors.ramp_fit import ramp_fit
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.references import TableReference
from tests.processors.detector1.build import MIRI, by_integration, image, make_ramp, references
from tests.processors.detector1.build import rscd as table

SHAPE = (4, 6, 12, 16)
RNG = np.random.default_rng(21)
TRUTH = 9000 + np.cumsum(RNG.uniform(100, 3000, SHAPE), axis=1)
SAT, DNU = int(DQ.SATURATED), int(DQ.DO_NOT_USE)


def miri(data=TRUTH, **more):
    cards = {key: more.pop(key) for key in list(more) if key.isupper()}
    return make_ramp(data, **more, **MIRI | {"NINTS": len(data)} | cards)


def record(ramp):
    return ramp.meta.provenance.steps[-1]


def test_the_pipeline_is_chosen_by_the_instrument():
    names = [step.name for step in detector1_of({"INSTRUME": "MIRI"}).steps]
    assert names == [
        "group_scale", "dq_init", "emicorr", "saturation", "ipc", "lastframe", "reset", "linearity", "rscd",
        "dark_current", "refpix", "jump", "clean_flicker_noise",
    ]  # fmt: skip
    assert "superbias" in [step.name for step in detector1_of({"INSTRUME": "NIRCAM"}).steps]


@pytest.mark.parametrize("step", [reset, lastframe, rscd], ids=lambda step: step.name)
def test_other_instruments_have_no_need_of_them(step):
    given = references(by_integration("reset", np.ones((1, 1, *SHAPE[2:]))), table())
    out = step(make_ramp(TRUTH), given)
    assert record(out).outcome == "not applicable"
    assert record(out).reason == "only MIRI's detectors need it, and this exposure is of NIRCAM"


@pytest.mark.parametrize("groups", [3, 6, 9])
def test_reset_anomaly_of_the_first_integrations(groups):
    anomaly = RNG.normal(-50, 10, (2, groups, *SHAPE[2:])).astype(np.float32)
    disturbed = TRUTH.copy()
    for i in range(4):
        disturbed[i, :groups] += anomaly[min(i, 1), :6]
    flags = np.zeros(SHAPE[2:], np.uint32)
    flags[3, 4] = int(DQ.WARM)
    out = reset(miri(disturbed), references(by_integration("reset", anomaly, flags)))
    np.testing.assert_allclose(out.data, TRUTH, atol=0.01)
    np.testing.assert_array_equal(out.pixeldq, flags)


def by_steps(values):
    """A dark or reset of so much in each of its integrations."""
    return np.asarray(values, float)[:, None, None, None] * np.ones((1, 6, *SHAPE[2:]))


@pytest.mark.parametrize("step", [reset, dark_current], ids=lambda step: step.name)
def test_a_later_segment_begins_with_a_later_integration(step):
    reftype = "dark" if step is dark_current else "reset"
    given = references(by_integration(reftype, by_steps([1, 10, 100])))
    out = step(miri(TRUTH[:2], NINTS=9, INTSTART=2, INTEND=3), given)
    np.testing.assert_allclose(TRUTH[:2] - out.data, by_steps([10, 100]), atol=0.01)
    out = step(miri(TRUTH[:2], NINTS=9, INTSTART=8, INTEND=9), given)
    np.testing.assert_allclose(TRUTH[:2] - out.data, by_steps([100, 100]), atol=0.01)


@pytest.mark.parametrize("step", [reset, dark_current], ids=lambda step: step.name)
def test_flags_are_those_of_all_integrations_that_the_file_has(step):
    """They are the same in every block, so that rates do not depend on the division into blocks."""
    reftype = "dark" if step is dark_current else "reset"
    values = by_steps([1, 10, 100])
    values[0, 1, 2, 3] = values[1, 2, 4, 5] = values[2, 0, 6, 7] = np.nan
    given = references(by_integration(reftype, values))

    def flagged(**cards):
        pixels = np.argwhere(step(miri(TRUTH[:1], **cards), given).pixeldq)
        return [tuple(map(int, pixel)) for pixel in pixels]

    assert flagged(NINTS=9) == [(2, 3), (4, 5), (6, 7)]
    assert flagged(NINTS=1) == [(2, 3)]
    assert flagged(NINTS=9, INTSTART=2, INTEND=2) == [(4, 5)]


def test_a_reset_without_values_is_refused():
    empty = np.full((1, 2, *SHAPE[2:]), np.nan)
    with pytest.raises(Unprocessable, match=r"step reset: test_reset\.fits: none of the 192 values"):
        reset(miri(), references(by_integration("reset", empty)))
    with pytest.raises(Unprocessable, match="3 x 3 pixels, the exposure 16 x 12"):
        reset(miri(), references(by_integration("reset", np.ones((1, 2, 3, 3)))))


def test_dark_by_integration_is_continued_beyond_its_end():
    per_group = RNG.uniform(0, 3, (2, 1, *SHAPE[2:]))
    groups = np.arange(1, 7)[None, :, None, None] * per_group
    given = references(by_integration("dark", groups[:, :4]))
    disturbed = TRUTH + groups[[0, 1, 1, 1]]
    np.testing.assert_allclose(dark_current(miri(disturbed), given).data, TRUTH, atol=0.01)


def test_last_group_is_left_out():
    out = lastframe(miri())
    assert (out.groupdq[:, -1] == DNU).all()
    assert not out.groupdq[:, :-1].any()
    assert record(lastframe(miri(TRUTH[:, :2]))).outcome == "not applicable"


@pytest.mark.parametrize(
    ("ngroup", "listed", "left_out"),
    [(3, (4, 6), (0, 0)), (4, (4, 6), (1, 1)), (5, (0, 0), (1, 1)), (6, (4, 6), (3, 3)), (6, (1, 2), (1, 2)),
     (9, (-1, 2), (1, 2)), (9, (0, 6), (0, 6)), (20, (4, 6), (4, 6))],
)  # fmt: skip
def test_as_many_groups_are_left_out_as_the_rules_say(ngroup, listed, left_out):
    data = np.zeros((3, ngroup, 4, 5))
    out = rscd(miri(data), references(table(("SUB64", "SLOWR1", 9, 9), ("SUB64", "FASTR1", *listed))))
    counts = (out.groupdq == DNU).sum(axis=1)
    assert (counts[0] == left_out[0]).all()
    assert (counts[1:] == left_out[1]).all()
    assert (out.meta.get("INT1SKIP"), out.meta.get("INT2SKIP")) == left_out


def saturating(first, ngroup=9, nint=2):
    """Row y saturates from group ``first[y]`` on."""
    groupdq = np.zeros((nint, ngroup, len(first), 3), np.uint8)
    for y, g in enumerate(first):
        groupdq[:, g:, y] = SAT
    return miri(np.zeros(groupdq.shape), groupdq=groupdq)


def test_pixels_that_saturate_early_keep_two_groups():
    first = [0, 1, 2, 3, 4, 5, 6, 9]
    out = rscd(saturating(first), references(table(("SUB64", "FASTR1", 3, 4))))
    left_out = ((out.groupdq & DNU) != 0).sum(axis=1)[..., 0]
    assert left_out[0].tolist() == [3, 0, 0, 1, 2, 3, 3, 3]
    assert left_out[1].tolist() == [4, 0, 0, 1, 2, 3, 4, 4]
    kept = estimated(out)[..., 0]
    assert kept[0].tolist() == [False, True, True, True, True, False, False, False]
    assert kept[1].tolist() == [False, True, True, True, True, True, False, False]


def test_rates_that_need_such_groups_are_estimates():
    ramp = saturating([9, 4])
    ramp.groupdq[1] = 0
    given = references(table(("SUB64", "FASTR1", 3, 4)), image("gain", np.full((2, 3), 2.0)),
                       image("readnoise", np.full((2, 3), 6.0)))  # fmt: skip
    rate = ramp_fit(rscd(ramp, given), given)
    flagged = (rate.dq & np.uint32(DQ.FLUX_ESTIMATED)) != 0
    assert flagged[0, 1].all()
    assert flagged.sum() == 3


def test_saturation_in_a_group_that_is_not_used_is_none():
    ramp = saturating([8, 7, 9])
    given = references(image("gain", np.full((3, 3), 2.0)), image("readnoise", np.full((3, 3), 6.0)))
    rate = ramp_fit(lastframe(ramp), given)
    assert ((rate.dq & SAT) != 0)[0, :, 0].tolist() == [False, True, False]


def test_exposures_that_the_reference_does_not_list():
    out = rscd(miri(), references(table(("SUB256", "FASTR1", 1, 2))))
    assert record(out).reason == "test_rscd.fits has no groups to leave out for SUB64 in FASTR1"
    assert out.meta.get("INT1SKIP") is None
    assert estimated(out) is None
    renamed = rscd(miri(SUBARRAY="SUBPRISM"), references(table(("SLITLESSPRISM", "FASTR1", 1, 2))))
    assert record(renamed).outcome == "complete"
    assert "too few" in record(rscd(miri(TRUTH[:, :2]), references(table()))).reason


def test_a_table_of_something_else_is_refused():
    rows = {"OTHER": np.zeros(2, [("subarray", "S5"), ("readpatt", "S5")])}
    other = TableReference(reftype="rscd", name="other.fits", digest="0" * 64, tables=rows)
    with pytest.raises(Unprocessable, match="no column group_skip; give another file"):
        rscd(miri(), references(other))


FULL = {"SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1}


def drifting(seed=5):
    """Sky with drifts of each output in odd and even rows, which only start after the first group."""
    rng = np.random.default_rng(seed)
    sky = np.zeros((1, 3, 1024, 1032))
    sky[..., 4:-4] = 500 * np.arange(1, 4)[:, None, None]
    drift = np.tile(rng.normal(0, 20, (3, 2, 4)), (1, 512, 258))
    return sky, sky + drift + rng.normal(0, 1, sky.shape)


def test_drifts_of_the_outputs_go():
    sky, data = drifting()
    data[0, 1:, 100, :4] += 3000  # too few to count
    out = refpix(miri(data, **FULL))
    left = (out.data - sky)[0, :, :, 8:-8]
    left -= left[0]  # what the first group has stays, and is in no slope
    for output in range(4):
        for parity in range(2):
            assert np.abs(left[1:, parity::2, output::4].mean(axis=(1, 2))).max() < 0.3
    np.testing.assert_array_equal(out.data[0, 0], data[0, 0].astype(np.float32))
    together = refpix(miri(data, **FULL), odd_even_rows=False)
    assert np.ptp((together.data - sky)[0, 2, :4, 8]) > 5


def test_one_bad_reference_column_or_a_subarray_stops_it():
    _, data = drifting()
    pixeldq = np.zeros((1024, 1032), np.uint32)
    pixeldq[1::2, 1029] = DNU
    out = refpix(miri(data, pixeldq=pixeldq, **FULL))
    assert record(out).reason == "one of the outputs has no good reference pixels on one of its sides"
    assert record(refpix(miri(data, pixeldq=pixeldq, **FULL), odd_even_rows=False)).outcome == "complete"
    assert "MIRI's subarrays are not corrected" in record(refpix(miri())).reason
