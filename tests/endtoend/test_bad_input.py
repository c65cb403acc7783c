"""Bad input gets one clear sentence that says what to do, and the other files go on."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from schemas.errors import CalstreamError


@pytest.fixture
def uncal(downlink):
    return sorted(downlink.glob("*_uncal.fits"))[0]


def edited(uncal: Path, folder: Path, change) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / uncal.name
    with fits.open(uncal) as hdus:
        change(hdus)
        hdus.writeto(path)
    return path


def set_card(keyword, value):
    return lambda hdus: hdus[0].header.__setitem__(keyword, value)


def remove_card(keyword, hdu=0):
    return lambda hdus: hdus[hdu].header.remove(keyword)


def fill(value):
    def change(hdus):
        hdus["SCI"].data = np.full(hdus["SCI"].data.shape, value, np.uint16)

    return change


def drop_sci(hdus):
    del hdus["SCI"]


def three_axes(hdus):
    hdus["SCI"].data = hdus["SCI"].data[0]


CASES = {
    "not FITS": (lambda u, d: _text(d, b"this is not a FITS file at all"), "not a FITS file"),
    "empty": (lambda u, d: _text(d, b""), "empty"),
    "truncated": (lambda u, d: _text(d, u.read_bytes()[:60_000]), "truncated"),
    "no SCI": (lambda u, d: edited(u, d, drop_sci), "SCI"),
    "wrong dimensions": (lambda u, d: edited(u, d, three_axes), "axes"),
    "header and data disagree": (lambda u, d: edited(u, d, set_card("NGROUPS", 99)), "NGROUPS = 99"),
    "unknown EXP_TYPE": (lambda u, d: edited(u, d, set_card("EXP_TYPE", "NRC_IMAEG")), "NRC_IMAGE"),
    "missing keyword": (lambda u, d: edited(u, d, remove_card("READPATT")), "READPATT"),
    "missing type": (
        lambda u, d: edited(u, d, remove_card("EXP_TYPE")),
        "the primary header lacks EXP_TYPE; add it there",
    ),
    "unknown detector": (lambda u, d: edited(u, d, set_card("DETECTOR", "NRCA9")), "NRCA9"),
    "another instrument": (lambda u, d: edited(u, d, set_card("INSTRUME", "NIRISS")), "NIRISS"),
    "another number of integrations": (lambda u, d: edited(u, d, set_card("NINTS", 3)), "3 integrations"),
    "no number": (lambda u, d: edited(u, d, set_card("TGROUP", "abc")), "TGROUP = 'abc'"),
    "out of range": (lambda u, d: edited(u, d, set_card("GROUPGAP", -3)), "GROUPGAP = -3"),
    "zero": (lambda u, d: edited(u, d, set_card("TGROUP", 0.0)), "TGROUP = 0.0"),
    "all saturated": (lambda u, d: edited(u, d, fill(65535)), "saturated"),
}


def _text(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "jw01234001001_02101_00009_nrca1_uncal.fits"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_nothing_half_written_and_the_others_go_on(case, uncal, process, tmp_path):
    make, words = CASES[case]
    bad = make(uncal, tmp_path / "in")
    other = sorted(uncal.parent.glob("*_uncal.fits"))[1]
    out = tmp_path / "out"
    summary = process(bad, other, out=out, until="rate")
    assert summary.failed
    failed = [ending for ending in summary.endings if ending.failed]
    assert len(failed) == 1
    sentence = failed[0].reason
    assert words in sentence
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert "internal error" not in sentence
    stems = {path.name.rpartition("_")[0] for path in out.iterdir()}
    assert stems == {other.name.removesuffix("_uncal.fits")}


@pytest.mark.parametrize("keyword", ["RA_REF", "V2_REF", "ROLL_REF"])
def test_a_missing_pointing_keyword_belongs_in_sci(keyword, uncal, process, tmp_path):
    bad = edited(uncal, tmp_path / "in", remove_card(keyword, "SCI"))
    (ending,) = process(bad, out=tmp_path / "out").endings
    assert ending.failed
    assert f"the SCI header lacks {keyword}; add it there" in ending.reason
    assert "primary" not in ending.reason


def test_a_rate_that_has_had_its_flat_field(uncal, processed, process, tmp_path):
    """As other software leaves it; the user may say that the flat field is done."""
    stem = uncal.name.removesuffix("_uncal.fits")
    flat = tmp_path / f"{stem}_rate.fits"
    with fits.open(processed / flat.name) as hdus:
        del hdus["CALSTREAM"]
        hdus[0].header["S_FLAT"] = "COMPLETE"
        hdus.writeto(flat)
    (ending,) = process(flat, out=tmp_path / "out", until="cal").endings
    assert ending.failed
    assert f"step flat_field: {flat.name} has had it already (S_FLAT = COMPLETE)" in ending.reason
    skipped = {"flat_field": {"skip": True}}
    summary = process(flat, out=tmp_path / "out", until="cal", command_line=skipped)
    assert not summary.failed, summary.endings
    assert fits.getval(tmp_path / "out" / f"{stem}_cal.fits", "S_FLAT") == "COMPLETE"


def test_a_path_that_is_not_there(process, tmp_path, uncal):
    summary = process(tmp_path / "nothing_uncal.fits", uncal, out=tmp_path / "out", until="rate")
    assert [e.failed for e in summary.endings] == [True, False]
    assert "nothing_uncal.fits" in summary.endings[0].reason


def test_an_empty_folder_does_not_keep_the_others(process, tmp_path, uncal):
    (tmp_path / "empty").mkdir()
    summary = process(tmp_path / "empty", uncal, out=tmp_path / "out", until="rate")
    assert [e.failed for e in summary.endings] == [True, False]
    assert "no *_uncal.fits" in summary.endings[0].reason


def test_a_missing_reference_names_type_keywords_and_context(uncal, process, tmp_path, monkeypatch):
    cache = tmp_path / "crds"
    shutil.copytree(uncal.parent / "crds_cache", cache)
    rmap = cache / "mappings/jwst/jwst_nircam_0001.imap"
    text = rmap.read_text()
    changed = [
        line if "'superbias'" not in line and '"superbias"' not in line else "    'superbias' : 'N/A',"
        for line in text.splitlines()
    ]
    kept = "".join(line + "\n" for line in changed if "sha1sum" not in line)
    fresh = hashlib.sha1(kept.encode()).hexdigest()
    rmap.write_text("".join(f"    'sha1sum' : '{fresh}',\n" if "sha1sum" in c else c + "\n" for c in changed))
    monkeypatch.setenv("CRDS_PATH", str(cache))
    (ending,) = process(uncal, out=tmp_path / "out", until="rate").endings
    assert ending.failed
    for word in ("superbias", "NRCA1", "jwst_0001.pmap", "--set superbias.override_superbias=FILE"):
        assert word in ending.reason


@pytest.mark.parametrize(
    ("step", "reftype"), [("ramp_fit", "gain"), ("flat_field", "flat"), ("photom", "area")]
)
def test_an_all_nan_reference_is_named(step, reftype, uncal, process, tmp_path):
    reference = next((uncal.parent / "crds_cache/references/jwst/nircam").glob(f"*_{reftype}_*"))
    bad = tmp_path / f"nan_{reftype}.fits"
    with fits.open(reference) as hdus:
        hdus["SCI"].data[...] = np.nan
        hdus.writeto(bad)
    settings = {step: {f"override_{reftype}": str(bad)}}
    (ending,) = process(uncal, out=tmp_path / "out", until="cal", command_line=settings).endings
    assert ending.failed
    assert ending.reason.startswith(f"step {step}: nan_{reftype}.fits: none of the ")
    assert f"--set {step}.override_{reftype}=FILE" in ending.reason


def test_no_crds_path(uncal, process, tmp_path, monkeypatch):
    monkeypatch.delenv("CRDS_PATH")
    (ending,) = process(uncal, out=tmp_path / "out", until="rate").endings
    assert ending.failed
    assert "CRDS_PATH" in ending.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(uncal, process, tmp_path):
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    with pytest.raises(CalstreamError, match="out"):
        process(uncal, out=out, until="rate")


def test_a_file_where_the_folder_should_be(uncal, process, tmp_path):
    out = tmp_path / "out"
    out.write_text("x")
    with pytest.raises(CalstreamError, match="out"):
        process(uncal, out=out, until="rate")
