"""Exposures of any near-infrared detector to a lamp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stdatamodels.jwst import datamodels
from typer.testing import CliRunner

from schemas.errors import UsageError
from simulator import irs2
from simulator.cli import simulate as app
from simulator.instruments import DETECTORS
from simulator.lamp import Lamp, expose, light, write_lamp

SMALL = {"exp_type": "NIS_IMAGE", "pattern": "NISRAPID", "corner": (961, 961), "size": (64, 48)}


def test_ramps_rise_by_the_light_that_falls_on_them() -> None:
    request = Lamp(detector="NIS", ngroups=8, spots=1, rate=200.0, **SMALL)
    data, zero = expose(request)
    assert zero is None
    assert data.shape == (1, 8, 48, 64)
    rate = np.diff(data[0].astype(float), axis=0).mean(axis=0) * request.camera.gain / request.readout.tgroup
    assert np.median(rate / light(request)) == pytest.approx(1, abs=0.03)


def test_the_zero_frame_is_the_first_of_the_frames() -> None:
    averaged = SMALL | {"pattern": "NIS", "rate": 2000.0, "nints": 2, "spots": 1}
    data, zero = expose(Lamp(detector="NIS", zeroframe=True, **averaged))
    assert zero is not None
    assert zero.shape == (2, 48, 64)
    step = np.median(np.diff(data.astype(float), axis=1)) / 4
    assert np.median(data[:, 0] - zero.astype(float)) == pytest.approx(1.5 * step, rel=0.03)


@pytest.mark.parametrize("name", ["GUIDER1", "NRS2", "NRCBLONG"])
def test_files_pass_strict_validation(tmp_path: Path, name: str) -> None:
    camera = DETECTORS[name]
    exp_type = {"FGS": "FGS_IMAGE", "NIRSPEC": "NRS_LAMP", "NIRCAM": "NRC_IMAGE"}[camera.instrument]
    pattern = {"FGS": "FGSRAPID", "NIRSPEC": "NRSRAPID", "NIRCAM": "RAPID"}[camera.instrument]
    request = Lamp(detector=name, exp_type=exp_type, pattern=pattern, corner=(1, 1), size=(32, 16))
    path = write_lamp(request, tmp_path / f"jw01234009001_02101_00001_{name.lower()}_uncal.fits")
    with datamodels.Level1bModel(path, strict_validation=True) as model:
        model.validate()
        assert model.data.shape == (1, 4, 16, 32)
        assert model.meta.instrument.detector == name


def test_irs2_times_are_those_of_the_instrument() -> None:
    assert pytest.approx(14.5889, abs=1e-4) == irs2.FRAME_TIME
    assert (irs2.ROWS, irs2.PERIOD, irs2.TIMES[-1]) == (3200, 712, 703)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pattern": "SLOW"}, "there is no read pattern"),
        ({"pattern": "NRSIRS2"}, "NIRSpec's full frames only"),
        ({"ngroups": 0}, "both must be at least 1"),
        ({"corner": (2000, 1)}, "do not lie on a detector"),
    ],
)
def test_what_cannot_be_exposed_is_said(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Lamp(**({"detector": "NIS"} | SMALL | changes)).check()  # type: ignore[arg-type]


def test_the_command_writes_file_and_references(tmp_path: Path) -> None:
    where = ["--subarray", "SUB64", "--corner", "961", "961", "--size", "64", "64"]
    said = CliRunner().invoke(
        app, ["lamp", "nis", "NIS_IMAGE", "--readpatt", "NISRAPID", *where, "--out", str(tmp_path)]
    )
    assert said.exit_code == 0, said.output
    assert (tmp_path / "jw01234009001_02101_00001_nis_uncal.fits").exists()
    assert list((tmp_path / "crds_cache/references/jwst/niriss").glob("*_dark_*.fits"))
