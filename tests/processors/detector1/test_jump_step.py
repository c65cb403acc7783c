import numpy as np
import pytest

from processors.detector1 import jump
from schemas.dq import DQ
from schemas.errors import Unprocessable, UsageError
from simulator.quick import FlatRamp, flat_ramp
from tests.processors.detector1.build import image, make_ramp, references

JUMP = int(DQ.JUMP_DET)


def hit(**more):
    """Ramps with hits of 2000 to 20000 electrons, far beyond the noise, and their references."""
    wanted = FlatRamp(
        rate=20.0, ngroups=8, nints=2, hits=0.05, hit_electrons=(2000.0, 20000.0), shape=(64, 64)
    )
    made = flat_ramp(wanted)
    times = {"TFRAME": wanted.tframe, "TGROUP": wanted.tframe}
    return make_ramp(made.data, **times, **more), refs(made), made.hit_groups


def refs(made):
    return references(image("gain", made.gain), image("readnoise", made.cds_noise))


@pytest.mark.parametrize("method", ["likelihood", "two_point"])
def test_hits_are_found_and_nothing_else(method):
    ramp, given, truth = hit()
    found = jump(ramp, given, method=method, flag_4_neighbors=False).groupdq & JUMP != 0
    truth = truth.copy()
    truth[:, 0] = False  # a hit in the first group makes no difference between groups
    assert truth.sum() > 200
    assert found[truth].mean() > 0.97
    assert found[~truth].mean() < (1e-3 if method == "likelihood" else 2e-3)


def test_neighbours():
    ramp, given, _ = hit()
    alone = jump(ramp, given, flag_4_neighbors=False).groupdq & JUMP != 0
    spread = jump(ramp, given, max_jump_to_flag_neighbors=1e9).groupdq & JUMP != 0
    assert spread[alone].all()
    assert spread.sum() > 3 * alone.sum()


def test_groups_after_a_big_jump():
    ramp, given, _ = hit()
    options = {"flag_4_neighbors": False}
    alone = jump(ramp, given, **options).groupdq & JUMP != 0
    after = (
        jump(ramp, given, after_jump_flag_dn1=100, after_jump_flag_time1=22.0, **options).groupdq & JUMP != 0
    )
    follows = np.zeros_like(alone)
    follows[:, 1:] |= alone[:, :-1]
    follows[:, 2:] |= alone[:, :-2]
    assert after.sum() > 2 * alone.sum()
    assert not (after & ~(alone | follows)).any()


def test_two_groups_are_too_few():
    ramp, given, _ = hit()
    short = make_ramp(ramp.data[:, :2])
    record = jump(short, given).meta.provenance.steps[-1]
    assert record.outcome == "not applicable"
    assert "2 groups are too few" in record.reason


def test_pixels_without_gain_are_left_alone():
    ramp, given, _ = hit()
    gain = given.image("gain").data.copy()
    gain[10, 10], gain[11, 11] = 0, np.nan
    out = jump(ramp, references(image("gain", gain), given["readnoise"]), flag_4_neighbors=False)
    assert (out.groupdq[:, :, [10, 11], [10, 11]] == 0).all()


def test_what_is_wrong_is_said():
    ramp, given, _ = hit()
    empty = references(image("gain", np.zeros((64, 64))), given["readnoise"])
    with pytest.raises(
        Unprocessable, match=r"step jump: test_gain\.fits: none of the .* finite and positive"
    ):
        jump(ramp, empty)
    with pytest.raises(Unprocessable, match="no 'gain' reference"):
        jump(ramp, references(given["readnoise"]))
    with pytest.raises(UsageError, match="rejection_threshold"):
        jump(ramp, given, rejection_threshold=-1)
    bare = ramp.with_meta(ramp.meta.with_primary(TFRAME=None))
    with pytest.raises(Unprocessable, match="lacks TFRAME"):
        jump(bare, given)
