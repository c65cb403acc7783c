"""Ramps that saturate at once: rates from the first group, or from the zero frame."""

import numpy as np
import pytest

from processors.detector1 import saturation
from processors.detector1.readout import read_pattern
from processors.ramp_fit import average_integrations, ramp_fit
from processors.ramps import gls, ols, zeroframe
from processors.ramps.covariance import PixelNoise
from schemas.dq import DQ
from schemas.products import concatenate
from tests.processors.detector1.build import everything, image, make_ramp, references

SHAPE = (2, 4, 10, 12)
REFERENCES = everything(SHAPE[2:], gain=2.0, readnoise=6.0)
NFRAMES, GAP, TFRAME = 4, 1, 2.0
RATE = 3000.0
BOTH = pytest.mark.parametrize("algorithm", ["gls", "ols"])
DNU, JUMP, SAT, PERSISTS = (
    np.uint8(bit) for bit in (DQ.DO_NOT_USE, DQ.JUMP_DET, DQ.SATURATED, DQ.PERSISTENCE)
)
ESTIMATED = np.uint32(DQ.FLUX_ESTIMATED)


def ramps(rate=RATE, seed=1, zero=True, nint=2, shape=SHAPE[2:]):
    """Steady light; columns 0 to 3 saturated from the first group on, 4 to 7 from the second."""
    rng = np.random.default_rng(seed)
    times = TFRAME * (np.arange(SHAPE[1]) * (NFRAMES + GAP) + (NFRAMES + 1) / 2)
    data = np.broadcast_to((rate * times)[:, None, None], (nint, SHAPE[1], *shape)).copy()
    frame = rng.poisson(2 * rate * TFRAME, (nint, *shape)) / 2 + rng.normal(0, 6 / np.sqrt(2), (nint, *shape))
    flags = np.zeros(data.shape, np.uint8)
    flags[..., :4], flags[:, 1:, :, 4:8] = SAT, SAT
    frame[..., 0] = 0
    return make_ramp(
        data, groupdq=flags, zeroframe=frame if zero else None, NINTS=nint, NFRAMES=NFRAMES, GROUPGAP=GAP,
        TFRAME=TFRAME, TGROUP=TFRAME * (NFRAMES + GAP),
    )  # fmt: skip


@BOTH
def test_where_single_groups_are_suppressed_they_have_no_rate(algorithm):
    rate = ramp_fit(ramps(), REFERENCES, algorithm=algorithm, suppress_one_group=True)
    assert np.isnan(rate.data[..., :8]).all()
    np.testing.assert_allclose(rate.data[..., 8:], RATE, rtol=1e-5)


@BOTH
def test_by_default_they_have_one(algorithm):
    rate = ramp_fit(ramps(), REFERENCES, algorithm=algorithm)
    assert np.isnan(rate.data[..., 0]).all()
    assert (rate.dq[..., 0] & np.uint32(DQ.DO_NOT_USE)).all()
    np.testing.assert_allclose(rate.data[..., 4:], RATE, rtol=1e-5)
    assert not (rate.dq[..., 1:] & np.uint32(DQ.DO_NOT_USE)).any()
    assert (rate.dq[..., 1:8] & np.uint32(DQ.SATURATED)).all()
    deviation = (rate.data[..., 1:4] - RATE) / rate.err[..., 1:4]
    assert np.abs(deviation).max() < 5
    estimated = (rate.dq & ESTIMATED) != 0
    assert not estimated[..., 8:].any()
    assert estimated[..., 1:8].all() if algorithm == "gls" else not estimated.any()
    assert not estimated[..., 0].any()


@BOTH
@pytest.mark.parametrize("bits", [PERSISTS, JUMP, np.uint8(DQ.CHARGELOSS), np.uint8(DQ.AD_FLOOR)])
def test_flags_that_leave_no_group_out_do_not_call_for_the_zero_frame(algorithm, bits):
    """Above all PERSISTENCE, which a pixel has in all groups."""
    given = ramps()
    given.groupdq[..., 8:] = bits
    zero = given.zeroframe.copy()
    given.zeroframe[:] = 1e4  # has nothing to do with the ramps
    how = {"algorithm": algorithm, "suppress_one_group": False}
    found = ramp_fit(given, REFERENCES, **how)
    given.zeroframe[:] = zero
    expected = ramp_fit(given, REFERENCES, **how)
    np.testing.assert_array_equal(found.data[..., 8:], expected.data[..., 8:])
    np.testing.assert_array_equal(found.err[..., 8:], expected.err[..., 8:])
    if bits == PERSISTS:
        np.testing.assert_allclose(found.data[..., 8:], RATE, rtol=1e-5)


def test_the_median_rate_knows_no_zero_frame_either_where_groups_are_good():
    given = ramps()
    given.groupdq[..., 8:] = PERSISTS
    rows, columns = zeroframe.without_groups(given.groupdq[0], given.zeroframe[0])
    assert set(columns.tolist()) == {1, 2, 3}
    assert rows.size == 3 * SHAPE[2]


def test_of_averaged_groups_and_persistence_all_groups_count():
    """As the review found it: DEEP8, where the zero frame is a twentieth of a group's time."""
    nframes, gap, shape = 8, 12, (6, 7)
    times = TFRAME * (np.arange(4) * (nframes + gap) + (nframes + 1) / 2)
    data = np.broadcast_to((100.0 * times)[:, None, None], (1, 4, *shape))
    given = make_ramp(
        data.copy(), groupdq=np.full(data.shape, PERSISTS), zeroframe=np.full((1, *shape), 100.0 * TFRAME),
        NFRAMES=nframes, GROUPGAP=gap, TFRAME=TFRAME, TGROUP=TFRAME * (nframes + gap),
    )  # fmt: skip
    for algorithm in ("gls", "ols"):
        rate = ramp_fit(given, everything(shape), algorithm=algorithm, suppress_one_group=False)
        np.testing.assert_allclose(rate.data, 100.0, rtol=1e-5)
        assert (rate.dq == DQ.PERSISTENCE).all()


@pytest.mark.parametrize("bits", [0, PERSISTS, np.uint8(DQ.CHARGELOSS)])
def test_later_groups_are_never_taken_up_with_times_that_are_none(bits):
    given, shape = ramps(), SHAPE[2:]
    data, flags = given.data[0], given.groupdq[0].copy()
    flags[1:, :, 8:] = bits
    noise = PixelNoise(np.full(shape, 2, np.float32), np.full(shape, 6, np.float32))
    pixels = np.nonzero(np.arange(shape[1]) >= np.full(shape, 8))
    planes = (data, flags, given.zeroframe[0], given.pixeldq)
    pattern, timing = (
        read_pattern(given.meta, SHAPE[1]),
        ols.Timing(TFRAME * (NFRAMES + GAP), TFRAME, NFRAMES),
    )
    expected = given.zeroframe[0][pixels] / TFRAME
    fit = gls.fit_slopes(data, flags, pattern, noise)
    found = zeroframe.fit_gls(fit, pixels, planes, pattern, noise, TFRAME)
    np.testing.assert_allclose(found.slope[pixels], expected, rtol=1e-6)
    fit = ols.fit_slopes(data, flags, timing, noise)
    found = zeroframe.fit_ols(fit, pixels, planes, timing, noise, np.full(shape, RATE))
    np.testing.assert_allclose(found.slope[pixels], expected, rtol=1e-6)


@BOTH
def test_what_persistence_has_them_leave_out_is_left_out(algorithm):
    given = ramps()
    given.groupdq[0, :, :4, 1:4] |= PERSISTS | DNU
    given.groupdq[0, :, 4:, 1:4] |= PERSISTS
    rate = ramp_fit(given, REFERENCES, algorithm=algorithm)
    assert np.isnan(rate.data[0, :4, 1:4]).all()
    assert np.isfinite(rate.data[0, 4:, 1:4]).all()
    assert (rate.dq[0, :, 1:4] & np.uint32(DQ.PERSISTENCE)).all()


@BOTH
def test_the_first_groups_flags_are_kept(algorithm):
    given = ramps()
    given.groupdq[:, 0, :, 1:4] |= PERSISTS
    rate = ramp_fit(given, REFERENCES, algorithm=algorithm)
    assert (rate.dq[..., 1:4] & np.uint32(DQ.PERSISTENCE)).all()
    assert not (rate.dq[..., 1:4] & np.uint32(DQ.DO_NOT_USE)).any()


@BOTH
def test_dead_and_reference_pixels_have_none(algorithm):
    given = ramps()
    given.pixeldq[2] = np.uint32(DQ.DO_NOT_USE | DQ.DEAD)
    given.pixeldq[3] = np.uint32(DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL)
    rate = ramp_fit(given, REFERENCES, algorithm=algorithm)
    assert np.isnan(rate.data[:, 2:4]).all()
    assert (rate.dq[:, 2:4] & np.uint32(DQ.DO_NOT_USE)).all()
    assert not (rate.dq[:, 2:4] & ESTIMATED).any()
    assert np.isfinite(rate.data[:, 4:, 1:]).all()


@BOTH
def test_without_a_zero_frame_those_saturated_from_the_start_have_none(algorithm):
    rate = ramp_fit(ramps(zero=False), REFERENCES, algorithm=algorithm)
    lost = np.uint32(DQ.DO_NOT_USE | DQ.SATURATED)
    assert np.isnan(rate.data[..., :4]).all()
    assert ((rate.dq[..., :4] & lost) == lost).all()


@BOTH
def test_only_their_rates_come_from_the_zero_frame(algorithm):
    how = {"algorithm": algorithm}
    with_, without = (ramp_fit(ramps(zero=z), REFERENCES, **how) for z in (True, False))
    for name, plane in with_.arrays().items():
        np.testing.assert_array_equal(plane[..., 4:], without.arrays()[name][..., 4:])
    assert np.isnan(without.data[..., :4]).all()


def test_errors_are_those_of_a_single_read():
    shape = (120, 120)
    given = ramps(nint=1, shape=shape)
    given.zeroframe[..., 0] = given.zeroframe[..., 1]
    rate = ramp_fit(given, everything(shape))
    pulls = ((rate.data - RATE) / rate.err)[..., 1:4]
    assert abs(pulls.std() - 1) < 0.15
    many = np.stack([ramps(nint=1, shape=shape, seed=s).zeroframe[..., 1:4] for s in range(30)])
    assert abs(many.std() / TFRAME / rate.err[..., 1:4].mean() - 1) < 0.02


def test_shares_are_relative_to_a_whole_ramp():
    rate = ramp_fit(ramps(), REFERENCES)
    whole = gls.whole_information(read_pattern(ramps().meta, SHAPE[1]))
    np.testing.assert_allclose(rate.shares[:, 0, :, 1:4], TFRAME**2 / whole[0], rtol=1e-5)
    np.testing.assert_allclose(rate.shares[:, 1, :, 1:4], TFRAME / whole[1], rtol=1e-5)
    mean = average_integrations(rate, REFERENCES)
    expected = rate.data[..., 1:4].mean(axis=0)
    np.testing.assert_allclose(mean.data[..., 1:4], expected, rtol=1e-3)


@pytest.mark.parametrize("ngroup", [1, 2])
def test_light_that_saturates_within_the_last_group_has_its_rate(ngroup):
    """From the zero frame, or from the first of two groups, instead of one that is too low."""
    shape, limit = (6, 8), 50000.0
    last = TFRAME * ((ngroup - 1) * (NFRAMES + GAP) + NFRAMES)
    rate = np.where(np.arange(8) < 4, 0.5, 1.15) * limit / last
    frames = TFRAME * (np.arange(ngroup)[:, None] * (NFRAMES + GAP) + np.arange(1, NFRAMES + 1))
    light = np.minimum(frames[..., None, None] * rate, limit) + np.zeros(shape)
    data = light.mean(axis=1)[np.newaxis]
    assert data.max() < limit
    for zero in (light[0, 0][np.newaxis], None):
        given = make_ramp(
            data,
            zeroframe=zero,
            NFRAMES=NFRAMES,
            GROUPGAP=GAP,
            TFRAME=TFRAME,
            TGROUP=TFRAME * (NFRAMES + GAP),
        )
        flagged = saturation(given, references(image("saturation", np.full(shape, limit))), n_pix_grow_sat=0)
        found = ramp_fit(flagged, everything(shape))
        bright = found.dq[..., 4:]
        assert (bright & np.uint32(DQ.SATURATED)).all()
        if zero is None and ngroup == 1:
            assert (bright & np.uint32(DQ.DO_NOT_USE)).all()
        else:
            np.testing.assert_allclose(found.data[0], np.broadcast_to(rate, shape), rtol=1e-5)
            assert (bright & ESTIMATED).all()


def test_one_group_needs_no_permission():
    data = np.full((1, 1, 4, 4), 60000.0)
    zero = np.full((1, 4, 4), 30000.0)
    given = make_ramp(data, groupdq=np.full(data.shape, SAT), zeroframe=zero, NFRAMES=4, TFRAME=2.0)
    for algorithm in ("gls", "ols"):
        rate = ramp_fit(given, everything((4, 4)), algorithm=algorithm)
        np.testing.assert_allclose(rate.data, 15000.0, rtol=1e-6)


def test_inputs_stay_and_blocks_change_no_byte():
    given = ramps(nint=3)
    kept = {name: array.tobytes() for name, array in given.arrays().items()}
    whole = ramp_fit(given, REFERENCES)
    assert {name: array.tobytes() for name, array in given.arrays().items()} == kept
    blocks = [ramps(nint=3) for _ in range(3)]
    cut = [
        type(b)(
            meta=b.meta, data=b.data[i : i + 1], groupdq=b.groupdq[i : i + 1], pixeldq=b.pixeldq,
            zeroframe=b.zeroframe[i : i + 1], first_integration=i,
        )
        for i, b in enumerate(blocks)
    ]  # fmt: skip
    joined = concatenate([ramp_fit(block, REFERENCES) for block in cut])
    for name, array in whole.arrays().items():
        assert joined.arrays()[name].tobytes() == array.tobytes(), name
