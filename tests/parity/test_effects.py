"""Rates beside the peer's where ERR does not know of all that a detector does: coupled pixels, large events.

Ours are those of recipe ``optimal``, the peer's those of its own algorithms, both with large events flagged.
"""

import numpy as np
import pytest
from astropy.io import fits

from schemas.dq import DQ
from tests.parity import peer
from tests.parity.conftest import Exposure
from tests.parity.ours import stage1
from tests.processors.test_truth_chain_effects import CASES, SWITCH

pytestmark = pytest.mark.peer
BAD = np.uint32(DQ.DO_NOT_USE)


@pytest.fixture(scope="module")
def exposures(need_peer, tmp_path_factory):
    """Each exposure by its case, with the peer's products."""
    from simulator.downlink import write_downlink

    root, found = tmp_path_factory.mktemp("effects"), {}
    for name, request in CASES.items():
        (uncal,) = write_downlink(request, root / name)
        found[name] = Exposure(uncal, root / name / "crds_cache", root / name / "peer")
        steps = {"jump": SWITCH[name], "ipc": {"skip": False}, "refpix": {"skip": False}}
        peer.run({uncal: found[name].crds}, found[name].peer, steps)
    return found


def deviations(data, err, truth, where):
    """Return bias relative to the truth's mean, its standard error, and the scatter of pulls."""
    offset = (data - truth)[where].astype(float)
    error = np.sqrt(np.square(err[where].astype(float)).sum()) / where.sum()
    mean = truth[where].mean(dtype=float)
    return offset.mean() / mean, error / mean, (offset / err[where]).std()


@pytest.mark.parametrize("flux", ["low", "high"])
@pytest.mark.parametrize("name", CASES)
def test_no_worse_than_the_peer(exposures, name, flux):
    exposure = exposures[name]
    rate = stage1(exposure, keep=False, steps={"jump": SWITCH[name]}, base="optimal")["rate"]
    truth_file = exposure.uncal.parent / "truth" / exposure.uncal.name.replace("uncal", "truth")
    with fits.open(exposure.peer / f"{exposure.root}_rate.fits") as theirs, fits.open(truth_file) as known:
        truth = known["RATE"].data.astype("f4")
        data, err, dq = (theirs[extension].data for extension in ("SCI", "ERR", "DQ"))
        both = (((rate.dq | dq.astype("u4")) & BAD) == 0) & (err > 0) & (rate.err > 0)
        low, high = np.percentile(truth[both], [50, 97])
        where = both & (truth < low if flux == "low" else truth > high)
        bias, error, scatter = deviations(rate.data, rate.err, truth, where)
        their_bias, their_error, their_scatter = deviations(data, err, truth, where)
    ours, peers = (
        f"{bias:.5f} +- {error:.5f}, scatter {scatter:.4f}",
        f"{their_bias:.5f}, {their_scatter:.4f}",
    )
    print(f"{name} {flux}: bias {ours}; the peer's {peers}")
    assert abs(bias) <= abs(their_bias) + 2 * np.hypot(error, their_error)
    assert abs(scatter - 1) <= abs(their_scatter - 1) + 2 / np.sqrt(2 * where.sum())
