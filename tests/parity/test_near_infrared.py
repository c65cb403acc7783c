"""Raw to rate against the peer for every near-infrared instrument, under recipe ``baseline``.

Meant differences, beside those of tests/parity/tolerances.py:

- IRS2 readouts get the flags of groups of which only the last frames saturated (DO_NOT_USE) as all other
  readouts do; there they get flags of their own (SATURATED), and only in the second group.
- Interleaved reference pixels that stand out are replaced in the integration in which they do; there in all
  integrations.
"""

import numpy as np
import pytest
from astropy.io import fits

from simulator.lamp import Lamp, write_lamp
from simulator.references.build import add_files
from tests.parity import peer
from tests.parity.conftest import Exposure
from tests.parity.ours import stage1
from tests.parity.tolerances import RATE

pytestmark = pytest.mark.peer

SLIT = (("FILTER", "F100LP"), ("GRATING", "G140H"), ("FXD_SLIT", "NONE"))
CASES = {
    "irs2": Lamp(detector="NRS1", exp_type="NRS_IFU", pattern="NRSIRS2", ngroups=3, keywords=SLIT),
    "irs2rapid": Lamp(
        detector="NRS2", exp_type="NRS_MSASPEC", pattern="NRSIRS2RAPID", ngroups=2, keywords=SLIT
    ),
}


@pytest.fixture(scope="module")
def exposures(need_peer, tmp_path_factory):
    """Each exposure by its case, with the peer's products."""
    root = tmp_path_factory.mktemp("near-infrared")
    found = {}
    for number, (case, lamp) in enumerate(CASES.items(), 1):
        name = f"jw01234{number:03d}001_02101_00001_{lamp.detector.lower()}_uncal.fits"
        (root / case).mkdir()
        uncal = write_lamp(lamp, root / case / name)
        add_files(root / case / "crds", [uncal])
        found[case] = Exposure(uncal, root / case / "crds", root / "peer")
    peer.run({one.uncal: one.crds for one in found.values()}, root / "peer", STEPS)
    return found


STEPS = {"refpix": {"save_results": True}, "linearity": {"skip": False}}


@pytest.fixture(scope="module", params=CASES)
def pair(request, exposures):
    """What we make of a case, and where the peer's products are."""
    exposure = exposures[request.param]
    return stage1(exposure, keep=False), exposure


@pytest.mark.parametrize("suffix", RATE)
def test_rates(pair, suffix):
    made, exposure = pair
    rate, tolerance = made[suffix], RATE[suffix]
    path = exposure.peer / f"{exposure.root}_{suffix}.fits"
    with fits.open(path) as theirs:
        data, err, dq = (theirs[name].data for name in ("SCI", "ERR", "DQ"))
        both = ((rate.dq | dq.astype("u4")) & 1) == 0
        assert both.mean() > 0.9
        assert np.mean((rate.dq & 1) != (dq & 1)) <= tolerance.good
        assert np.mean(rate.dq != dq) <= tolerance.dq
        assert (
            np.percentile(np.abs(rate.data - data)[both] / err[both], tolerance.percentile) <= tolerance.data
        )
        assert np.percentile(np.abs(rate.err[both] / err[both] - 1), tolerance.percentile) <= tolerance.err
