"""Full frames of every instrument, raw to rate and rateints, against the peer under recipe ``baseline``.

Run by ``make parity-full`` only; subarrays are compared more closely in `test_detector1` and
`test_near_infrared`, which say what differences are meant.

| what | bound |
| --- | --- |
| rates of pixels that are good in both | 99 % within 0.1 of the peer's error |
| their errors | 99 % within 1 % |
| data quality, all bits of a pixel | 99 % the same |
"""

import os
import time

import numpy as np
import pytest
from astropy.io import fits

from simulator.crds_cache import CrdsCache
from simulator.lamp import Lamp, write_lamp
from simulator.references.build import add_exposure, header_of
from tests.parity import peer
from tests.parity.conftest import MIRI, Exposure, simulated
from tests.parity.ours import stage1

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(os.environ.get("CALSTREAM_PARITY") != "full", reason="make parity-full runs it"),
]

IMAGE = (("FILTER", "F200W"), ("PUPIL", "CLEAR"), ("MODULE", "A"), ("CHANNEL", "SHORT"))
SLIT = (("FILTER", "F100LP"), ("GRATING", "G140H"), ("FXD_SLIT", "NONE"))
CLEAR = (("FILTER", "CLEAR"), ("PUPIL", "F150W"))
MANY = {"ngroups": 5, "nints": 2, "spots": 400}
CASES = {
    "nircam": Lamp(
        detector="NRCA1", exp_type="NRC_IMAGE", pattern="SHALLOW4", keywords=IMAGE, zeroframe=True, **MANY
    ),
    "niriss": Lamp(
        detector="NIS", exp_type="NIS_IMAGE", pattern="NIS", keywords=CLEAR, zeroframe=True, **MANY
    ),
    "nirspec": Lamp(detector="NRS1", exp_type="NRS_FIXEDSLIT", pattern="NRSRAPID", keywords=SLIT, **MANY),
    "irs2": Lamp(detector="NRS2", exp_type="NRS_IFU", pattern="NRSIRS2RAPID", keywords=SLIT, **MANY),
    "fgs": Lamp(detector="GUIDER1", exp_type="FGS_IMAGE", pattern="FGSRAPID", **MANY),
    "miri": MIRI | {"subarray": "FULL", "ngroups": 8, "nints": 2, "seed": 11},
}


@pytest.fixture(scope="module", params=CASES)
def pair(request, need_peer, tmp_path_factory):
    """What we make of a full frame, and the folder of the peer's products."""
    folder, wanted = tmp_path_factory.mktemp(request.param), CASES[request.param]
    crds = folder / "crds_cache"
    if isinstance(wanted, Lamp):
        name = f"jw01234001001_02101_00001_{wanted.detector.lower()}_uncal.fits"
        uncal = write_lamp(wanted, folder / name)
        cache = CrdsCache(crds)
        add_exposure(cache, header_of(uncal))
        cache.commit()
    else:
        uncal = simulated(folder, **wanted)
    exposure = Exposure(uncal, crds, folder / "peer")
    begin = time.monotonic()
    peer.run({uncal: crds}, exposure.peer, {"refpix": {"skip": False}})
    then = time.monotonic()
    made = stage1(exposure, keep=False)
    took = f"{time.monotonic() - then:.0f} s here, {then - begin:.0f} s there with its start"
    print(f"\n{request.param} {uncal.name}: {took}")
    return made, exposure


@pytest.mark.parametrize("suffix", ["rate", "rateints"])
def test_rates_are_the_peer_s(pair, suffix):
    made, exposure = pair
    rate = made[suffix]
    with fits.open(exposure.peer / f"{exposure.root}_{suffix}.fits") as theirs:
        data, err, dq = (theirs[name].data for name in ("SCI", "ERR", "DQ"))
        same = (rate.dq == dq.astype("u4")).mean()
        good = ((rate.dq | dq.astype("u4")) & 1 == 0) & (err > 0)
        deviation = np.percentile(np.abs(rate.data - data)[good] / err[good], 99)
        errors = np.percentile(np.abs(rate.err[good] / err[good] - 1), 99)
    print(f"{suffix}: {good.mean():.2%} good, p99 {deviation:.2e} sigma, errors {errors:.2e}, dq {same:.4%}")
    assert good.mean() > 0.8
    assert deviation <= 0.1
    assert errors <= 0.01
    assert same >= 0.99
