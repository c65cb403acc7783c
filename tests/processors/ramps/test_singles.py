"""First groups that count alone are those of pixels that steady light saturates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from processors.ramp_fit import ramp_fit
from processors.ramps import singles
from schemas.dq import DQ
from tests.processors.detector1.build import everything, make_ramp

SHAPE = (40, 50)
JUMP, SAT, DNU = (np.uint8(bit) for bit in (DQ.JUMP_DET, DQ.SATURATED, DQ.DO_NOT_USE))
NFRAMES, GAP, TFRAME, NGROUP = 4, 1, 2.0, 4
WELL = 40000.0


def exposure(nframes=NFRAMES, zero=False, hit=None):
    """A steady star that saturates in the second group; in the other half, such a region by a hit.

    `hit` is the read, from 0, after which the hit is there; it also makes a halo of jumps.
    """
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    star, core = np.hypot(y - 20, x - 12) < 4, np.hypot(y - 20, x - 37) < 4
    halo = (np.hypot(y - 20, x - 37) < 9) & ~core
    rate = np.where(star, 2500.0, 5.0)
    reads = TFRAME * (np.arange(NGROUP)[:, None] * (nframes + GAP) + np.arange(1, nframes + 1))
    light = reads[..., None, None] * rate
    flags = np.zeros((1, NGROUP, *SHAPE), np.uint8)
    flags[:, 1:, star] = SAT
    if hit is not None:
        charge = np.where(core, WELL, np.where(halo, 2000.0, 0.0))
        light = (
            light + charge * (np.arange(NGROUP * nframes).reshape(NGROUP, nframes) >= hit)[..., None, None]
        )
        flags[:, 1:, core] = SAT
        flags[:, 1, halo] = JUMP
    frame = light[0, 0][np.newaxis] if zero else None
    given = make_ramp(
        light.mean(axis=1)[np.newaxis], groupdq=flags, zeroframe=frame, NFRAMES=nframes, GROUPGAP=GAP,
        TFRAME=TFRAME, TGROUP=TFRAME * (nframes + GAP),
    )  # fmt: skip
    return given, rate, star, core


REFERENCES = everything(SHAPE)


@pytest.mark.parametrize("zero", [True, False])
def test_steady_stars_have_their_rate(zero):
    given, rate, star, _ = exposure(zero=zero)
    found = ramp_fit(given, REFERENCES)
    np.testing.assert_allclose(found.data[0][star], rate[star], rtol=1e-5)
    assert (found.dq[0][star] == DQ.SATURATED | DQ.FLUX_ESTIMATED).all()


@pytest.mark.parametrize("hit", [1, 2, 3])
def test_part_of_a_hit_in_the_first_group_is_no_light(hit):
    given, rate, star, core = exposure(hit=hit)
    found = ramp_fit(given, REFERENCES)
    assert np.isnan(found.data[0][core]).all()
    assert (found.dq[0][core] & np.uint32(DNU)).all()
    np.testing.assert_allclose(found.data[0][star], rate[star], rtol=1e-5)


@pytest.mark.parametrize("hit", [1, 2, 3])
def test_the_zero_frame_knows_no_hit_that_came_after_it(hit):
    given, rate, star, core = exposure(zero=True, hit=hit)
    found = ramp_fit(given, REFERENCES)
    np.testing.assert_allclose(found.data[0][core], rate[core], rtol=1e-5)
    np.testing.assert_allclose(found.data[0][star], rate[star], rtol=1e-5)
    assert (found.dq[0][core] == DQ.SATURATED | DQ.FLUX_ESTIMATED).all()


def test_a_single_read_has_nothing_of_what_came_after_it():
    given, rate, star, core = exposure(nframes=1, hit=1)
    found = ramp_fit(given, REFERENCES)
    np.testing.assert_allclose(found.data[0][core | star], rate[core | star], rtol=1e-5)


@pytest.mark.parametrize("nframes", [1, NFRAMES])
def test_ramps_that_jump_have_none(nframes):
    """The group before may have part of the hit, or traps that a core filled in the integration before."""
    given, _, star, _ = exposure(nframes=nframes)
    given.groupdq[:, 1:, star] = JUMP
    found = ramp_fit(given, REFERENCES)
    assert np.isnan(found.data[0][star]).all()
    assert not (found.dq[0][star] & np.uint32(DQ.FLUX_ESTIMATED)).any()


def test_jumps_behind_saturation_do_not_matter():
    flags = np.zeros((3, 1, 3), np.uint8)
    flags[1] = SAT
    flags[2, 0, 1], flags[1, 0, 2] = JUMP | SAT, JUMP
    where = singles.unlit((np.zeros(3, int), np.arange(3)), flags, np.zeros((1, 3), np.uint32))
    assert where.tolist() == [False, False, True]


def by_definition(pixels, flags):
    """The same, region by region: how many of the pixels within 3 that are not full jump."""
    mask = np.zeros(flags.shape[1:], bool)
    mask[pixels] = True
    labels, number = ndimage.label(mask, np.ones((3, 3)))
    event = np.zeros(number + 1, bool)
    for label in range(1, number + 1):
        near = ndimage.binary_dilation(labels == label, np.ones((3, 3)), iterations=singles.RING)
        ring = near & ((flags[1] & SAT) == 0)
        event[label] = ((flags[1] & JUMP) != 0)[ring].sum() > singles.HALO * ring.sum()
    return event[labels[pixels]]


def fields():
    """Yield where single groups are, and the flags of the next, in fields of many kinds."""
    rng = np.random.default_rng(4)
    for shape in ((1, 1), (2, 9), (3, 3), (7, 7), (31, 26)):
        for part in (0.02, 0.15, 0.5, 1.0):
            for full in (0.0, 0.3, 1.0):
                yield rng.random(shape) < part, rng.random(shape) < full, rng.random(shape) < 0.25
    y, x = np.mgrid[:40, :40]
    quarter = (x + 2 * y) % 4 == 0
    yield (y % 2 == 0) & (x % 2 == 0), np.zeros((40, 40), bool), quarter  # 16 around a pixel
    yield (x + y) % 2 == 0, (x + y) % 4 == 0, quarter  # all of them one
    rings = np.maximum(abs(y - 20), abs(x - 20)) % 4 == 0
    yield rings, x % 8 == 0, rng.random((40, 40)) < 0.3


def test_regions_are_judged_as_if_each_was_looked_at_alone():
    answers = []
    for where, full, jumped in fields():
        flags = np.zeros((3, *where.shape), np.uint8)
        flags[1] = np.where(where | full, SAT, 0) * (full | ~jumped) | np.where(jumped, JUMP, 0)
        pixels = np.nonzero(where)
        answers.append(singles.in_events(pixels, flags))
        np.testing.assert_array_equal(answers[-1], by_definition(pixels, flags))
    told = np.concatenate(answers)
    assert 0.1 < told.mean() < 0.9
