"""The page: what it shows of a folder, what it leaves out, and that it needs nothing else."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy.io import fits

from schemas.catalogue_file import read_catalogue, write_catalogue
from schemas.errors import Unprocessable
from schemas.quality import FIGURES
from streams.cli import main
from streams.report import ReportRequest, write_report
from tests.streams.report.conftest import EXPOSURES

MOSAIC = "jw01234-o001_t001_nircam_clear-f200w"
VOID = {"meta", "link", "img", "input", "br", "hr", "wbr"}


class Page(HTMLParser):
    """Collects what a page holds, and demands that every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.words, self.images = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href", "xlink:href", "data") if name in found]
        if tag == "img":
            self.images.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href", "xlink:href") if name in found]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def folder(products, tmp_path):
    return shutil.copytree(products, tmp_path / "folder")


def page_of(folder, truth=True, record=True):
    out = folder / "page.html"
    checks = write_report(
        ReportRequest(
            folder=folder,
            out=out,
            truth=folder / "truth" if truth else None,
            record=folder / "run.json" if record else None,
        )
    )
    return Page(out.read_text(encoding="utf-8")), checks


def test_the_page_shows_everything(folder):
    page, checks = page_of(folder)
    assert [check.passed for check in checks] == [True, True]
    for wanted in (
        MOSAIC, "Coverage", "Catalogue", "Timeline of the run", "Recovered against true", "Provenance",
        "jwst_0042.pmap", "optimal", "10 s", "rejection_threshold = 5.5", "command line",
        "jwst_nircam_gain_0001.fits",
        "calstream 0.1.0",
    ):  # fmt: skip
        assert wanted in page.text, wanted
    assert "No combined product" not in page.text


def test_quality_of_exposures_is_shown_where_it_is_known(folder):
    page, _ = page_of(folder)
    kind = FIGURES["cosmic_ray_rate"]
    assert f"{kind.label} {kind.unit} jw01234001001_02101_00002_nrca1 5.32" in page.text
    assert "6.32" in page.text
    assert FIGURES["saturated_fraction"].label not in page.text
    for path in folder.glob("*_[rc]a*.fits"):
        if not path.name.startswith(EXPOSURES[0]):
            path.unlink()
    assert kind.label not in page_of(folder)[0].text


def test_it_needs_no_network_and_no_other_file(folder):
    page, _ = page_of(folder)
    text = (folder / "page.html").read_text()
    assert page.addresses
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.search(r"@import|url\((?!#|data:)", text)
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_every_image_has_words_and_a_size(folder):
    page, _ = page_of(folder)
    assert len(page.images) == 2 + 3
    assert all(image["alt"] and int(image["width"]) == 160 for image in page.images)


def test_what_a_header_says_is_text_and_never_markup(folder):
    _, _ = page_of(folder)
    text = (folder / "page.html").read_text()
    assert "A &lt;b&gt;field&lt;/b&gt;" in text
    assert "<b>field</b>" not in text
    assert "no <flat>" not in text


def test_without_truth_and_record_their_panels_are_absent(folder):
    page, checks = page_of(folder, truth=False, record=False)
    assert checks == []
    assert not {"checks", "errors", "timeline"} & set(page.ids)
    assert "Recovered" not in page.text
    assert MOSAIC in page.text


def test_a_run_that_ended_before_says_so_and_shows_its_exposures(folder):
    for path in folder.glob(f"{MOSAIC}*"):
        path.unlink()
    for path in folder.glob("*_cal.fits"):
        path.unlink()
    for path in folder.glob("*_i2d.fits"):
        path.unlink()
    page, _ = page_of(folder, truth=False)
    assert "No combined product" in page.text
    assert len(page.images) == 3
    assert all("rate" in image["alt"] for image in page.images)


def test_each_mosaic_has_a_section(folder):
    other = MOSAIC.replace("f200w", "f150w")
    for suffix in ("i2d.fits", "cat.ecsv"):
        shutil.copy(folder / f"{MOSAIC}_{suffix}", folder / f"{other}_{suffix}")
    with fits.open(folder / f"{other}_i2d.fits", mode="update") as file:
        file[0].header["FILTER"] = "F150W"
    page, checks = page_of(folder)
    assert {"m0", "m1"} <= set(page.ids)
    assert other in page.text
    assert (
        len([check for check in checks if check.name.startswith("Fluxes")]) == 1
    )  # the truth is of the other


def test_a_mosaic_without_catalogue_is_shown_without(folder):
    (folder / f"{MOSAIC}_cat.ecsv").unlink()
    page, checks = page_of(folder)
    assert "Catalogue" not in page.text
    assert [check.name for check in checks] == ["Errors of apertures"]


def test_an_empty_catalogue_is_told(folder):
    path = folder / f"{MOSAIC}_cat.ecsv"
    found = read_catalogue(path)
    write_catalogue(type(found)(meta=found.meta, sources=found.sources[:0]), path)
    page, checks = page_of(folder)
    assert "No source was found" in page.text
    assert not checks[0].passed


def test_a_damaged_product_is_named_and_the_others_shown(folder):
    path = folder / f"{MOSAIC.replace('f200w', 'f444w')}_i2d.fits"
    path.write_bytes(b"SIMPLE  = nothing")
    page, _ = page_of(folder)
    assert path.name in page.text
    assert "m0" in page.ids


def test_a_folder_without_products_is_refused(tmp_path):
    with pytest.raises(Unprocessable, match="no products"):
        write_report(ReportRequest(folder=tmp_path, out=tmp_path / "page.html"))
    with pytest.raises(Unprocessable, match="no folder"):
        write_report(ReportRequest(folder=tmp_path / "none", out=tmp_path / "page.html"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "a b\n1 2\n"])
def test_a_truth_that_is_none_is_refused(folder, content):
    (folder / "truth/sources.ecsv").write_text(content)
    with pytest.raises(Unprocessable, match="calstream simulate"):
        page_of(folder)
    assert not (folder / "page.html").exists()


def test_a_truth_of_another_shape_is_refused(folder):
    path = next(folder.glob("truth/*_truth.fits"))
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 4)), name="CAL")]).writeto(
        path, overwrite=True
    )
    with pytest.raises(Unprocessable, match="its shape"):
        page_of(folder)


def command(folder, *options):
    return main(["report", str(folder), "--record", str(folder / "run.json"), *options])


def test_the_command_checks_and_says_where_the_page_is(folder, capsys):
    assert command(folder, "--truth", str(folder / "truth"), "--check") == 0
    out = capsys.readouterr().out
    assert "off in the mean of 16 stars" in out
    assert out.splitlines()[-1].endswith(str(folder / "index.html"))
    assert (folder / "index.html").exists()


@pytest.mark.parametrize("what", ["fluxes", "errors", "no mosaic"])
def test_the_check_fails_on_wrong_products_and_the_page_is_there(folder, capsys, what):
    if what == "fluxes":
        found = read_catalogue(folder / f"{MOSAIC}_cat.ecsv")
        found.sources["aper_total_flux"] *= 0.99
        write_catalogue(found, folder / f"{MOSAIC}_cat.ecsv")
    elif what == "errors":
        for path in folder.glob("*_cal.fits"):
            with fits.open(path, mode="update") as file:
                file["ERR"].data = file["ERR"].data * 0.8
    else:
        (folder / f"{MOSAIC}_i2d.fits").unlink()
    assert command(folder, "--truth", str(folder / "truth"), "--check") == 1
    assert "calstream:" in capsys.readouterr().err
    assert (folder / "index.html").exists()
    assert command(folder, "--truth", str(folder / "truth")) == 0


def test_a_check_needs_a_truth(folder, capsys):
    assert command(folder, "--check") == 2
    assert "--truth" in capsys.readouterr().err
