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
from simulator.snowballs import snowballs, together
from tests.processors.detector1.build import image, make_ramp, references

JUMP, SAT = int(DQ.JUMP_DET), int(DQ.SATURATED)
WANTED = FlatRamp(rate=5.0, ngroups=8, nints=2, shape=(256, 256))
WELL = 60000.0
"""Electrons."""
SWITCH = {"expand_large_events": True}


def events(seed="snowballs", rate=1e-6):
    return snowballs(WANTED.shape, WANTED.readout, generator(seed), rate)


@pytest.fixture(scope="module")
def scene():
    """Evenly lit ramps with snowballs, their references, and the charge that snowballs add."""
    made, rays = flat_ramp(WANTED), events()
    added = np.zeros(made.data.shape)
    for hit in zip(rays.integration, rays.group, rays.y, rays.x, rays.electrons, strict=True):
        added[hit[0], hit[1] :, hit[2], hit[3]] += hit[4]
    electrons = made.data * made.gain + added
    ramp = make_ramp(np.minimum(electrons, WELL) / made.gain, TFRAME=WANTED.tframe, TGROUP=WANTED.tframe)
    flags = np.where(electrons > WELL, SAT, 0).astype(np.uint8)
    given = references(image("gain", made.gain), image("readnoise", made.cds_noise))
    return replace(ramp, groupdq=flags), given, added, made.rate


def bias(scene, **options):
    """Return by how much rates are too large in the halos, in their standard errors, and how many pixels."""
    ramp, given, added, truth = scene
    rate = ramp_fit(jump(ramp, given, **options), given)
    charge = added[:, -1] - added[:, 0]
    halo = (charge > 5) & (charge < 60) & np.isfinite(rate.data)
    return np.mean(((rate.data - truth) / rate.err)[halo]), halo.sum()


@pytest.mark.parametrize("method", ["likelihood", "two_point"])
def test_halos_below_the_threshold_do_not_spoil_the_rates(scene, method):
    before, pixels = bias(scene, method=method)
    after, _ = bias(scene, method=method, **SWITCH)
    assert pixels > 2000
    assert before > 0.5
    assert after < 0.3 * before


def test_cores_are_flagged_in_the_next_integration_for_the_time_asked(scene):
    ramp, given, _, _ = scene
    none = jump(ramp, given, mask_snowball_core_next_int=False, **SWITCH).groupdq
    for seconds, groups in ((4000.0, 8), (4.5 * WANTED.tframe, 4), (WANTED.tframe, 1)):
        more = jump(ramp, given, snowball_time_masked_next_int=seconds, **SWITCH).groupdq
        assert (more[0] == none[0]).all()
        changed = (more != none)[1]
        cores = (none[0, -1] & SAT != 0) & (ramp.groupdq[0, 0] & SAT == 0)
        assert not changed[0].any()
        assert not changed[groups:].any()
        assert not changed[:, ~cores].any()
        assert changed[1:groups].any(axis=(1, 2)).all()


def test_blocks_of_integrations_give_the_same(scene):
    ramp, given, _, _ = scene
    blocks = [
        replace(ramp, data=ramp.data[i : i + 1], groupdq=ramp.groupdq[i : i + 1], first_integration=i)
        for i in range(2)
    ]
    settings = {"jump": StepSettings(options=JumpOptions(**SWITCH))}
    pieces = Pipeline("detector1", (jump,)).stream(blocks, given, settings, donate=False)
    flags = np.concatenate([block.groupdq for block in pieces])
    np.testing.assert_array_equal(flags, jump(ramp, given, **SWITCH).groupdq)


def test_without_events_nothing_changes(scene):
    _, given, _, _ = scene
    made = flat_ramp(replace(WANTED, hits=0.02))
    ramp = make_ramp(made.data, TFRAME=WANTED.tframe, TGROUP=WANTED.tframe)
    found = jump(ramp, given, edge_size=0, **SWITCH).groupdq
    np.testing.assert_array_equal(found, jump(ramp, given).groupdq)


def test_the_simulator_puts_them_into_exposures_and_their_truth():
    rays = events()
    assert rays.event.max() > 3
    assert rays.electrons.max() > 1e5
    both = together(events("a"), events("b"))
    assert both.y.size == events("a").y.size + events("b").y.size
    assert np.unique(both.event).size == np.unique(events("a").event).size + np.unique(events("b").event).size
