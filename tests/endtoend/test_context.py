"""`--context`: a run takes the reference files of the context that the user names."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from schemas.reading import read
from simulator.crds_cache import CrdsCache
from streams.cli import main

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


@pytest.fixture
def two_contexts(downlink, tmp_path, monkeypatch) -> list[str]:
    """The names of the two flats of a cache: that of jwst_0001.pmap, and twice that since jwst_0002.pmap."""
    folder = tmp_path / "crds_cache"
    shutil.copytree(downlink / "crds_cache", folder)
    cache, match = CrdsCache(folder), ("NRCA1", "F200W", "CLEAR")
    flat = cache.find("NIRCAM", "flat", match)
    newer = cache.new_path("NIRCAM", "flat", "fits")
    with fits.open(flat) as hdus:
        hdus["SCI"].data *= 2
        hdus.writeto(newer)
    cache.add("NIRCAM", "flat", match, newer)
    assert cache.commit() == "jwst_0002.pmap"
    monkeypatch.setenv("CRDS_PATH", str(folder))
    monkeypatch.delenv("CRDS_SERVER_URL", raising=False)
    return [flat.name, newer.name]


def calibrated(rate: Path, out: Path, *options: str) -> tuple[Path, str, str]:
    """Return the cal, its flat and its context."""
    assert main(["run", str(rate), "--out", str(out), "--until", "cal", "--quiet", *options]) == 0
    (cal,) = out.glob("*_cal.fits")
    header = fits.getheader(cal)
    return cal, header["R_FLAT"].removeprefix("crds://"), header["CRDS_CTX"]


def test_its_files_are_taken(two_contexts, processed, tmp_path, monkeypatch):
    older, newer = two_contexts
    rate = next(processed.glob("*_nrca1_rate.fits"))
    monkeypatch.delenv("CRDS_CONTEXT", raising=False)
    usual, *said = calibrated(rate, tmp_path / "usual")
    assert said == [newer, "jwst_0002.pmap"]
    named, *said = calibrated(rate, tmp_path / "named", "--context", "jwst_0001.pmap")
    assert said == [older, "jwst_0001.pmap"]
    np.testing.assert_allclose(read(named).data, 2 * read(usual).data, rtol=1e-5)
    again, *said = calibrated(rate, tmp_path / "again", "--context", "jwst-operational")
    assert said == [newer, "jwst_0002.pmap"]
    assert again.read_bytes() == usual.read_bytes()


def test_it_overrules_recipe_and_environment(two_contexts, processed, tmp_path, monkeypatch):
    older, newer = two_contexts
    rate = next(processed.glob("*_nrca1_rate.fits"))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nbase: optimal\ncrds_context: jwst_0001.pmap\n")
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0002.pmap")
    _, *said = calibrated(rate, tmp_path / "recipe", "--recipe", str(recipe))
    assert said == [older, "jwst_0001.pmap"]
    options = ["--recipe", str(recipe), "--context", "jwst_0002.pmap"]
    _, *said = calibrated(rate, tmp_path / "option", *options)
    assert said == [newer, "jwst_0002.pmap"]


def test_a_context_that_is_not_there(two_contexts, processed, tmp_path, capsys):
    rate = next(processed.glob("*_nrca1_rate.fits"))
    out = tmp_path / "out"
    assert main(["run", str(rate), "--out", str(out), "--context", "jwst_9999.pmap"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "jwst_9999.pmap" in line
    assert not list(out.iterdir())
