"""Raw to rate of pixels that saturate in the second group or before, against what was simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import simulator.downlink
from schemas.dq import DQ
from simulator.crds_cache import CrdsCache
from simulator.detector import maps
from simulator.downlink import write_downlink
from simulator.lamp import Lamp, light, write_lamp
from simulator.observation import Request, sky
from simulator.references.build import add_exposure, header_of
from tests.processors.chains import Chain, served

SLIT = (("FILTER", "F100LP"), ("GRATING", "G140H"), ("FXD_SLIT", "NONE"))
LONG = (("FILTER", "F444W"), ("PUPIL", "CLEAR"), ("MODULE", "B"), ("CHANNEL", "LONG"))
SHORT = (("FILTER", "F200W"), ("PUPIL", "CLEAR"), ("MODULE", "A"), ("CHANNEL", "SHORT"))
CLEAR = (("FILTER", "CLEAR"), ("PUPIL", "F150W"))
FIELD = {"size": (256, 256), "spots": 100, "nints": 3, "ngroups": 5}
MIRI = {
    "exp_type": "MIR_IMAGE", "detectors": ("MIRIMAGE",), "filter": "F770W", "pattern": "FASTR1",
    "ngroups": 10, "dithers": 1,
}  # fmt: skip
CASES = {
    "shallow4": Lamp(
        detector="NRCBLONG", exp_type="NRC_IMAGE", pattern="SHALLOW4", subarray="SUB256", corner=(1, 1),
        zeroframe=True, keywords=LONG, seed=61, **FIELD,
    ),
    "deep8": Lamp(
        detector="NRCA1", exp_type="NRC_IMAGE", pattern="DEEP8", subarray="SUB256", corner=(1, 1),
        zeroframe=True, keywords=SHORT, seed=62, **FIELD,
    ),
    "niriss": Lamp(
        detector="NIS", exp_type="NIS_IMAGE", pattern="NISRAPID", subarray="SUB256", corner=(1793, 1793),
        keywords=CLEAR, seed=63, **FIELD,
    ),
    "nirspec": Lamp(
        detector="NRS1", exp_type="NRS_FIXEDSLIT", pattern="NRSRAPID", subarray="SUB1024A",
        corner=(1, 977), keywords=SLIT, seed=64, **FIELD | {"size": (1024, 64)},
    ),
    "miri": Request(**MIRI, subarray="SUB256", nints=3, seed=65),
    "miri-bright": Request(**MIRI, subarray="SUB256", nints=3, seed=69),
    "miri-full": Request(**MIRI, subarray="FULL", nints=2, seed=70),
}  # fmt: skip
BRIGHTER = {"miri": (0.3, 1.8), "miri-bright": (1.3, 2.6), "miri-full": (0.3, 2.5)}
"""By how much half of the sources are, powers of 10."""


@dataclass(frozen=True)
class Case:
    name: str
    chain: Chain
    truth: np.ndarray


def observed(name, folder):
    """Return an exposure's chain and its true rates, DN/s."""
    request = CASES[name]
    if isinstance(request, Lamp):
        uncal = write_lamp(
            request, folder / f"jw01234009001_02101_00001_{request.detector.lower()}_uncal.fits"
        )
        cache = CrdsCache(folder / "crds_cache")
        add_exposure(cache, header_of(uncal))
        cache.commit()
        (x, y), (nx, ny) = request.corner, request.size
        pixels = maps(request.camera).cut((slice(y - 1, y - 1 + ny), slice(x - 1, x - 1 + nx)))
        return Chain(folder, uncal), light(request) * pixels.response / pixels.gain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator.downlink, "sky", lambda exposures: brightened(sky(exposures), name))
        (uncal,) = write_downlink(request, folder)
    chain = Chain(folder, uncal)
    return chain, chain.true("RATE")


def brightened(scene, name):
    """Return the scene with every other source so much brighter that its core saturates early."""
    rng = np.random.default_rng(CASES[name].seed)
    chosen = rng.random(scene.flux.size) < 0.5
    brighter = scene.flux * 10 ** rng.uniform(*BRIGHTER[name], scene.flux.size)
    return replace(scene, flux=np.where(chosen, brighter, scene.flux))


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    chain, truth = observed(request.param, folder)
    with served(folder):
        chain.rates  # noqa: B018  made while the references are there
        yield Case(request.param, chain, np.broadcast_to(truth, chain.rates.data.shape))


def saturated(case, groups):
    """Saturated pixels (nint, ny, nx) with so many usable groups, the first if it is one; "frame" is for the
    zero frame alone.
    """
    ramp = case.chain.ramp
    lost = (ramp.groupdq & np.uint8(DQ.SATURATED | DQ.DO_NOT_USE)) != 0
    usable = (~lost).sum(axis=1)
    there = np.zeros(usable.shape, bool) if ramp.zeroframe is None else ramp.zeroframe != 0
    left = {
        0: (usable == 0) & ~there,
        "frame": (usable == 0) & there,
        1: (usable == 1) & ~lost[:, 0],
        2: usable == 2,
    }[groups]
    return left & ((ramp.groupdq & np.uint8(DQ.SATURATED)) != 0).any(axis=1)


def judged(case, groups):
    """Rates of such pixels, the truth and the errors; pixels that see light and of which nothing is wrong."""
    rates = case.chain.rates
    wrong = np.uint32(
        DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL | DQ.DEAD | DQ.HOT | DQ.NO_LIN_CORR | DQ.NO_SAT_CHECK
    )
    where = saturated(case, groups) & ((case.chain.ramp.pixeldq & wrong) == 0)
    return tuple(plane[where].astype(float) for plane in (rates.data, case.truth, rates.err)), where


ONE = [
    (name, groups)
    for name in CASES
    for groups in (1, "frame")
    if groups == 1 or name == "shallow4"  # frames of the others hold no more, or there are none
]


@pytest.mark.parametrize(("case", "groups"), ONE, indirect=["case"])
def test_rates_of_a_single_read_level_are_true_within_their_errors(case, groups):
    (rate, truth, err), _ = judged(case, groups)
    assert rate.size > (150 if case.name == "miri" else 300)
    assert np.isfinite(rate).all()
    pull = (rate - truth) / err
    assert pull.std() == pytest.approx(1, abs=0.1)
    if case.name in BRIGHTER:  # of what first groups have too much, the line is off for all pixels together
        assert abs(pull.mean()) < 0.4
        assert abs(rate.sum() / truth.sum() - 1) < 0.003
        return
    assert abs(pull.mean()) < 0.3  # of averaged groups the mean is linearised: up to 0.15 % too little
    assert abs(np.mean(rate / truth - 1)) < 0.002


@pytest.mark.parametrize("case", BRIGHTER, indirect=True)
def test_rates_of_two_first_groups_are_true_within_their_errors(case):
    """MIRI's, where these are left out elsewhere; others have a rate from a single difference as any."""
    (rate, truth, err), where = judged(case, 2)
    estimated = (case.chain.rates.dq[where] & np.uint32(DQ.FLUX_ESTIMATED)) != 0
    rate, truth, err = rate[estimated], truth[estimated], err[estimated]
    assert rate.size > 150
    pull = (rate - truth) / err
    assert pull.std() == pytest.approx(1, abs=0.1)
    assert abs(pull.mean()) < 0.3
    assert abs(np.mean(rate / truth - 1)) < 0.003


@pytest.mark.parametrize(("case", "groups"), ONE, indirect=["case"])
def test_they_are_told_from_others(case, groups):
    _, where = judged(case, groups)
    dq = case.chain.rates.dq
    said = np.uint32(DQ.SATURATED | DQ.FLUX_ESTIMATED)
    assert ((dq[where] & said) == said).all()
    assert not (dq[where] & np.uint32(DQ.DO_NOT_USE)).any()
    if case.name not in BRIGHTER:  # where rscd leaves groups out, pixels with two of them are estimated too
        whole = dq == 0
        assert whole.mean() > 0.5
        others = (dq & np.uint32(DQ.FLUX_ESTIMATED)) != 0
        assert not (others & ~saturated(case, 1) & ~saturated(case, "frame")).mean() > 0.001


def test_those_without_any_read_have_none(case):
    gone, rates = saturated(case, 0), case.chain.rates
    assert gone.any() or case.name in ("shallow4", "deep8")
    lost = np.uint32(DQ.SATURATED | DQ.DO_NOT_USE)
    assert np.isnan(rates.data[gone]).all()
    assert np.isnan(rates.err[gone]).all()
    assert ((rates.dq[gone] & lost) == lost).all()


def test_pixels_that_see_no_light_or_are_unusable_have_none(case):
    pixeldq, rates = case.chain.ramp.pixeldq, case.chain.rates
    unusable = (pixeldq & np.uint32(DQ.DO_NOT_USE)) != 0
    assert unusable.any()
    assert np.isnan(rates.data[:, unusable]).all()
    blind = (saturated(case, 1) | saturated(case, "frame")) & ((pixeldq & np.uint32(DQ.REFERENCE_PIXEL)) != 0)
    assert blind.any() == (case.name == "nirspec")
    assert np.isnan(rates.data[blind]).all()
    assert (rates.dq[blind] & np.uint32(DQ.DO_NOT_USE)).all()


def test_the_average_keeps_them(case):
    rate, one = case.chain.rate, saturated(case, 1).all(axis=0)
    one &= (case.chain.ramp.pixeldq & np.uint32(DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL)) == 0
    assert np.isfinite(rate.data[one]).all()
    if case.name not in BRIGHTER:
        pull = ((rate.data - case.truth[0]) / rate.err)[one]
        assert pull.std() == pytest.approx(1, abs=0.1 + 2 / np.sqrt(2 * pull.size))
