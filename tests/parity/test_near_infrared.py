"""Raw to rate against the peer for every near-infrared instrument, under recipe ``baseline``.

Meant differences, beside those of tests/parity/tolerances.py:

- IRS2 readouts get the flags of groups of which only the last frames saturated (DO_NOT_USE) as all other
  readouts do; there they get flags of their own (SATURATED), and only in the second group.
- Interleaved reference pixels that stand out are replaced in the integration in which they do; there in all
  integrations.
- The zero frame is corrected by ipc like the groups; there it is not.
- Variances above 1e6 (DN/s)^2, and their errors, are stated here; there they are 0, and an average of such
  integrations has the read noise alone for its error.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
from astropy.io import fits

from simulator.crds_cache import CrdsCache
from simulator.lamp import Lamp, write_lamp
from simulator.references.build import add_exposure, header_of
from tests.parity import peer
from tests.parity.conftest import Exposure
from tests.parity.ours import stage1
from tests.parity.tolerances import RATE

pytestmark = pytest.mark.peer

CHARGELOSS = 1 << 7
SLIT = (("FILTER", "F100LP"), ("GRATING", "G140H"), ("FXD_SLIT", "NONE"))
CLEAR = (("FILTER", "CLEAR"), ("PUPIL", "F150W"))
SMALL = {"size": (128, 128), "spots": 30}
MORE = {
    "ramp_fit": {"suppress_one_group": False},
    "charge_migration": {"skip": False, "signal_threshold": 20000.0},
}


@dataclass(frozen=True)
class Case:
    """An exposure, and the parameters with which both process it."""

    lamp: Lamp
    steps: dict = field(default_factory=dict)
    ipc: bool = False


CASES = {
    "irs2": Case(Lamp(detector="NRS1", exp_type="NRS_IFU", pattern="NRSIRS2", ngroups=3, keywords=SLIT)),
    "irs2rapid": Case(
        Lamp(detector="NRS2", exp_type="NRS_MSASPEC", pattern="NRSIRS2RAPID", ngroups=2, keywords=SLIT)
    ),
    "nrs1": Case(
        Lamp(
            detector="NRS1", exp_type="NRS_FIXEDSLIT", pattern="NRSRAPID", subarray="SUB1024A",
            corner=(1, 977), size=(1024, 32), nints=2, keywords=SLIT,
        )
    ),
    "nrs2": Case(
        Lamp(
            detector="NRS2", exp_type="NRS_BRIGHTOBJ", pattern="NRSRAPID", subarray="SUB512",
            corner=(1281, 993), size=(512, 32), nints=3, keywords=SLIT,
        )
    ),
    "niriss": Case(
        Lamp(
            detector="NIS", exp_type="NIS_IMAGE", pattern="NIS", subarray="SUB128", corner=(1921, 1921),
            zeroframe=True, nints=2, keywords=CLEAR, **SMALL,
        )
    ),
    "fgs1": Case(
        Lamp(
            detector="GUIDER1", exp_type="FGS_IMAGE", pattern="FGSRAPID", subarray="SUB128LL", nints=2,
            **SMALL,
        )
    ),
    "fgs2": Case(
        Lamp(
            detector="GUIDER2", exp_type="FGS_IMAGE", pattern="FGSRAPID", subarray="SUB128CNTR",
            corner=(961, 961), **SMALL,
        )
    ),
    "nircam": Case(
        Lamp(
            detector="NRCBLONG", exp_type="NRC_IMAGE", pattern="SHALLOW4", subarray="SUB160", nints=2,
            corner=(1, 1889), size=(160, 160), zeroframe=True,
            keywords=(("FILTER", "F444W"), ("PUPIL", "CLEAR"), ("MODULE", "B"), ("CHANNEL", "LONG")),
        ),
        {"ramp_fit": {"suppress_one_group": False}},
    ),
    "ami": Case(
        Lamp(
            detector="NIS", exp_type="NIS_AMI", pattern="NISRAPID", subarray="SUB80", corner=(1045, 1),
            size=(80, 80), spots=20, nints=2, zeroframe=True,
            keywords=(("FILTER", "F480M"), ("PUPIL", "NRM")),
        ),
        MORE,
    ),
    "ipc": Case(
        Lamp(
            detector="NRCB1", exp_type="NRC_IMAGE", pattern="RAPID", subarray="SUB160P", corner=(1, 1),
            keywords=(("FILTER", "F200W"), ("PUPIL", "CLEAR"), ("MODULE", "B"), ("CHANNEL", "SHORT")),
            **SMALL,
        ),
        ipc=True,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def exposures(need_peer, tmp_path_factory, request):
    """Each exposure by its case, with the peer's products; cases with the same parameters in one start."""
    root = tmp_path_factory.mktemp("near-infrared")
    chosen = {item.callspec.params.get("pair") for item in request.session.items if hasattr(item, "callspec")}
    found, starts = {}, {}
    for number, (name, case) in enumerate(CASES.items(), 1):
        if name not in chosen:
            continue
        folder = root / name
        folder.mkdir()
        stem = f"jw01234{number:03d}001_02101_00001_{case.lamp.detector.lower()}_uncal.fits"
        uncal = write_lamp(case.lamp, folder / stem)
        cache = CrdsCache(folder / "crds")
        add_exposure(cache, header_of(uncal), ipc=case.ipc)
        cache.commit()
        found[name] = Exposure(uncal, folder / "crds", root / "peer")
        starts.setdefault(repr(case.steps), (case.steps, {}))[1][uncal] = folder / "crds"
    for steps, caches in starts.values():
        peer.run(caches, root / "peer", {"refpix": {"skip": False}, **steps})
    return found


@pytest.fixture(scope="module", params=CASES)
def pair(request, exposures):
    """What we make of a case, and where the peer's products are."""
    exposure = exposures[request.param]
    return request.param, stage1(exposure, keep=False, steps=CASES[request.param].steps), exposure


@pytest.mark.parametrize("suffix", RATE)
def test_rates(pair, suffix):
    name, made, exposure = pair
    path = exposure.peer / f"{exposure.root}_{suffix}.fits"
    if CASES[name].lamp.nints == 1 and suffix == "rateints":
        suffix = "rate"
    rate, tolerance = made[suffix], RATE[suffix]
    with fits.open(path) as theirs:
        data, err, dq, var_rnoise = (
            theirs[name].data.reshape(rate.data.shape) for name in ("SCI", "ERR", "DQ", "VAR_RNOISE")
        )
        dq = dq.astype("u4")
        both = ((rate.dq | dq) & 1) == 0
        assert both.mean() > 0.85
        assert np.mean((rate.dq & 1) != (dq & 1)) <= tolerance.good
        assert np.mean(rate.dq != dq) <= tolerance.dq
        assert (rate.err[both & (err == 0)] > 990).all()
        assert (rate.err[both] > 0).all()
        integrations = made["rateints"].err.reshape(-1, *err.shape[-2:])
        both &= (err > 0) & ~(np.square(integrations) > 0.99e6).any(axis=0)
        deviation = np.abs(rate.data - data)[both] / err[both]
        assert np.percentile(deviation, tolerance.percentile) <= tolerance.data
        ratio = np.abs(rate.err[both] / err[both] - 1)
        assert np.percentile(ratio, tolerance.percentile) <= tolerance.err
        both &= var_rnoise > 0
        ratio = np.abs(rate.var_rnoise[both] / var_rnoise[both] - 1)
        assert np.percentile(ratio, tolerance.percentile) <= tolerance.variance


@pytest.mark.parametrize("pair", ["ami"], indirect=True)
def test_charge_loss_is_there_to_be_compared(pair):
    _, made, _ = pair
    lost = (made["jump"].groupdq & CHARGELOSS).any(axis=(0, 1))
    assert (lost & np.isfinite(made["rate"].data)).sum() > 50
