"""Ramps that saturate at once: rates from the first group, or from the zero frame."""

import numpy as np
import pytest

from processors.detector1.readout import read_pattern
from processors.ramp_fit import average_integrations, ramp_fit
from processors.ramps import gls
from schemas.dq import DQ
from schemas.products import concatenate
from tests.processors.detector1.build import everything, make_ramp

SHAPE = (2, 4, 10, 12)
REFERENCES = everything(SHAPE[2:], gain=2.0, readnoise=6.0)
NFRAMES, GAP, TFRAME = 4, 1, 2.0
RATE = 3000.0
BOTH = pytest.mark.parametrize("algorithm", ["gls", "ols"])
SAT = np.uint8(DQ.SATURATED)


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
def test_by_default_they_have_no_rate(algorithm):
    rate = ramp_fit(ramps(), REFERENCES, algorithm=algorithm)
    assert np.isnan(rate.data[..., :8]).all()
    np.testing.assert_allclose(rate.data[..., 8:], RATE, rtol=1e-5)


@BOTH
def test_where_single_groups_count_they_have_one(algorithm):
    rate = ramp_fit(ramps(), REFERENCES, algorithm=algorithm, suppress_one_group=False)
    assert np.isnan(rate.data[..., 0]).all()
    assert (rate.dq[..., 0] & np.uint32(DQ.DO_NOT_USE)).all()
    np.testing.assert_allclose(rate.data[..., 4:], RATE, rtol=1e-5)
    assert not (rate.dq[..., 1:] & np.uint32(DQ.DO_NOT_USE)).any()
    assert (rate.dq[..., 1:8] & np.uint32(DQ.SATURATED)).all()
    deviation = (rate.data[..., 1:4] - RATE) / rate.err[..., 1:4]
    assert np.abs(deviation).max() < 5


@BOTH
def test_only_their_rates_come_from_the_zero_frame(algorithm):
    how = {"algorithm": algorithm, "suppress_one_group": False}
    with_, without = (ramp_fit(ramps(zero=z), REFERENCES, **how) for z in (True, False))
    for name, plane in with_.arrays().items():
        np.testing.assert_array_equal(plane[..., 4:], without.arrays()[name][..., 4:])
    assert np.isnan(without.data[..., :4]).all()


def test_errors_are_those_of_a_single_read():
    shape = (120, 120)
    given = ramps(nint=1, shape=shape)
    given.zeroframe[..., 0] = given.zeroframe[..., 1]
    rate = ramp_fit(given, everything(shape), suppress_one_group=False)
    pulls = ((rate.data - RATE) / rate.err)[..., 1:4]
    assert abs(pulls.std() - 1) < 0.15
    many = np.stack([ramps(nint=1, shape=shape, seed=s).zeroframe[..., 1:4] for s in range(30)])
    assert abs(many.std() / TFRAME / rate.err[..., 1:4].mean() - 1) < 0.02


def test_shares_are_relative_to_a_whole_ramp():
    rate = ramp_fit(ramps(), REFERENCES, suppress_one_group=False)
    whole = gls.whole_information(read_pattern(ramps().meta, SHAPE[1]))
    np.testing.assert_allclose(rate.shares[:, 0, :, 1:4], TFRAME**2 / whole[0], rtol=1e-5)
    np.testing.assert_allclose(rate.shares[:, 1, :, 1:4], TFRAME / whole[1], rtol=1e-5)
    mean = average_integrations(rate, REFERENCES)
    expected = rate.data[..., 1:4].mean(axis=0)
    np.testing.assert_allclose(mean.data[..., 1:4], expected, rtol=1e-3)


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
    whole = ramp_fit(given, REFERENCES, suppress_one_group=False)
    assert {name: array.tobytes() for name, array in given.arrays().items()} == kept
    blocks = [ramps(nint=3) for _ in range(3)]
    cut = [
        type(b)(
            meta=b.meta, data=b.data[i : i + 1], groupdq=b.groupdq[i : i + 1], pixeldq=b.pixeldq,
            zeroframe=b.zeroframe[i : i + 1], first_integration=i,
        )
        for i, b in enumerate(blocks)
    ]  # fmt: skip
    joined = concatenate([ramp_fit(block, REFERENCES, suppress_one_group=False) for block in cut])
    for name, array in whole.arrays().items():
        assert joined.arrays()[name].tobytes() == array.tobytes(), name
