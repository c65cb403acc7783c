"""Raw to rate against the peer, step by step, under recipe ``baseline``; see tests/parity/tolerances.py."""

import numpy as np
import pytest
from astropy.io import fits

from tests.parity.ours import stage1
from tests.parity.tolerances import RAMP, RATE

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def ours(exposure):
    """What our steps make, by name: the ramp behind each, and the rates."""
    return stage1(exposure)


def _theirs(exposure, suffix):
    return fits.open(exposure.peer / f"{exposure.root}_{suffix}.fits")


ESTIMATED = np.uint32(1 << 28)


def _others_than_estimated(dq):
    """Flags without FLUX_ESTIMATED: see tests/parity/tolerances.py."""
    return np.asarray(dq, "u4") & ~ESTIMATED


def _differing(ours, theirs):
    return np.mean(ours != theirs)


@pytest.mark.parametrize("step", RAMP)
def test_ramp_behind_each_step(ours, exposure, step):
    if step not in ours:
        pytest.skip("this detector's pipeline has no such step")
    if ours[step].meta.provenance.steps[-1].outcome == "skipped":
        assert not (exposure.peer / f"{exposure.root}_{step}.fits").exists()
        return
    ramp, tolerance = ours[step], RAMP[step]
    with _theirs(exposure, step) as theirs:
        data = theirs["SCI"].data
        assert ramp.data.shape == data.shape
        assert np.isfinite(data).all()
        assert np.abs(ramp.data.astype("f8") - data).max() <= tolerance.data
        assert _differing(ramp.groupdq, theirs["GROUPDQ"].data) <= tolerance.groupdq
        theirs_dq = _others_than_estimated(theirs["PIXELDQ"].data)
        assert _differing(ramp.pixeldq, theirs_dq) <= tolerance.pixeldq
        if theirs[0].header.get("ZEROFRAM"):
            assert np.abs(ramp.zeroframe.astype("f8") - theirs["ZEROFRAME"].data).max() <= tolerance.data


def test_flags_are_there_to_be_compared(ours, exposure):
    flags = ours["jump"].groupdq
    assert (flags & 4).any()
    if exposure.uncal.name.startswith("jw01234"):
        assert (flags & 2).any()


@pytest.mark.parametrize("suffix", RATE)
def test_rates(ours, exposure, suffix):
    rate, tolerance = ours[suffix], RATE[suffix]
    with _theirs(exposure, suffix) as theirs:
        data, err = theirs["SCI"].data, theirs["ERR"].data
        dq = theirs["DQ"].data.astype("u4")
        both = (rate.dq & 1 == 0) & (dq & 1 == 0)
        assert both.mean() > 0.95
        assert _differing(rate.dq & 1, dq & 1) <= tolerance.good
        assert _differing(_others_than_estimated(rate.dq), _others_than_estimated(dq)) <= tolerance.dq
        estimated = [flags.reshape(-1, *flags.shape[-2:]) & ESTIMATED for flags in (rate.dq, dq)]
        assert _differing(*(np.bitwise_or.reduce(flags) for flags in estimated)) <= tolerance.dq

        def worst(values):
            return np.percentile(values[both & np.isfinite(values)], tolerance.percentile)

        with np.errstate(divide="ignore", invalid="ignore"):
            assert worst(np.abs(rate.data - data) / err) <= tolerance.data
            assert worst(np.abs(rate.err / err - 1)) <= tolerance.err
            for name in ("var_poisson", "var_rnoise"):
                ratio = np.abs(getattr(rate, name) / theirs[name.upper()].data - 1)
                assert worst(ratio) <= tolerance.variance


def test_headers(ours, exposure):
    with _theirs(exposure, "rate") as theirs:
        mine = ours["rate"].meta
        miri = mine.get("INSTRUME") == "MIRI"
        own = ("S_LASTFR", "S_RESET", "S_RSCD") if miri else ("S_SUPERB",)
        for keyword in ("S_DQINIT", "S_SATURA", *own, "S_LINEAR", "S_DARK", "S_JUMP", "S_RAMP"):
            assert mine.get(keyword) == theirs[0].header[keyword] == "COMPLETE", keyword
        for keyword in ("S_GRPSCL", "S_GANSCL", *(("S_MIREMI", "S_REFPIX") if miri else ())):
            assert mine.get(keyword) == theirs[0].header[keyword], keyword
        assert mine.get("BUNIT") == theirs["SCI"].header["BUNIT"] == "DN/s"
        own = ("R_RESET", "R_RSCD") if miri else ("R_SUPERB",)
        for keyword in ("R_MASK", "R_SATURA", *own, "R_LINEAR", "R_DARK", "R_GAIN", "R_READNO"):
            assert mine.get(keyword) == theirs[0].header[keyword], keyword
        for keyword in ("INT1SKIP", "INT2SKIP"):
            assert mine.get(keyword) == theirs[0].header.get(keyword), keyword
