"""Large events against the standard pipeline's own functions, on the same arrays.

| what | tolerance | differences that are meant |
| --- | --- | --- |
| snowballs | 99.5 % of their flags | rounding decides on an ellipse's edge; other flags stay in a core |
| showers | 99.9 % of their flags | rounding, there also of single precision in sums; a group with any flag
beside JUMP_DET, SATURATED or DO_NOT_USE is left out too |

The standard pipeline's step does not hand its option ``max_shower_amplitude`` on: it takes 6 electrons per
second whatever is asked. Its function is given the value here.
"""

import numpy as np
import pytest

from processors.detector1 import jump
from processors.ramps.covariance import PixelNoise
from processors.ramps.showers import ShowerRules, flag_showers
from processors.ramps.snowballs import SnowballRules, flag_in_turn
from schemas.dq import DQ
from simulator.detector import generator
from simulator.quick import FlatRamp, flat_ramp
from simulator.showers import showers
from tests.parity import functions
from tests.processors.detector1.build import image, make_ramp, references

pytestmark = pytest.mark.peer

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from stcal.jump.jump import find_faint_extended, flag_large_events
from stcal.jump.jump_class import JumpData
from jwst.jump import JumpStep
from stdatamodels.jwst.datamodels import GainModel, RampModel, ReadnoiseModel, dqflags


def snowballs(a, jump):
    jump.set_snowball_info(True, 5.0, 1.0, float(a["expand"]), True, 2.5, 2, 25)
    jump.max_extended_width = 400
    jump.mask_persist_grps_next_int, jump.persist_grps_flagged = True, int(a["groups"])
    return flag_large_events(a["groupdq"].copy(), jump.fl_jump, jump.fl_sat, jump)[0], 0


def showers(a, jump):
    jump.nframes = int(a["nframes"])
    jump.set_shower_info(True, 1.2, 90, 1, 2.6, 1.1, 10, 400)
    jump.set_sigma_clipping_info(3, int(a["clip"]), True)
    jump.grps_masked_after_shower = int(a["after"])
    jump.max_shower_amplitude = float(a["largest"])
    noise = a["readnoise"] * a["gain"]
    return find_faint_extended(a["data"] * a["gain"], a["groupdq"], a["pixeldq"], noise, jump)


def step(a, jump):
    plane = np.ones(a["groupdq"].shape[2:], "f4")
    model = RampModel()
    model.data, model.groupdq = a["data"].copy(), a["groupdq"].copy()
    model.pixeldq = np.zeros(plane.shape, "u4")
    model.meta.instrument.name, model.meta.instrument.detector = "NIRCAM", "NRCA1"
    model.meta.exposure.type = "NRC_IMAGE"
    exposure, subarray = model.meta.exposure, model.meta.subarray
    exposure.nframes, exposure.groupgap, exposure.frame_time, exposure.group_time = 1, 0, 10.0, 10.0
    exposure.ngroups, exposure.nints = a["data"].shape[1], a["data"].shape[0]
    subarray.xstart = subarray.ystart = 1
    subarray.ysize, subarray.xsize = plane.shape
    subarray.fastaxis, subarray.slowaxis = -1, 2
    how = JumpStep(expand_large_events=True, sat_expand=int(a["sat_expand"]))
    for name, kind, value in (("gain", GainModel, 2.0), ("readnoise", ReadnoiseModel, 10.0)):
        reference = kind(data=plane * value)
        reference.meta.subarray.xstart = reference.meta.subarray.ystart = 1
        reference.meta.subarray.ysize, reference.meta.subarray.xsize = plane.shape
        reference.meta.subarray.fastaxis, reference.meta.subarray.slowaxis = -1, 2
        setattr(how, "override_" + name, reference)
    return how.process(model).groupdq, 0


for source in Path(sys.argv[1]).glob("*_in.npz"):
    a = dict(np.load(source))
    groupdq, number = globals()[str(a["task"])](a, JumpData(dqflags=dqflags.pixel))
    np.savez(str(source).replace("_in.npz", "_out.npz"), groupdq=groupdq, number=number)
"""


def large_events(shape=(160, 160), nint=3, ngroups=6, seed=5):
    """Flags with events of all sizes, round and long ones, with and without saturated cores."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    groupdq = (rng.random((nint, ngroups, *shape)) < 0.01).astype(np.uint8) * np.uint8(DQ.JUMP_DET)
    for _ in range(12 * nint):
        i, g = rng.integers(nint), rng.integers(1, ngroups)
        y0, x0, angle = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(0, np.pi)
        size = rng.uniform(2, 12)
        along, across = (y - y0) * np.cos(angle) + (x - x0) * np.sin(angle), 0
        across = (y - y0) * np.sin(angle) - (x - x0) * np.cos(angle)
        radius = np.hypot(along, across * rng.uniform(1, 2)) / size
        core = radius < rng.choice([0, 0.3, 0.6])
        groupdq[i, g, (radius <= 1) & ~core] |= np.uint8(DQ.JUMP_DET)
        groupdq[i, min(g + rng.integers(0, 2), ngroups - 1) :, core] |= np.uint8(DQ.SATURATED)
    saturated = groupdq & DQ.SATURATED != 0
    groupdq[saturated] &= ~np.uint8(DQ.JUMP_DET)
    return {"groupdq": groupdq, "task": "snowballs"}


SNOWBALLS = {
    f"snowballs by {expand}, {groups} groups": (expand, groups) for expand, groups in ((2.0, 4), (1.5, 20))
}


STEPS = {f"step that grows cores by {number}": number for number in (2, 0, 4)}


def steady_ramps_with_cores(number):
    """Ramps without noise, and in their flags round patches around saturated cores of several sizes."""
    shape = (2, 6, 160, 160)
    y, x = np.indices(shape[2:])
    groupdq = np.zeros(shape, np.uint8)
    for k, size in enumerate((2, 3, 4, 6, 8)):
        radius = np.hypot(y - 80 + 20 * (-1) ** k, x - 20 - 30 * k)
        groupdq[0, 2, radius <= 2.2 * size] |= np.uint8(DQ.JUMP_DET)
        groupdq[0, 2:, radius <= size] = np.uint8(DQ.SATURATED)
    data = 100 * np.arange(shape[1], dtype=np.float32)[:, None, None] + np.zeros(shape, np.float32)
    return {"task": "step", "groupdq": groupdq, "data": data, "sat_expand": number}


SHOWERS = {
    "showers in one integration": {"after": 2},
    "showers in averaged groups": {"after": 0, "nframes": 4, "nints": 2},
    "showers that change rates too much": {"after": 1, "largest": 8.0},
    "showers in many integrations": {"after": 1, "ngroups": 4, "nints": 12, "clip": 10},
    "too few groups for showers": {"after": 1, "ngroups": 10},
}
GAIN = 4.0


def faint_events(after, largest=100.0, clip=100, **how):
    """Ramps with showers and flags of all kinds."""
    wanted = FlatRamp(**{"shape": (160, 200), "ngroups": 14, "gain": GAIN, "tframe": 2.8} | how)
    made, rng = flat_ramp(wanted), np.random.default_rng(7)
    rays = showers(wanted.shape, wanted.readout, generator("parity"), 1.5e-5)
    data = made.data
    for hit in zip(rays.integration, rays.group, rays.y, rays.x, rays.electrons, strict=True):
        data[hit[0], hit[1] :, hit[2], hit[3]] += hit[4] / GAIN
    draw = rng.random(data.shape)
    groupdq = np.where(draw < 0.01, np.uint8(DQ.JUMP_DET), np.uint8(0))
    groupdq[(draw > 0.995)] |= np.uint8(DQ.DO_NOT_USE)
    groupdq[:, [0, -1]] |= np.uint8(DQ.DO_NOT_USE) if data.shape[1] > 9 else np.uint8(0)
    groupdq[:, 4:, 30:40, 50:70] |= np.uint8(DQ.SATURATED)
    groupdq[groupdq & np.uint8(DQ.SATURATED | DQ.DO_NOT_USE) != 0] &= ~np.uint8(DQ.JUMP_DET)
    pixeldq = np.where(rng.random(wanted.shape) < 0.01, DQ.DO_NOT_USE, 0).astype(np.uint32)
    pixeldq[:, :4] = DQ.REFERENCE_PIXEL
    return {
        "task": "showers", "data": data, "groupdq": groupdq, "pixeldq": pixeldq, "gain": made.gain,
        "readnoise": made.cds_noise, "nframes": wanted.nframes, "after": after, "largest": largest,
        "clip": clip,
    }  # fmt: skip


@pytest.fixture(scope="module")
def answers(need_peer, tmp_path_factory):
    """What is given and what the standard pipeline's functions make of it: one start of its interpreter."""
    folder = tmp_path_factory.mktemp("large")
    given = {name: faint_events(**how) for name, how in SHOWERS.items()}
    for name, (expand, groups) in SNOWBALLS.items():
        given[name] = {**large_events(), "expand": expand, "groups": groups}
    given |= {name: steady_ramps_with_cores(number) for name, number in STEPS.items()}
    found = functions.answers(given, folder, SCRIPT)
    return {name: (arrays, found[name]) for name, arrays in given.items()}


@pytest.mark.parametrize("name", SNOWBALLS)
def test_snowballs(answers, name):
    given, want = answers[name]
    got = given["groupdq"].copy()
    flag_in_turn(got, SnowballRules(expand_factor=given["expand"]), given["groups"], None)
    changed = want["groupdq"] != given["groupdq"]
    assert changed.sum() > 4000
    assert (got != want["groupdq"]).sum() < 0.005 * changed.sum()


@pytest.mark.parametrize("name", STEPS)
def test_the_step_grows_cores_as_far(answers, name):
    """Option by option, not function by function: theirs doubles the number on its way."""
    given, want = answers[name]
    plane = np.ones(given["data"].shape[2:])
    ramp = make_ramp(given["data"], groupdq=given["groupdq"].copy())
    noise = references(image("gain", 2 * plane), image("readnoise", 10 * plane))
    options = {"expand_large_events": True, "sat_expand": given["sat_expand"], "method": "two_point"}
    got = jump(ramp, noise, **options).groupdq
    for bit in (DQ.SATURATED, DQ.JUMP_DET):
        expected = want["groupdq"] & np.uint8(bit) != 0
        assert expected.sum() > 1000
        assert ((got & np.uint8(bit) != 0) != expected).sum() < 0.01 * expected.sum()


@pytest.mark.parametrize("name", SHOWERS)
def test_showers(answers, name):
    given, want = answers[name]
    got = given["groupdq"].copy()
    rules = ShowerRules(
        groups_after=given["after"], max_amplitude=given["largest"] / GAIN, clip_integrations=given["clip"]
    )
    noise = PixelNoise(given["gain"], given["readnoise"])
    number = flag_showers(given["data"], got, given["pixeldq"], given["nframes"], noise, rules)
    assert number == want["number"]
    changed = want["groupdq"] != given["groupdq"]
    assert changed.sum() > 2000 or (name.startswith("too few") and number == 0)
    assert (got != want["groupdq"]).sum() <= 0.001 * changed.sum()
