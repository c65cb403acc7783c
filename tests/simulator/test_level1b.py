from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from stdatamodels.jwst import datamodels
from typer.testing import CliRunner

from schemas.errors import Unprocessable, UsageError
from simulator.cli import simulate as app
from simulator.downlink import write_downlink
from simulator.exposure import camera_of, simulate
from simulator.geometry import distortion
from simulator.observation import Request, plan, sky
from simulator.references.camera import filter_offset
from tests.simulator.conftest import REQUEST

NAME = "jw01234001001_02101_00001_nrca1"


@pytest.fixture
def model(downlink: Path):
    with datamodels.Level1bModel(downlink / f"{NAME}_uncal.fits", strict_validation=True) as opened:
        yield opened


def test_files_are_named_as_jwsts(downlink: Path) -> None:
    names = sorted(path.name for path in downlink.glob("*.fits"))
    assert names == [
        f"jw01234001001_02101_0000{d}_{detector}_uncal.fits"
        for d in (1, 2)
        for detector in ("nrca1", "nrca3")
    ]


def test_strict_validation_passes(model) -> None:
    model.validate()
    assert model.data.dtype == np.uint16
    assert model.data.shape == (2, 4, 160, 160)
    assert model.meta.filename == f"{NAME}_uncal.fits"
    assert len(model.group) == 8
    assert len(model.int_times) == 2


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PROGRAM", "01234"),
        ("OBSERVTN", "001"),
        ("VISIT", "001"),
        ("TARGPROP", "SIMULATED-FIELD"),
        ("PATT_NUM", 1),
        ("NUMDTHPT", 2),
        ("EXP_TYPE", "NRC_IMAGE"),
        ("INSTRUME", "NIRCAM"),
        ("DETECTOR", "NRCA1"),
        ("CHANNEL", "SHORT"),
        ("MODULE", "A"),
        ("FILTER", "F200W"),
        ("PUPIL", "CLEAR"),
        ("SUBARRAY", "SUB160"),
        ("SUBSTRT1", 1889),
        ("SUBSTRT2", 1889),
        ("FASTAXIS", -1),
        ("SLOWAXIS", 2),
        ("READPATT", "RAPID"),
        ("NGROUPS", 4),
        ("NINTS", 2),
        ("NFRAMES", 1),
        ("GROUPGAP", 0),
        ("NOUTPUTS", 1),
        ("VISITYPE", "PRIME_TARGETED_FIXED"),
        ("EXPOSURE", "00001"),
        ("TARGTYPE", "FIXED"),
        ("TSOVISIT", False),
    ],
)
def test_association_and_reference_keywords(downlink: Path, keyword: str, value: object) -> None:
    assert fits.getval(downlink / f"{NAME}_uncal.fits", keyword) == value


def test_header_says_where_the_sources_are(model, downlink: Path) -> None:
    """From keywords alone, by the distortion and the rotations, to the positions of the truth."""
    from pysiaf.utils import rotations

    wcs, exposure = model.meta.wcsinfo, plan(REQUEST)[0]
    sources = fits.getdata(downlink / f"truth/{NAME}_truth.fits", "SOURCES")
    truth = QTable.read(downlink / "truth/sources.ecsv")
    column, row = filter_offset(exposure.detector, ("F200W", "CLEAR"))
    x = sources["x"] + model.meta.subarray.xstart - 1 + column
    y = sources["y"] + model.meta.subarray.ystart - 1 + row
    v2, v3 = distortion(exposure.detector).to_v2v3(x, y)
    scale = model.meta.velocity_aberration.scale_factor
    v2 = wcs.v2_ref + scale * (v2 - wcs.v2_ref)
    v3 = wcs.v3_ref + scale * (v3 - wcs.v3_ref)
    attitude = rotations.attitude(wcs.v2_ref, wcs.v3_ref, wcs.ra_ref, wcs.dec_ref, wcs.roll_ref)
    ra, dec = np.transpose([rotations.pointing(attitude, a, b) for a, b in zip(v2, v3, strict=True)])
    expected = truth[sources["id"] - 1]
    np.testing.assert_allclose(ra, expected["ra"].value, atol=1e-9)
    np.testing.assert_allclose(dec, expected["dec"].value, atol=1e-9)
    assert len(sources) > 3


def test_truth_and_raw_data_agree(model, downlink: Path) -> None:
    """The mean rise of the ramps, linearised and in the bulk of the pixels, is the truth's rate."""
    from simulator.detector import linearised, maps

    exposure = plan(REQUEST)[0]
    pixels = maps(exposure.detector).cut(exposure.window.slices)
    with fits.open(downlink / f"truth/{NAME}_truth.fits") as truth:
        rate = truth["RATE"].data
        hits = truth["COSMIC_RAYS"].data
    data = np.stack([linearised(group, pixels) for group in model.data[0].astype(np.float32) - pixels.bias])
    good = (pixels.dq == 0) & (model.data[0, -1] < pixels.saturation)
    good[hits["y"], hits["x"]] = False
    reference = data[:, pixels.reference_pixels].mean(axis=1)
    rise = (data[-1] - data[0])[good] - (reference[-1] - reference[0])
    expected = rate[good] * 3 * model.meta.exposure.group_time
    assert rise.sum() == pytest.approx(expected.sum(), rel=0.01)
    bright = expected > 1000
    assert bright.sum() > 20
    assert (rise[bright] / expected[bright]).mean() == pytest.approx(1, abs=0.01)


def test_each_exposure_is_reproducible_alone(downlink: Path) -> None:
    exposures = plan(REQUEST)
    alone = simulate(exposures[-1], sky(exposures))
    assert np.array_equal(alone.data, fits.getdata(downlink / f"{exposures[-1].name}_uncal.fits", "SCI"))


def test_dithers_move_the_sky(downlink: Path) -> None:
    exposures = [e for e in plan(REQUEST) if e.detector.name == "NRCA1"]
    scene = sky(exposures)
    first, second = (np.array(camera_of(e).to_pixel(scene.ra[:5], scene.dec[:5])) for e in exposures)
    shift = np.hypot(*(second - first))
    assert (shift > 2).all()


def test_long_wave_full_frame_keywords() -> None:
    exposure = plan(Request(detectors=("NRCBLONG",), filter="F444W", subarray="FULL", dithers=1))[0]
    assert exposure.outputs == 4
    assert exposure.readout.tframe == pytest.approx(10.73676)
    assert exposure.detector.fast_axis == 1
    assert plan(Request(detectors=("NRCBLONG",), filter="F405N", dithers=1))[0].pair == ("F444W", "F405N")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"exp_type": "MIR_MRS"}, "MIR_MRS cannot be simulated; choose from NRC_IMAGE"),
        ({"detectors": ("NRCX",)}, "no detector 'NRCX'"),
        ({"detectors": ("NIS",)}, "not with NIS"),
        ({"filter": "F444W"}, "NRCA1 has no filter F444W"),
        ({"subarray": "SUB1"}, "has no subarray SUB1"),
        ({"pattern": "QUICK"}, "no read pattern"),
        ({"ngroups": 0}, "must be at least 1"),
        ({"dithers": 0}, "at least 1"),
    ],
)
def test_bad_requests_are_said_in_a_sentence(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(Request(**changes))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unprocessable, match="cannot be written to"):
        write_downlink(Request(dithers=1, detectors=("NRCA1",), subarray="SUB160"), tmp_path / "file/out")


def test_environment_file_sets_the_path_and_nothing_else(downlink: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f". '{downlink}/env.sh'; env"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "CRDS_CONTEXT": "jwst_9999.pmap"},
    )
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("CRDS"))
    assert settings == {"CRDS_PATH": str((downlink / "crds_cache").resolve())}


def test_command_line(tmp_path: Path) -> None:
    run = CliRunner()
    arguments = ["--detectors", "NRCB1", "--subarray", "SUB64P", "--dithers", "1", "--ngroups", "2"]
    done = run.invoke(app, ["NRC_IMAGE", "--out", str(tmp_path), *arguments])
    assert done.exit_code == 0, done.output
    (path,) = tmp_path.glob("*_uncal.fits")
    done = run.invoke(app, ["references", str(path), "--crds", str(tmp_path / "other")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "other/config/jwst/server_config").exists()
    wrong = run.invoke(app, ["MIR_MRS", "--out", str(tmp_path)])
    assert isinstance(wrong.exception, UsageError)
    assert "NRC_IMAGE" in run.invoke(app, ["--help"]).output
