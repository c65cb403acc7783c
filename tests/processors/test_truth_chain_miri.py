"""MIRI's stage 1, raw to rate, against what was put into the simulated exposure.

Bounds are those of ``test_truth_chain``.

The exposures have the pedestal in their non-linear ramps, anomalies after resets, a trace of the integration
before, the effects of first and last frames, darks that differ between integrations, and interference; full
frames have drifts of the outputs too, of which reference pixels tell with noise of their own.
"""

from __future__ import annotations

import numpy as np
import pytest

from processors.detector1 import detector1_of
from processors.ramp_fit import RAMP_FIT
from processors.steps import StepSettings
from schemas.dq import DQ
from simulator.observation import Request
from tests.processors.chains import fixtures

MIRI = {"exp_type": "MIR_IMAGE", "detectors": ("MIRIMAGE",), "filter": "F770W", "pattern": "FASTR1"}
CASES = {
    "subarray": Request(**MIRI, subarray="SUB256", ngroups=10, nints=3, dithers=1, seed=31, interference=5.0),
    "full": Request(**MIRI, subarray="FULL", ngroups=7, nints=2, dithers=1, seed=32),
}
SCATTER = {"subarray": 0.03, "full": 0.05}


case, chain = fixtures(CASES)


def offset(rates, chain, flux):
    """Mean of what rates have too much in each integration, relative to the truth."""
    where, truth = chain.fluxes(flux), chain.true("RATE").astype(float)
    return np.array([(image - truth)[where].mean() for image in rates.data]) / truth[where].mean()


@pytest.mark.parametrize(("flux", "bound"), [("low", 0.003), ("high", 0.001)])
def test_rates_are_unbiased(chain, flux, bound):
    where = chain.fluxes(flux)
    assert where.sum() > 1500
    independent = np.sqrt(np.square(chain.rate.err[where].astype(float)).sum()) / where.sum()
    independent /= chain.true("RATE")[where].mean()
    offsets = offset(chain.rates, chain, flux)
    shared = offsets.std(ddof=1) / np.sqrt(offsets.size)
    assert abs(offsets.mean()) < bound + 3 * np.hypot(independent, shared)
    assert independent < 0.002


@pytest.mark.parametrize("flux", ["low", "high"])
def test_errors_are_right(case, chain, flux):
    where = chain.fluxes(flux)
    pull = ((chain.rate.data - chain.true("RATE")) / chain.rate.err)[where].astype(float)
    assert pull.std() == pytest.approx(1, abs=SCATTER[case] + 2 / np.sqrt(2 * pull.size))
    assert (np.abs(pull) > 5).mean() < 1e-3


def test_cosmic_rays_are_found(case, chain):
    if case != "full":
        pytest.skip("so short an exposure of so few pixels has a handful of them")
    rays, jumps = chain.true("COSMIC_RAYS"), (chain.ramp.groupdq & np.uint8(DQ.JUMP_DET)) != 0
    left_out = (chain.ramp.groupdq & np.uint8(DQ.DO_NOT_USE)) != 0
    rays = rays[(rays["group"] > 0) & (rays["group"] < jumps.shape[1] - 1) & (rays["electrons"] > 300)]
    i, g, y, x = (rays[name] for name in ("integration", "group", "y", "x"))
    told = ~left_out[i, g, y, x] & ~left_out[i, g - 1, y, x]
    assert told.sum() > 300
    assert jumps[i, g, y, x][told].mean() >= 0.98


@pytest.mark.parametrize(
    ("step", "worse"),
    [("reset", 0.05), ("linearity", 0.004), ("dark_current", 0.005), ("rscd", 0.005), ("lastframe", 5e-4)],
)
def test_each_correction_is_needed(chain, step, worse):
    """Without it, rates are wrong by at least so much somewhere."""
    settings = {step: StepSettings(skip=True)}
    ramp = detector1_of(chain.raw.meta.primary)(chain.raw, chain.references, settings)
    without = RAMP_FIT(ramp, chain.references)
    clean = [np.abs(offset(chain.rates, chain, flux)).max() for flux in ("low", "high")]
    found = [np.abs(offset(without, chain, flux)).max() for flux in ("low", "high")]
    assert max(np.subtract(found, clean)) > worse


@pytest.mark.parametrize(("step", "only"), [("emicorr", "subarray"), ("refpix", "full")])
def test_without_it_the_noise_is_larger(case, chain, step, only):
    if case != only:
        pytest.skip(f"there is nothing for {step} in this exposure")
    settings = {step: StepSettings(skip=True)}
    ramp = detector1_of(chain.raw.meta.primary)(chain.raw, chain.references, settings)
    without = RAMP_FIT(ramp, chain.references)
    where = chain.fluxes("low")
    spread = [(rates.data - chain.true("RATE"))[:, where].std() for rates in (chain.rates, without)]
    assert spread[1] > 1.05 * spread[0]
