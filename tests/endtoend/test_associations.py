"""Mosaics of associations: the user's own, and those that lack a member."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits

MOSAIC = "jw01234-o001_t-simulated-field_nircam_clear-f200w-sub160"


def uncals(downlink):
    return sorted(downlink.glob("*_uncal.fits"))


def test_an_association_of_cals(processed, process, tmp_path):
    cals = sorted(processed.glob("*_nrca1_cal.fits"))
    asn = tmp_path / "my_asn.json"
    for cal in cals:
        shutil.copy(cal, tmp_path)
    asn.write_text(
        json.dumps(
            {
                "asn_type": "image3",
                "asn_rule": "DMS_Level3_Base",
                "program": "01234",
                "asn_pool": "my_pool",
                "products": [
                    {"name": "mine", "members": [{"expname": c.name, "exptype": "science"} for c in cals]}
                ],
            }
        )
    )
    out = tmp_path / "out"
    summary = process(asn, out=out)
    assert not summary.failed, summary.endings
    assert {p.name for p in out.iterdir()} == {"mine_i2d.fits", "mine_cat.ecsv", "mine_segm.fits"}
    for name in ("mine_i2d.fits", "mine_segm.fits"):
        assert association_of(out / name) == ("my_asn.json", "my_pool")


def test_a_failed_exposure_does_not_keep_the_others_from_their_mosaic(downlink, process, tmp_path):
    bad = tmp_path / uncals(downlink)[0].name
    bad.write_bytes(uncals(downlink)[0].read_bytes()[:50_000])
    out = tmp_path / "out"
    summary = process(bad, *uncals(downlink)[1:], out=out)
    assert summary.failed
    assert (out / f"{MOSAIC}_i2d.fits").exists()
    assert next(e for e in summary.endings if e.failed).name == str(bad)


def association_of(path) -> tuple[str, str]:
    header = fits.getheader(path)
    return header["ASNTABLE"], header["ASNPOOL"]


def test_headers_tell_the_association(downlink, processed):
    """As JWST's pipeline says it: singleton of what is made of one exposure."""
    for name in (f"{MOSAIC}_i2d.fits", f"{MOSAIC}_segm.fits"):
        assert association_of(processed / name) == (f"{MOSAIC}_asn.json", "none")
    for uncal in uncals(downlink):
        stem = uncal.name.removesuffix("_uncal.fits")
        for suffix in ("cal", "i2d"):
            assert association_of(processed / f"{stem}_{suffix}.fits") == ("singleton", "singleton")
        assert "ASNTABLE" not in fits.getheader(processed / f"{stem}_rate.fits")


def saturated(uncal, folder):
    path = folder / uncal.name
    with fits.open(uncal) as hdus:
        hdus["SCI"].data = np.full(hdus["SCI"].data.shape, 65535, np.uint16)
        hdus.writeto(path)
    return path


def test_a_mosaic_that_lacks_members_says_so_and_why(downlink, process, tmp_path):
    bad = [saturated(uncal, tmp_path) for uncal in uncals(downlink)[:2]]
    summary = process(*bad, *uncals(downlink)[2:], out=tmp_path / "out")
    (mosaic,) = [ending for ending in summary.endings if ending.name == MOSAIC]
    names = ", ".join(path.name.removesuffix("_uncal.fits") for path in bad)
    assert mosaic.level == "combined"
    assert mosaic.reason == (
        f"the end of the road, with 2 of 4 members: {names} failed in detector1+ramp_fit"
    )
    again = process(*bad, *uncals(downlink)[2:], out=tmp_path / "out")
    assert mosaic in again.endings  # up to date, and no more complete


def test_a_whole_mosaic_is_just_the_end_of_the_road(downlink, processed, process):
    endings = process(downlink, out=processed).endings
    assert [e.reason for e in endings if e.name == MOSAIC] == ["the end of the road"]


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"asn_type": "spec3"}, "no stage for asn_type 'spec3'"),
        ({"name": "Prod A.X"}, "no product name"),
    ],
)
def test_an_association_that_cannot_be_made_is_one_sentence_and_the_others_go_on(
    downlink, processed, process, tmp_path, tree, words
):
    cal = next(processed.glob("*_cal.fits"))
    shutil.copy(cal, tmp_path)
    product = {"name": tree.get("name", "mine"), "members": [{"expname": cal.name, "exptype": "science"}]}
    asn = tmp_path / "bad_asn.json"
    asn.write_text(json.dumps({"asn_type": tree.get("asn_type", "image3"), "products": [product]}))
    summary = process(asn, uncals(downlink)[0], out=tmp_path / "out", until="rate")
    assert [ending.failed for ending in summary.endings] == [True, False]
    assert words in summary.endings[0].reason
