"""Raw to rate with effects of which ERR knows nothing: coupled neighbours, and snowballs or showers.

Bounds: bias 0.3 %, scatter of (rate - truth) / error within 10 % of 1, of all pixels that have a rate, those
in large events and those that saturate early too. `tests/parity/test_effects.py` has the standard pipeline's
beside them.

What all pixels of a faint exposure share is the noise of its reference pixels: 0.8 to 1.4 % of the light of
an integration of eight groups SHALLOW4 here, much more than large events leave (0.1 to 0.2 %) or coupling
does (0.01 %). So exposures are long enough for a standard error below 0.15 %, and no bound allows for it.
"""

from __future__ import annotations

import numpy as np
import pytest

from processors.detector1.jump import JumpOptions
from processors.steps import StepSettings
from schemas.dq import DQ
from simulator.observation import Request
from tests.processors.chains import fixtures

CASES = {
    "near": Request(
        detectors=("NRCA1",), subarray="SUB320", pattern="DEEP8", ngroups=8, nints=8, dithers=1, seed=51,
        coupling=True, snowballs=1.25e-7,
    ),
    "mid": Request(
        exp_type="MIR_IMAGE", detectors=("MIRIMAGE",), filter="F770W", pattern="FASTR1", subarray="SUB256",
        ngroups=20, nints=4, dithers=1, seed=52, coupling=True, showers=4e-6,
    ),
}  # fmt: skip
SWITCH = {"near": {"expand_large_events": True, "edge_size": 0}, "mid": {"find_showers": True}}
case, chain = fixtures(
    CASES, {name: {"jump": StepSettings(options=JumpOptions(**given))} for name, given in SWITCH.items()}
)


def chosen(chain, flux):
    """Pixels with a rate, from groups that are good for one, where truth is faint or where it is bright."""
    truth, rated = chain.true("RATE"), (chain.rate.dq & np.uint32(DQ.DO_NOT_USE)) == 0
    rated &= np.isfinite(chain.rate.err) & (chain.rate.err > 0)
    low, high = np.percentile(truth[rated], [50, 97])
    return rated & (truth < low if flux == "low" else truth > high)


def test_the_exposure_has_large_events(case, chain):
    rays = chain.true("COSMIC_RAYS")
    assert (np.bincount(rays["event"]) > 300).sum() >= 3


@pytest.mark.parametrize("flux", ["low", "high"])
def test_rates_are_unbiased(chain, flux):
    where, truth = chosen(chain, flux), chain.true("RATE").astype(float)
    mean = truth[where].mean()
    offsets = np.array([np.nanmean((image - truth)[where]) for image in chain.rates.data])
    independent = np.sqrt(np.square(chain.rate.err[where].astype(float)).sum()) / where.sum()
    shared = offsets.std(ddof=1) / np.sqrt(offsets.size)
    assert max(independent, shared) < 0.0015 * mean
    assert abs((chain.rate.data - truth)[where].mean()) < 0.003 * mean


@pytest.mark.parametrize("flux", ["low", "high"])
def test_errors_are_right(chain, flux):
    where = chosen(chain, flux)
    pull = ((chain.rate.data - chain.true("RATE")) / chain.rate.err)[where].astype(float)
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_pixels_that_saturate_early_are_no_further_off_than_they_say(case, chain):
    """They have only the groups that rscd leaves out elsewhere, or their first one alone."""
    early = ((chain.rate.dq & np.uint32(DQ.FLUX_ESTIMATED)) != 0) & np.isfinite(chain.rate.data)
    assert early.any()
    for rate in (chain.rate.data, *chain.rates.data) if case == "mid" else ():
        assert np.mean(rate[early] / chain.true("RATE")[early]) == pytest.approx(1, abs=0.01)
    pull = ((chain.rate.data - chain.true("RATE")) / chain.rate.err)[early]
    assert np.sqrt(np.square(pull).mean()) < 1.5
