"""Exposures in stripes, raw to rate, against the peer under recipe ``baseline``."""

import numpy as np
import pytest
from astropy.io import fits

from tests.parity import peer
from tests.parity.conftest import Exposure
from tests.parity.ours import stage1
from tests.parity.tolerances import RATE
from tests.striped import ALL, exposed

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def exposures(need_peer, tmp_path_factory):
    root = tmp_path_factory.mktemp("striped")
    found = {}
    for number, (name, stripes) in enumerate(ALL.items(), 1):
        folder = root / name
        folder.mkdir()
        root_name = f"jw01234{number:03d}001_02101_00001"
        uncal = exposed(stripes, folder, root_name, ngroups=4, spots=400, zeroframe=True)
        found[name] = Exposure(uncal, folder / "crds", root / "peer")
    caches = {exposure.uncal: exposure.crds for exposure in found.values()}
    peer.run(caches, root / "peer", {"ramp_fit": {"suppress_one_group": False}})
    return found


@pytest.mark.parametrize("name", ALL)
def test_rates_of_exposures_in_stripes(name, exposures):
    exposure, tolerance = exposures[name], RATE["rate"]
    rate = stage1(exposure, keep=False, steps={"ramp_fit": {"suppress_one_group": False}})["rate"]
    with fits.open(exposure.peer / f"{exposure.root}_rate.fits") as theirs:
        data, err, dq = (theirs[extension].data for extension in ("SCI", "ERR", "DQ"))
    both = ((rate.dq | dq.astype("u4")) & 1) == 0
    assert both.mean() > 0.85
    assert np.mean((rate.dq & 1) != (dq & 1)) <= tolerance.good
    assert np.mean(rate.dq != dq) <= tolerance.dq
    both &= (err > 0) & (rate.err < 990)
    deviation = np.abs(rate.data - data)[both] / err[both]
    assert np.percentile(deviation, tolerance.percentile) <= tolerance.data
    assert np.percentile(np.abs(rate.err[both] / err[both] - 1), tolerance.percentile) <= tolerance.err
