import numpy as np
import pytest

from processors.ramps.covariance import PixelNoise
from processors.ramps.showers import ShowerRules, flag_showers
from schemas.dq import DQ

JUMP, SAT, DNU = int(DQ.JUMP_DET), int(DQ.SATURATED), int(DQ.DO_NOT_USE)
SHAPE = (120, 150)
Y, X = np.indices(SHAPE)
NOISE = PixelNoise(np.full(SHAPE, 4.0, np.float32), np.full(SHAPE, 10.0, np.float32))
SIGMA = np.sqrt(10.0 / 4.0 + 100.0)
"""Of a difference of single reads at 10 DN per group."""


def ramps(ngroup=12, nint=1, events=(), seed=1):
    """Noisy ramps of 10 DN per group, and charge in the discs (integration, group, y, x, radius, DN)."""
    rng = np.random.default_rng(seed)
    reads = rng.normal(0, 10 / np.sqrt(2), (nint, ngroup, *SHAPE))
    data = np.cumsum(rng.poisson(40.0, reads.shape) / 4.0, axis=1) + reads
    for i, group, y, x, radius, charge in events:
        data[i, group:, np.hypot(Y - y, X - x) <= radius] += charge
    return data.astype(np.float32)


def flagged(data, groupdq=None, pixeldq=None, **rules):
    flags = np.zeros(data.shape, np.uint8) if groupdq is None else groupdq.copy()
    bad = np.zeros(SHAPE, np.uint32) if pixeldq is None else pixeldq
    number = flag_showers(data, flags, bad, 1, NOISE, ShowerRules(**rules))
    return number, flags


EVENT = (0, 5, 60, 70, 15.0, 2 * SIGMA)
DISC = np.hypot(Y - 60, X - 70)


def test_a_shower_is_flagged_in_its_group():
    number, flags = flagged(ramps(events=[EVENT]))
    assert number == 1
    assert set(np.unique(flags)) == {0, JUMP}
    assert (flags[0, 5, DISC < 14] == JUMP).all()
    assert not flags[0, 5, DISC > 22].any()
    assert not flags[0, np.arange(12) != 5].any()


def test_and_in_as_many_groups_after_it_as_asked():
    _, flags = flagged(ramps(events=[EVENT]), groups_after=3)
    assert (flags != 0).any(axis=(0, 2, 3)).nonzero()[0].tolist() == [5, 6, 7, 8]
    _, flags = flagged(ramps(events=[EVENT]), groups_after=30)
    assert (flags != 0).any(axis=(0, 2, 3)).nonzero()[0].tolist() == [5, 6, 7, 8, 9, 10, 11]


def test_noise_has_no_showers():
    assert flagged(ramps(nint=3, ngroup=30))[0] == 0


@pytest.mark.parametrize("rules", [{"min_area": 1500.0}, {"snr_threshold": 3.0}, {"min_differences": 12}])
def test_small_faint_and_short_ones_are_left(rules):
    number, flags = flagged(ramps(events=[EVENT]), **rules)
    assert number == 0
    assert not flags.any()


def test_what_is_usual_is_learnt_from_all_integrations():
    event = (1, 2, 60, 70, 15.0, 2 * SIGMA)
    number, flags = flagged(ramps(ngroup=4, nint=5, events=[event]))
    assert number == 1
    assert flags[1, 2].any()
    assert not flags[[0, 2, 3, 4]].any()


def test_among_many_integrations_a_difference_is_compared_with_its_own():
    data = ramps(ngroup=4, nint=40, events=[(7, 1, 60, 70, 15.0, 2 * SIGMA)])
    data[:, 1:] += 40.0  # as an anomaly after each reset
    number, flags = flagged(data, clip_integrations=40)
    assert number == 1
    assert flags[7, 1].any()
    assert flagged(data, clip_integrations=41)[0] >= 40


def test_flags_that_change_a_rate_too_much_are_taken_back():
    data = ramps(events=[EVENT])
    change = 2 * SIGMA / 11
    few, most, every = (
        (flagged(data, max_amplitude=limit)[1][0, 5, DISC < 14] != 0).mean()
        for limit in (0.2 * change, 3 * change, np.inf)
    )
    assert every == 1
    assert most > 0.99
    assert few < 0.1


def test_flags_that_leave_no_ramp_are_taken_back():
    data = ramps(events=[EVENT])
    flags = np.full(data.shape, 0, np.uint8)
    flags[:, 6:, 60, 70] = SAT
    flags[:, 1:5, 60, 70] = JUMP  # one difference is left
    _, found = flagged(data, flags)
    assert (found[:, :, 60, 70] == flags[:, :, 60, 70]).all()
    assert found[0, 5, 61, 70] == JUMP


def test_bad_samples_are_neither_seen_nor_lost():
    data, flags = ramps(events=[EVENT]), np.zeros((1, 12, *SHAPE), np.uint8)
    draw = np.random.default_rng(2).random(flags.shape)
    for low, bit in ((0.9, JUMP), (0.93, SAT), (0.96, DNU)):
        chosen = (draw > low) & (draw < low + 0.02)
        flags[chosen] = bit
        data[chosen] = np.nan if bit == DNU else 1e6
    number, found = flagged(data, flags)
    assert number == 1
    assert (found & ~np.uint8(JUMP) == flags & ~np.uint8(JUMP)).all()
    assert (found[flags & JUMP != 0] & JUMP != 0).all()
    assert not (found[flags & SAT != 0] & JUMP).any()
    assert (found[0, 5, DISC < 12] != 0).all()


def test_reference_pixels_stay():
    bad = np.where(X < 74, np.uint32(DQ.REFERENCE_PIXEL), np.uint32(0))
    _, flags = flagged(ramps(events=[EVENT]), pixeldq=bad, min_area=30.0)
    assert flags[..., 74:].any()
    assert not flags[..., :74].any()
