from dataclasses import replace

import numpy as np
import pytest

from processors.detector1 import jump
from processors.detector1.jump import JumpOptions
from processors.pipelines import Pipeline
from processors.ramp_fit import ramp_fit
from processors.steps import StepSettings
from schemas.dq import DQ
from simulator.detector import generator
from simulator.quick import FlatRamp, flat_ramp
from simulator.showers import showers
from tests.processors.detector1.build import MIRI, image, make_ramp, references
from tests.processors.examples import cut

JUMP = int(DQ.JUMP_DET)
WANTED = FlatRamp(
    rate=40.0, ngroups=20, nints=2, shape=(256, 256), tframe=2.775, gain=4.0, read_noise=4.0, hits=0.004
)
"""About what MIRI's imager sees at 7.7 micron."""
SWITCH = {"find_showers": True}
CARDS = MIRI | {"TFRAME": WANTED.tframe, "TGROUP": WANTED.tframe}


@pytest.fixture(scope="module")
def scene():
    """Evenly lit ramps with cosmic rays and showers, their references, and the charge that showers add."""
    made = flat_ramp(WANTED)
    rays = showers(WANTED.shape, WANTED.readout, generator("showers"), 4e-6)
    added = np.zeros((rays.event.max() + 1, *made.data.shape), np.float32)
    for hit in zip(rays.event, rays.integration, rays.group, rays.y, rays.x, rays.electrons, strict=True):
        added[hit[0], hit[1], hit[2], hit[3], hit[4]] += hit[5]
    charge = made.data + np.cumsum(added.sum(axis=0), axis=1) / made.gain
    given = references(image("gain", made.gain), image("readnoise", made.cds_noise))
    return make_ramp(charge, **CARDS), given, added, made.rate


def test_showers_that_can_be_seen_are_found(scene):
    """Those of which enough pixels have more than the threshold says: beside noise, 1.2 sigma are 1.04."""
    ramp, given, added, _ = scene
    flags = jump(ramp, given, **SWITCH).groupdq
    sigma = np.sqrt(WANTED.rate * WANTED.tframe + 2 * (WANTED.gain * WANTED.read_noise) ** 2)
    found = []
    for one in added:
        i, group = np.unravel_index(one.sum(axis=(2, 3)).argmax(), one.shape[:2])
        event = one[i, group]
        if group > 0 and (event > 1.5 * sigma).sum() > 150:
            found.append((flags[i, group][event > 1.5 * sigma] != 0).mean() > 0.9)
    assert len(found) >= 10
    assert np.mean(found) > 0.9


def test_their_pixels_are_less_wrong(scene):
    ramp, given, added, truth = scene
    total = added[:, :, 1:].sum(axis=0).max(axis=1)
    bias = []
    for options in ({}, SWITCH):
        rates = ramp_fit(jump(ramp, given, **options), given)
        pull = ((rates.data - truth) / rates.err)[(total > 20) & np.isfinite(rates.data)]
        assert pull.size > 5000
        bias.append(pull.mean())
    assert bias[0] > 0.5
    assert bias[1] < 0.4 * bias[0]


@pytest.mark.parametrize("reference", ["integration", "exposure"])
def test_there_are_no_false_alarms(scene, reference):
    _, given, _, _ = scene
    for seed in range(2):
        ramp = make_ramp(flat_ramp(replace(WANTED, seed=10 + seed)).data, **CARDS)
        found = jump(ramp, given, shower_reference=reference, **SWITCH).groupdq
        np.testing.assert_array_equal(found, jump(ramp, given).groupdq)


def test_what_follows_is_flagged_for_the_time_asked(scene):
    ramp, given, _, _ = scene
    counts = [
        (
            jump(ramp, given, time_masked_after_shower=groups * WANTED.tframe, **SWITCH).groupdq & JUMP != 0
        ).sum()
        for groups in (0, 2, 5)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_blocks_of_integrations_give_the_same(scene):
    ramp, given, _, _ = scene
    blocks = [
        replace(ramp, data=ramp.data[i : i + 1], groupdq=ramp.groupdq[i : i + 1], first_integration=i)
        for i in range(2)
    ]
    for more in ({}, {"shower_reference": "exposure"}, {"method": "two_point"}):
        options = JumpOptions(**SWITCH, **more)
        pieces = Pipeline("detector1", (jump,)).stream(
            blocks, given, {"jump": StepSettings(options=options)}, donate=False
        )
        flags = np.concatenate([block.groupdq for block in pieces])
        np.testing.assert_array_equal(flags, jump(ramp, given, **SWITCH, **more).groupdq)


@pytest.mark.parametrize(("nint", "ngroup"), [(6, 9), (20, 10), (7, 6), (1, 20)])
def test_short_integrations_are_searched_together(nint, ngroup):
    """Though each has too few differences to tell what is usual; whatever the division into blocks."""
    rng = np.random.default_rng(3)
    shape, at = (nint, ngroup, 128, 128), (nint // 2, ngroup // 2)
    data = np.cumsum(rng.poisson(50, shape), axis=1) / 4.0 + rng.normal(0, 4, shape)
    y, x = np.mgrid[:128, :128]
    event = np.hypot(y - 64, x - 64) < 20
    data[at[0], at[1] :, event] += 12.0
    flags = np.zeros(shape, np.uint8)
    flags[:, [0, -1]] = int(DQ.DO_NOT_USE)
    given = references(image("gain", np.full(shape[2:], 4.0)), image("readnoise", np.full(shape[2:], 5.6)))
    ramp = make_ramp(data, groupdq=flags, **CARDS)
    found = jump(ramp, given, **SWITCH).groupdq & JUMP != 0
    assert found[at][event].mean() > 0.9
    others = np.delete(np.arange(nint), at[0])
    assert found[others].sum() < 1e-4 * data.size
    for size in (1, 2, 5):
        parts = [cut(ramp, i, min(i + size, nint)) for i in range(0, nint, size)]
        how = {"jump": StepSettings(options=JumpOptions(**SWITCH))}
        blocks = list(Pipeline("detector1", (jump,)).stream(parts, given, how, donate=False))
        assert max(block.shape[0] for block in blocks) < max(11, size + 1)
        np.testing.assert_array_equal(np.concatenate([b.groupdq for b in blocks]) & JUMP != 0, found)
        firsts = [block.first_integration for block in blocks]
        assert firsts == list(np.cumsum([0, *(block.shape[0] for block in blocks[:-1])]))


def test_the_charge_of_showers_arrives_in_the_end():
    rays = showers(WANTED.shape, WANTED.readout, generator("a"), 1e-6)
    assert rays.event.max() > 2
    first = np.array([rays.group[rays.event == e].min() for e in np.unique(rays.event)])
    at_once = sum(
        rays.electrons[(rays.event == e) & (rays.group == g)].sum()
        for e, g in zip(np.unique(rays.event), first, strict=True)
    )
    assert 0.85 < at_once / rays.electrons.sum() < 0.97
    assert showers(WANTED.shape, WANTED.readout, generator("a"), 0.0).y.size == 0
