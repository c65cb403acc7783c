"""``calstream inspect``: what files are, ours and others'."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from schemas.dq import DQ
from schemas.meta import Keywords, Meta, Provenance, StepRecord
from schemas.products import Ramp, Rate
from schemas.writing import write
from streams.cli import main
from streams.cli.contents import flag_counts

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def rate(tmp_path: Path) -> Path:
    """A rate of ours, 8 x 10 pixels, of which three are flagged."""
    planes = {name: np.ones((8, 10), np.float32) for name in ("data", "err", "var_poisson", "var_rnoise")}
    dq = np.zeros((8, 10), np.uint32)
    dq[0, :2] = DQ.DO_NOT_USE | DQ.HOT
    dq[1, 0] = DQ.JUMP_DET
    record = StepRecord(
        step="jump",
        outcome="complete",
        options={"rejection_threshold": 5.0, "method": "two_point"},
        origins={"rejection_threshold": "command line"},
        references={"gain": {"name": "jwst_nircam_gain_0001.fits", "digest": DIGEST}},
    )
    reason = StepRecord(step="gain_scale", outcome="not applicable", reason="no GAINFACT")
    run = {
        "run_key": "f" * 64,
        "inputs": [{"role": "science", "product": "jw1_nrca1/uncal", "digest": DIGEST}],
        "quality": {"chisq_per_dof_q50": 1.0234, "saturated_fraction": 0.0},
    }
    meta = Meta(
        primary=Keywords({"INSTRUME": "NIRCAM", "EXP_TYPE": "NRC_IMAGE", "SUBSIZE1": 10, "SUBSIZE2": 8}),
        science=Keywords({"BUNIT": "DN/s"}),
        provenance=Provenance(steps=(record, reason), run=run),
    )
    path = tmp_path / "jw1_nrca1_rate.fits"
    write(Rate(meta=meta, dq=dq, **planes), path)
    return path


def shown(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["inspect", str(path), *options]) == 0
    return capsys.readouterr().out


def test_quality_of_a_product(rate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = words(shown(rate, capsys))
    assert any(line[:3] == ["chi2/dof", "median", "1.02"] for line in lines)
    assert any(line[:2] == ["saturated", "0"] for line in lines)


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_product_of_ours(rate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(rate, capsys)
    lines = words(text)
    assert "image: count rates (DN/s)" in text
    assert ["SCI", "8", "x", "10", "f4"] in lines
    assert ["INSTRUME", "NIRCAM"] in lines
    assert ["HOT", "2", "2.500", "%"] in lines
    assert ["GOOD", "77", "96.250", "%"] in lines
    assert "rejection_threshold = 5.0 * command line" in text
    assert "gain: jwst_nircam_gain_0001.fits 0123456789ab" in text
    assert "not applicable: no GAINFACT" in text
    assert ["run", "key", "f" * 64] in lines
    assert "science: jw1_nrca1/uncal 0123456789ab" in text


def shown_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str], *records: StepRecord) -> list[list[str]]:
    path = tmp_path / "jw1_nrca1_ramp.fits"
    data = np.ones((1, 4, 8, 8), np.float32)
    pixeldq, groupdq = np.zeros((8, 8), np.uint32), np.zeros(data.shape, np.uint8)
    meta = Meta(provenance=Provenance(steps=records))
    write(Ramp(meta=meta, data=data, groupdq=groupdq, pixeldq=pixeldq), path)
    return words(shown(path, capsys))


def test_functions_are_told_where_they_are_not_the_built_in_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"jump": "processors.detector1.jump:jump", "linearity": "my_lab.ramps:straight"}
    records = [StepRecord(step=step, outcome="complete", implementation=it) for step, it in paths.items()]
    lines = shown_steps(tmp_path, capsys, *records)
    assert ["my_lab.ramps:straight"] in lines
    assert ["processors.detector1.jump:jump"] not in lines


def test_of_a_step_inside_another_both_functions_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ("processors.detector1.jump:jump", "my_lab.ramps:around")
    records = [StepRecord(step="jump", outcome="complete", implementation=it) for it in paths]
    lines = shown_steps(tmp_path, capsys, *records)
    assert all([path] in lines for path in paths)


def test_several_files_of_one_type_have_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gains = {"name": "one.fits, two.fits", "digest": f"{'a' * 64}, {'b' * 64}"}
    lines = shown_steps(
        tmp_path, capsys, StepRecord(step="jump", outcome="complete", references={"gain": gains})
    )
    assert ["jump", "complete", "gain:", "one.fits", "a" * 12] in lines
    assert ["gain:", "two.fits", "b" * 12] in lines


def test_flags_of_a_ramp_are_counted_in_all_integrations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groupdq = np.zeros((3, 4, 8, 8), np.uint8)
    groupdq[:, 2, 0, 0] = DQ.JUMP_DET
    path = tmp_path / "jw1_nrca1_ramp.fits"
    data = np.ones(groupdq.shape, np.float32)
    write(Ramp(meta=Meta(), data=data, groupdq=groupdq, pixeldq=np.zeros((8, 8), np.uint32)), path)
    assert ["JUMP_DET", "3", "0.391", "%"] in words(shown(path, capsys))


def test_flag_counts() -> None:
    parts = [np.array([0, 1, 5], np.uint8), np.array([4, 0], np.uint8)]
    assert flag_counts(parts) == ({"GOOD": 2, "DO_NOT_USE": 2, "JUMP_DET": 2}, 5)


def test_all_keywords(rate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SUBSIZE1" not in shown(rate, capsys)
    assert "SUBSIZE1" in shown(rate, capsys, "--keywords")


def test_a_raw_exposure_of_somebody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "jw2_nis_uncal.fits"
    science = fits.ImageHDU(np.zeros((2, 3, 8, 8), np.uint16), name="SCI")
    hdus = [fits.PrimaryHDU(header=fits.Header({"INSTRUME": "NIRISS"})), science]
    fits.HDUList(hdus).writeto(path)
    text = shown(path, capsys)
    assert "raw exposure" in text
    assert ["SCI", "2", "x", "3", "x", "8", "x", "8", "u2"] in words(text)
    assert "calstream did not make it" in text


def test_another_fits_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gain.fits"
    hdus = [
        fits.PrimaryHDU(header=fits.Header({"INSTRUME": "NIRCAM"})),
        fits.ImageHDU(np.zeros((4, 5)), name="COEFFS"),
    ]
    fits.HDUList(hdus).writeto(path)
    text = shown(path, capsys)
    assert "does not process: there is no SCI extension" in text
    assert ["1", "COEFFS", "ImageHDU", "4", "x", "5"] in words(text)
    assert ["INSTRUME", "NIRCAM"] in words(text)


def test_an_association(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "jw1_asn.json"
    members = [{"expname": f"jw1_{n}_cal.fits", "exptype": "science"} for n in (1, 2)]
    path.write_text(
        json.dumps({"asn_type": "image3", "products": [{"name": "jw1-o001", "members": members}]})
    )
    text = shown(path, capsys)
    assert "association of type image3" in text
    assert "Product jw1-o001" in text
    assert ["science", "jw1_2_cal.fits"] in words(text)


def test_bad_files_are_told_and_the_others_shown(
    rate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.fits"
    text.write_text("nothing")
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    gone = tmp_path / "gone.ecsv"
    assert main(["inspect", str(text), str(wrong), str(gone), str(rate)]) == 1
    said = capsys.readouterr()
    assert "count rates" in said.out
    lines = said.err.splitlines()
    assert len(lines) == 3
    assert all(any(str(path) in line for line in lines) for path in (text, wrong, gone))
