"""clean_flicker_noise against the peer's, switched on in both, and which of us leaves better rates.

The numbers are those of the same algorithm to rounding, in subarrays. Meant differences, beside those of
tests/parity/tolerances.py:

- Full frames of NIRSpec: the peer shifts its model by a pixel and a line when it smooths it; here not.
- Limits of images of more than half a million pixels are those of a sample of their pixels.
- A group without any usable background keeps the correction of those before; there it has none, and a value
  that is not finite makes all later groups of its pixel so; here it stays alone.
- Known regions of NIRSpec's spectra need a WCS that is not made in stage 1 here.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
from astropy.io import fits

from processors.ramp_fit import average_integrations, clean_flicker_noise_rate
from schemas.dq import DQ
from simulator.crds_cache import CrdsCache
from simulator.downlink import write_downlink
from simulator.lamp import Lamp, write_lamp
from simulator.observation import Request
from simulator.references.build import add_exposure, header_of
from tests.parity import peer
from tests.parity.conftest import Exposure
from tests.parity.ours import stage1
from tests.processors.chains import Chain, served

pytestmark = pytest.mark.peer

SLIT = (("FILTER", "F100LP"), ("GRATING", "G140H"), ("FXD_SLIT", "NONE"))
CLEAR = (("FILTER", "CLEAR"), ("PUPIL", "F150W"))
LONG = (("FILTER", "F444W"), ("PUPIL", "CLEAR"), ("MODULE", "B"), ("CHANNEL", "LONG"))
NRCBLONG = Lamp(
    detector="NRCBLONG", exp_type="NRC_IMAGE", pattern="RAPID", subarray="SUB160", nints=2, corner=(1, 1889),
    size=(160, 160), keywords=LONG, flicker=1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An exposure, and the parameters with which both clean it."""

    lamp: Lamp
    options: dict = field(default_factory=dict)


CASES = {
    "median": Case(NRCBLONG),
    "model": Case(NRCBLONG, {"background_method": "model", "single_mask": False, "fit_histogram": True}),
    "no background": Case(
        Lamp(
            detector="NIS", exp_type="NIS_IMAGE", pattern="NIS", subarray="SUB128", corner=(1921, 1921),
            nints=2, size=(128, 128), keywords=CLEAR, flicker=1.0,
        ),
        {"n_sigma": 3.0, "background_method": None},
    ),
    "fft nrs1": Case(
        Lamp(
            detector="NRS1", exp_type="NRS_FIXEDSLIT", pattern="NRSRAPID", subarray="SUB1024A",
            corner=(1, 977), size=(1024, 32), nints=2, keywords=SLIT, flicker=1.0,
        ),
        {"fit_method": "fft"},
    ),
    "fft nrs2": Case(
        Lamp(
            detector="NRS2", exp_type="NRS_BRIGHTOBJ", pattern="NRSRAPID", subarray="SUB512",
            corner=(1281, 993), size=(512, 32), nints=3, keywords=SLIT, flicker=1.0,
        ),
        {"fit_method": "fft"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def pair(request, need_peer, tmp_path_factory):
    """What we make of a case, and the peer's products."""
    case, folder = CASES[request.param], tmp_path_factory.mktemp("flicker")
    uncal = write_lamp(
        case.lamp, folder / f"jw01234001001_02101_00001_{case.lamp.detector.lower()}_uncal.fits"
    )
    cache = CrdsCache(folder / "crds")
    add_exposure(cache, header_of(uncal))
    cache.commit()
    steps = {"clean_flicker_noise": {"skip": False, **case.options}}
    saving = {"clean_flicker_noise": {**steps["clean_flicker_noise"], "save_results": True}}
    made = peer.run({uncal: folder / "crds"}, folder / "peer", {"refpix": {"skip": False}, **saving})
    exposure = Exposure(uncal, folder / "crds", made)
    return stage1(exposure, steps=steps), exposure


def test_groups_are_those_of_the_peer(pair):
    made, exposure = pair
    theirs = fits.getdata(exposure.peer / f"{exposure.root}_clean_flicker_noise.fits", "SCI")
    ours, before = made["clean_flicker_noise"].data, made["jump"].data
    assert np.std(ours - before) > 1  # DN: something was cleaned
    assert np.percentile(np.abs(ours - theirs), 99.9) <= 0.02


@pytest.mark.parametrize("suffix", ["rate", "rateints"])
def test_rates_are_those_of_the_peer(pair, suffix):
    made, exposure = pair
    rate = made[suffix]
    with fits.open(exposure.peer / f"{exposure.root}_{suffix}.fits") as theirs:
        data, err, dq = (theirs[name].data for name in ("SCI", "ERR", "DQ"))
        good = ((rate.dq | dq.astype("u4")) & np.uint32(DQ.DO_NOT_USE)) == 0
        assert good.mean() > 0.85
        good &= err > 0
        assert np.percentile(np.abs(rate.data - data)[good] / err[good], 99.9) <= 0.001
        assert np.percentile(np.abs(rate.err[good] / err[good] - 1), 99) <= 0.01
        assert rate.meta.get("S_CLNFNS") == theirs[0].header["S_CLNFNS"] == "COMPLETE"


def test_ours_leaves_no_more_noise_and_no_more_bias_than_the_peer(need_peer, tmp_path):
    request = Request(detectors=("NRCALONG",), filter="F277W", subarray="SUB320", ngroups=10, nints=2,
                      dithers=1, seed=22, flicker=1.0)  # fmt: skip
    (uncal,) = write_downlink(request, tmp_path)
    cleaning = {"clean_flicker_noise": {"skip": False}}
    made = peer.run({uncal: tmp_path / "crds_cache"}, tmp_path / "peer", cleaning)
    with served(tmp_path):
        chain = Chain(tmp_path, uncal)
        clean = clean_flicker_noise_rate(chain.rates, chain.references)
        ours = average_integrations(clean, chain.references).data
        err, truth, good = chain.rate.err, chain.true("RATE"), chain.rate.dq == 0
        uncleaned = chain.rate.data
    with fits.open(made / uncal.name.replace("uncal", "rate")) as theirs:
        peers = np.array(theirs["SCI"].data)
        good &= (theirs["DQ"].data.astype("u4") & np.uint32(DQ.DO_NOT_USE)) == 0
    faint = good & (truth < np.median(truth[good]))

    def noise(rate):
        return (np.where(faint, rate - truth, 0).sum(axis=1) / faint.sum(axis=1)).std() / np.median(
            err[faint]
        )

    def bias(rate, where):
        return abs((rate - truth)[where].sum() / truth[where].sum())

    bright = good & (truth > np.percentile(truth[good], 97))
    assert noise(ours) < 0.85 * noise(uncleaned)
    assert noise(ours) <= noise(peers)
    assert bias(ours, bright) <= max(bias(peers, bright), 0.003)
    assert bias(ours, faint) <= bias(peers, faint)
    pulls = [((rate - truth) / err)[faint].std() for rate in (ours, peers)]
    assert pulls[0] <= 1.01 * pulls[1]
