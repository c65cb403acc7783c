import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from processors.detector1 import saturation
from schemas.dq import DQ
from schemas.errors import Unprocessable
from tests.processors.detector1.build import image, make_ramp, references

SAT, DNU, FLOOR = int(DQ.SATURATED), int(DQ.DO_NOT_USE), int(DQ.AD_FLOOR)
LIMIT = 50000.0


def refs(shape, limit=LIMIT, bias=0.0, dq=None):
    return references(
        image("saturation", np.full(shape, limit), dq), image("superbias", np.full(shape, bias))
    )


def grown(flags, reach):
    return binary_dilation(flags, np.ones((2 * reach + 1,) * 2)) if reach else flags


def by_hand(data, limit, nframes, reach, bias):
    """The rules as the documentation states them, plane by plane."""
    ngroup = len(data)
    flags = np.zeros(data.shape, np.uint8)
    ever = np.zeros(data.shape[1:], bool)
    for g in range(ngroup):
        ever |= data[g] >= limit
        flags[g][grown(ever, reach)] |= SAT
        flags[g][data[g] <= 0] |= FLOOR | DNU
    if nframes > 1:
        before = flags.copy()
        for g in range(ngroup - 1):
            reads = g * nframes + np.arange(1, nframes + 1)
            suspect = data[g] >= limit * reads.mean() / reads[-1]
            suspect &= (before[g] & (SAT | DNU) == 0) & (before[g + 1] & SAT != 0)
            flags[g][grown(suspect, reach)] |= DNU
        steady = (data[0] - bias) / np.mean(np.arange(1, nframes + 1)) * (3 * nframes) + bias < limit
        steep = data[1] - data[0] > (limit - data[0]) / nframes
        flags[1][steady & steep & (before[2] & SAT != 0) & (before[1] & SAT == 0)] |= DNU
        reads = (ngroup - 1) * nframes + np.arange(1, nframes + 1)
        full = (data[-1] - bias) * reads[-1] / reads.mean() + bias >= limit
        flags[-1][grown(full & (flags[-1] & (SAT | DNU) == 0), reach)] |= SAT
    return flags


@pytest.mark.parametrize("nframes", [1, 4])
@pytest.mark.parametrize("reach", [0, 1, 2])
def test_flags_as_the_rules_say(nframes, reach):
    rng = np.random.default_rng(7)
    rates = np.where(rng.random((40, 50)) < 0.05, rng.uniform(3000, 40000, (40, 50)), 100)
    data = 9000 + np.cumsum(rng.uniform(0.2, 1.8, (2, 6, 40, 50)) * rates, axis=1)
    data[rng.random(data.shape) < 0.002] = 0
    ramp = make_ramp(data.clip(0, 65535), NFRAMES=nframes)
    out = saturation(ramp, refs((40, 50), bias=9000), n_pix_grow_sat=reach)
    for i in range(2):
        expected = by_hand(ramp.data[i].astype("f8"), LIMIT, nframes, reach, 9000.0)
        np.testing.assert_array_equal(out.groupdq[i], expected)
    assert (out.groupdq & SAT).any()
    if nframes > 1:
        assert ((out.groupdq & DNU != 0) & (out.groupdq & FLOOR == 0)).any()


def test_read_pattern_can_be_left_out():
    data = np.zeros((1, 4, 5, 5)) + np.array([100, 30000, 45000, 60000])[:, None, None]
    with_pattern = saturation(make_ramp(data, NFRAMES=8), refs((5, 5)))
    without = saturation(make_ramp(data, NFRAMES=8), refs((5, 5)), use_readpatt=False)
    assert (with_pattern.groupdq[0, 2] == DNU).all()
    assert (without.groupdq[0, 2] == 0).all()


@pytest.mark.parametrize("ngroup", [1, 2, 4])
@pytest.mark.parametrize("bias", [0.0, 9000.0])
def test_the_last_group_is_saturated_where_its_last_frames_are(ngroup, bias):
    """Steady light of all brightnesses in groups of 4 frames, 3 apart; frames hold no more than the limit."""
    last = (ngroup - 1) * 7 + 4
    rate = np.linspace(0.1, 1.6, 400)[None] * (LIMIT - bias) / last
    frames = np.arange(ngroup)[:, None] * 7 + np.arange(1, 5)
    light = np.minimum(bias + frames[..., None, None] * rate, LIMIT + 1)
    ramp = make_ramp(light.mean(axis=1)[None], NFRAMES=4, GROUPGAP=3)
    full = bias + last * rate >= LIMIT
    out = saturation(ramp, refs((1, 400), bias=bias), n_pix_grow_sat=0)
    found = (out.groupdq[0, -1] & SAT) != 0
    assert found[full].all()
    assert not found[bias + last * rate < LIMIT - 10].any()
    kept = saturation(ramp, refs((1, 400), bias=bias), n_pix_grow_sat=0, last_group=False)
    assert ((kept.groupdq[0, -1] & SAT) == 0)[full].sum() > 5


def test_neighbours_of_a_last_group_that_saturated_are_flagged_and_those_without_limit_are_not():
    limit = np.full((7, 7), LIMIT)
    limit[5, 5] = np.nan
    data = np.full((1, 1, 7, 7), 1000.0)
    data[0, 0, 1, 1] = data[0, 0, 5, 5] = 40000
    out = saturation(make_ramp(data, NFRAMES=4), references(image("saturation", limit)))
    expected = np.zeros((7, 7), bool)
    expected[:3, :3] = True
    np.testing.assert_array_equal(out.groupdq[0, 0] == SAT, expected)


def test_pixels_without_limit_are_not_checked():
    limit = np.full((6, 6), LIMIT)
    limit[2, 2] = np.nan
    dq = np.zeros((6, 6), np.uint32)
    dq[4, 4] = int(DQ.NO_SAT_CHECK)
    data = np.full((1, 3, 6, 6), 65535.0)
    out = saturation(make_ramp(data), references(image("saturation", limit, dq)), n_pix_grow_sat=0)
    unchecked = out.groupdq[0] == 0
    assert unchecked.sum() == 2 * 3
    assert unchecked[:, 2, 2].all()
    assert unchecked[:, 4, 4].all()
    assert out.pixeldq[2, 2] == out.pixeldq[4, 4] == int(DQ.NO_SAT_CHECK)


def test_all_saturated():
    out = saturation(make_ramp(np.full((1, 3, 4, 4), 65535.0)), refs((4, 4)))
    assert (out.groupdq == SAT).all()


def test_zero_frame():
    zero = np.full((1, 8, 8), 12000.0)
    zero[0, 2, 2], zero[0, 6, 6] = 60000, -1
    out = saturation(make_ramp(np.full((1, 2, 8, 8), 12000.0), zeroframe=zero), refs((8, 8)))
    assert (out.zeroframe[0, 1:4, 1:4] == 0).all()
    assert out.zeroframe[0, 6, 6] == 0
    assert (out.zeroframe == 0).sum() == 10


def test_reference_without_values_is_refused():
    with pytest.raises(Unprocessable, match=r"test_saturation\.fits: none of the 16 values"):
        saturation(make_ramp(np.ones((1, 2, 4, 4))), refs((4, 4), limit=np.nan))
