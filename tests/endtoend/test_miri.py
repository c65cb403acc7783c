"""A MIRI exposure from its raw file to rates by `calstream run`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from schemas.reading import read
from simulator.downlink import write_downlink
from simulator.observation import Request
from streams.run.driver import RunRequest, run

NAME = "jw01234001001_02101_00001_mirimage"


@pytest.fixture(scope="module")
def uncal(tmp_path_factory) -> Path:
    request = Request(
        exp_type="MIR_IMAGE", detectors=("MIRIMAGE",), filter="F1000W", pattern="FASTR1", subarray="SUB64",
        ngroups=7, nints=3, dithers=1, sources=3,
    )  # fmt: skip
    return write_downlink(request, tmp_path_factory.mktemp("miri"))[0]


@pytest.fixture
def process(uncal, monkeypatch):
    monkeypatch.setenv("CRDS_PATH", str(uncal.parent / "crds_cache"))
    for name in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)

    def call(path, out, **request):
        summary = run(RunRequest(paths=[str(path)], out=out, **request))
        assert not summary.failed, summary.endings
        return summary

    return call


def test_it_goes_as_far_as_there_are_stages(uncal, process, tmp_path):
    summary = process(uncal, tmp_path)
    assert [ending.level for ending in summary.endings] == ["rate"]
    assert {path.name for path in tmp_path.iterdir()} == {f"{NAME}_rate.fits", f"{NAME}_rateints.fits"}
    header = fits.getheader(tmp_path / f"{NAME}_rate.fits")
    done = {"S_DQINIT", "S_MIREMI", "S_SATURA", "S_LASTFR", "S_RESET", "S_LINEAR", "S_RSCD", "S_DARK",
            "S_JUMP", "S_RAMP"}  # fmt: skip
    assert {key for key, value in header.items() if value == "COMPLETE"} == done
    assert header["S_REFPIX"] == "SKIPPED"
    assert "S_SUPERB" not in header
    assert (header["INT1SKIP"], header["INT2SKIP"]) == (1, 2)
    truth = fits.getdata(uncal.parent / f"truth/{NAME}_truth.fits", "RATE")
    rate = read(tmp_path / f"{NAME}_rate.fits")
    pull = ((rate.data - truth) / rate.err)[rate.dq == 0]
    assert pull.size > 0.9 * truth.size
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_blocks_and_a_stored_ramp_change_no_byte(uncal, process, tmp_path):
    process(uncal, tmp_path / "whole")
    process(uncal, tmp_path / "blocks", block_bytes=1)
    process(uncal, tmp_path / "ramp", until="ramp")
    process(tmp_path / f"ramp/{NAME}_ramp.fits", tmp_path / "rate")
    for suffix in ("rate", "rateints"):
        whole, blocks, stored = (tmp_path / f"{n}/{NAME}_{suffix}.fits" for n in ("whole", "blocks", "rate"))
        assert blocks.read_bytes() == whole.read_bytes()
        fused, cut = read(whole), read(stored)
        for name, array in fused.arrays().items():
            np.testing.assert_array_equal(getattr(cut, name), array, err_msg=name)


def test_baseline_leaves_the_interference(uncal, process, tmp_path):
    process(uncal, tmp_path, recipe="baseline")
    header = fits.getheader(tmp_path / f"{NAME}_rate.fits")
    assert header["S_MIREMI"] == "SKIPPED"
    assert "R_MIREMI" not in header
