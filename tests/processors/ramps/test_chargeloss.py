"""Read-noise variances behind charge migration (parity: tests/parity/test_near_infrared.py)."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from processors.ramp_fit import average_integrations, ramp_fit
from schemas.dq import DQ
from tests.processors.detector1.build import image, make_ramp, references
from tests.processors.ramps.ramps import FRAME, planes, read_times, simulate

SHAPE = (32, 40)
LOST = np.uint8(DQ.CHARGELOSS | DQ.DO_NOT_USE)


def exposure(nint=3):
    """Ramps of which a core loses its last groups, more of them in some integrations."""
    data = np.array([simulate(read_times(8), 100.0, SHAPE, 80 + i) for i in range(nint)])
    flags = np.zeros(data.shape, np.uint8)
    flags[:, 5:, 8:16, 8:16] |= LOST
    flags[1, 3:, 8:16, 8:16] |= LOST
    flags[:, 4, 20:24] |= np.uint8(DQ.JUMP_DET)
    flags[:, 6:, 30:] |= np.uint8(DQ.SATURATED)
    flags[:, :, 0, 0] |= LOST
    cards = {"TFRAME": FRAME, "TGROUP": FRAME, "S_CHGMIG": "COMPLETE"}
    ramp = make_ramp(data, flags, **cards)
    gain, readnoise = planes(SHAPE)
    return ramp, references(image("gain", gain), image("readnoise", readnoise))


@pytest.mark.parametrize("algorithm", ["gls", "ols"])
def test_read_noise_is_that_of_the_ramp_with_the_lost_groups(algorithm):
    ramp, given = exposure()
    core = np.s_[:, 8:16, 8:16]
    got = ramp_fit(ramp, given, algorithm=algorithm)
    plain = ramp_fit(ramp.with_meta(ramp.meta.with_primary(S_CHGMIG="SKIPPED")), given, algorithm=algorithm)
    assert_array_equal(got.data, plain.data)
    assert_array_equal(got.err, plain.err)
    assert_array_equal(got.dq, plain.dq)
    outside = np.ones(got.data.shape, bool)
    outside[core] = False
    assert_array_equal(got.var_rnoise[outside], plain.var_rnoise[outside])
    assert len(np.unique(got.var_rnoise[core])) == 1
    assert_allclose(got.var_rnoise[0, 8, 8], got.var_rnoise[0, 1, 1], rtol=1e-6)
    assert (plain.var_rnoise[core] > 2 * got.var_rnoise[core]).all()
    assert np.isnan(got.data[:, 0, 0]).all()
    if algorithm == "gls":
        assert_allclose(got.err**2, got.var_poisson + got.var_rnoise, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ["gls", "ols"])
def test_averages_are_weighted_by_what_was_used(algorithm):
    ramp, given = exposure()
    rates = []
    for outcome in ("COMPLETE", "SKIPPED"):
        one = ramp.with_meta(ramp.meta.with_primary(S_CHGMIG=outcome))
        rates.append(average_integrations(ramp_fit(one, given, algorithm=algorithm), given))
    got, plain = rates
    assert_array_equal(got.data, plain.data)
    assert_allclose(got.err, plain.err, rtol=1e-6)
    assert got.var_used is None
    core = np.s_[8:16, 8:16]
    assert_allclose(got.var_rnoise[core], got.var_rnoise[1, 1], rtol=1e-5)
