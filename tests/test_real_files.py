"""Files that others wrote, by the commands of a user, with CRDS_PATH alone.

CALSTREAM_REAL_DATA names the folder; its README says where each file is from.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import median_filter

from schemas.reading import read

VARIABLE = "CALSTREAM_REAL_DATA"
NIRISS = "raw/jw00793001001_01101_00001_nis_uncal.fits"
GUIDER = "raw/fgs_acq1_program01019_uncal.fits"
STAR = (40, 45)
"""Row and column of the star in the NIRISS SUB80 exposure."""


@pytest.fixture(scope="module")
def real() -> Path:
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder of real JWST files: nothing here was tested on real data")
    assert (Path(folder) / NIRISS).is_file(), f"{VARIABLE}={folder} has no {NIRISS}"
    return Path(folder)


def calstream(*arguments: object, crds: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would, with CRDS_PATH and no other setting of CRDS."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CRDS")}
    command = [sys.executable, "-m", "streams.cli", *map(str, arguments)]
    environment["CRDS_PATH"] = str(crds)
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )  # fmt: skip


@pytest.fixture(scope="module")
def niriss(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of products of the NIRISS exposure, and what the command said."""
    folder = tmp_path_factory.mktemp("niriss")
    crds, out = folder / "cache", folder / "out"
    made = calstream("simulate", "references", real / NIRISS, "--crds", crds, crds=crds, folder=folder)
    assert made.returncode == 0, made.stderr
    done = calstream("run", real / NIRISS, "--out", out, "--until", "rate", crds=crds, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def peak(image: np.ndarray) -> tuple[int, ...]:
    """Row and column of the brightest pixel of a 3 x 3 median, which single hot pixels do not survive."""
    smooth = median_filter(np.nan_to_num(image), 3)
    return tuple(int(i) for i in np.unravel_index(np.argmax(smooth), smooth.shape))


def test_the_exposure_goes_to_rate_and_rateints(niriss: tuple[Path, str]) -> None:
    out, said = niriss
    assert {path.name for path in out.iterdir()} == {
        "jw00793001001_01101_00001_nis_rate.fits",
        "jw00793001001_01101_00001_nis_rateints.fits",
    }
    assert "jw00793001001_01101_00001_nis" in said


def test_the_star_is_where_it_is(niriss: tuple[Path, str]) -> None:
    out, _ = niriss
    rate = read(out / "jw00793001001_01101_00001_nis_rate.fits")
    ints = read(out / "jw00793001001_01101_00001_nis_rateints.fits")
    assert rate.data.shape == (80, 80)
    assert ints.data.shape == (5, 80, 80)
    assert peak(rate.data) == STAR
    for image in ints.data:
        assert peak(image) == STAR
    assert np.isfinite(rate.data).mean() > 0.9


def test_the_star_s_rate_is_that_of_its_counts(niriss: tuple[Path, str], real: Path) -> None:
    """First to last group over their time, within what reference pixels, linearity and dark change."""
    out, _ = niriss
    rate = read(out / "jw00793001001_01101_00001_nis_rate.fits")
    with fits.open(real / NIRISS) as raw:
        data, header = raw["SCI"].data.astype(float), raw[0].header
    plain = (data[:, -1] - data[:, 0]).mean(axis=0) / (header["TGROUP"] * (header["NGROUPS"] - 1))
    assert rate.data[STAR] == pytest.approx(plain[STAR], rel=0.05)


def test_products_open_with_strict_validation(niriss: tuple[Path, str]) -> None:
    from stdatamodels.jwst import datamodels

    out, _ = niriss
    for suffix, kind in (("rate", datamodels.ImageModel), ("rateints", datamodels.CubeModel)):
        path = out / f"jw00793001001_01101_00001_nis_{suffix}.fits"
        with datamodels.open(path, strict_validation=True) as model:
            assert type(model) is kind
            model.validate()
            assert model.meta.cal_step.ramp_fit == "COMPLETE"


def test_again_is_up_to_date(niriss: tuple[Path, str], real: Path) -> None:
    out, _ = niriss
    again = calstream(
        "run", real / NIRISS, "--out", out, "--until", "rate", crds=out.parent / "cache", folder=out.parent
    )
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout


def test_guider_files_go_to_cal(real: Path, tmp_path: Path) -> None:
    """Rates times the group time are the differences of the raw groups, and the star is where it is said."""
    from stdatamodels.jwst import datamodels

    crds, out = tmp_path / "cache", tmp_path / "out"
    made = calstream("simulate", "references", real / GUIDER, "--crds", crds, crds=crds, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    done = calstream("run", real / GUIDER, "--out", out, crds=crds, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    path = out / "jw01019001001_gs-acq1_2022117003102_cal.fits"
    assert [file for file in out.glob("*") if file.is_file()] == [path]
    cal = read(path)
    with fits.open(real / GUIDER) as raw, fits.open(next(crds.rglob("*_flat_*.fits"))) as flat:
        groups = raw["SCI"].data.astype(float)
        corner = raw[0].header["SUBSTRT2"] - 1, raw[0].header["SUBSTRT1"] - 1
        response = flat["SCI"].data[corner[0] :, corner[1] :][:128, :128]
    counts = cal.data * cal.meta.require("TGROUP") * response
    np.testing.assert_allclose(counts, groups[:, 1] - groups[:, 0], atol=0.02)
    stars = [(97, 65)] * 3 + [(93, 62)] * 3
    assert [np.unravel_index(np.argmax(image), image.shape) for image in counts] == stars
    peaks = [image[star] for image, star in zip(counts, stars, strict=True)]
    assert (round(min(peaks)), round(max(peaks))) == (39595, 41266)
    assert cal.meta.get("S_GUICDS") == cal.meta.get("S_FLAT") == "COMPLETE"
    with datamodels.open(path, strict_validation=True) as model:
        assert type(model) is datamodels.GuiderCalModel
        model.validate()
