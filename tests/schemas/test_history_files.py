"""Persistence histories go through their files unchanged; what is none is refused in one sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from schemas.errors import Unprocessable
from schemas.history_file import history_digest, read_history, write_history
from schemas.meta import Provenance
from schemas.products import HISTORY_COLUMNS, PersistenceHistory
from tests.schemas import sample_products as sample


def history(*, rows: int = 2, **changes: object) -> PersistenceHistory:
    pixels = np.array(
        [(3, 5, 60000.125, 81234.5, 2, True), (2047, 0, 60000.25, 20001.0, 1, False)], list(HISTORY_COLUMNS)
    )[:rows]
    for name, value in changes.items():
        pixels[name][0] = value
    meta = replace(sample.make("image", 1).meta, tables={}, wcs=None, quality={})
    return PersistenceHistory(meta=meta, pixels=pixels, integrations=np.array([[60000.0, 60000.3]]))


@pytest.mark.parametrize("rows", [2, 0])
def test_a_history_comes_back_as_it_was(tmp_path: Path, rows: int) -> None:
    written = history(rows=rows)
    content = write_history(written, tmp_path / "a_persistence.fits")
    found = read_history(tmp_path / "a_persistence.fits")
    assert found.pixels.dtype == written.pixels.dtype
    np.testing.assert_array_equal(found.pixels, written.pixels)
    np.testing.assert_array_equal(found.integrations, written.integrations)
    assert content == found.meta.provenance.content == history_digest(found)
    assert found.meta.provenance.steps == written.meta.provenance.steps
    assert found.meta.get("DETECTOR") == "NRCA1"


def test_the_same_history_is_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_history(history(), tmp_path / folder / "a.fits")
    assert (tmp_path / "one/a.fits").read_bytes() == (tmp_path / "two/a.fits").read_bytes()
    assert [path.name for path in tmp_path.glob("*/.*")] == []


def test_a_file_from_before_is_read_and_has_the_digest_that_it_had() -> None:
    """Of the first release of histories: nobody edits it."""
    found = read_history(Path(__file__).parent / "golden/v1/history_persistence.fits")
    np.testing.assert_array_equal(found.pixels, history().pixels)
    np.testing.assert_array_equal(found.integrations, history().integrations)
    assert found.meta.provenance.content == history_digest(found)


@pytest.mark.parametrize(
    "change",
    [{"x": 6}, {"time": 60000.126}, {"fluence": 1.0}, {"integrations": 3}, {"saturated": False}],
    ids=lambda change: next(iter(change)),
)
def test_every_column_is_content(change: dict[str, object]) -> None:
    assert history_digest(history(**change)) != history_digest(history())


def test_how_it_was_made_is_no_content() -> None:
    one = history()
    meta = replace(one.meta, provenance=Provenance(run={"attempt": "7"}))
    assert history_digest(replace(one, meta=meta)) == history_digest(one)


def no_fits(path: Path) -> None:
    path.write_bytes(b"no FITS file")


def an_image(path: Path) -> None:
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)


def cut(path: Path) -> None:
    write_history(history(), path)
    path.write_bytes(path.read_bytes()[:5000])


def without_a_column(path: Path) -> None:
    write_history(history(), path)
    with fits.open(path, mode="update") as hdus:
        hdus["PIXELS"].columns.del_col("time")


def absent(path: Path) -> None:
    pass


@pytest.mark.parametrize("made", [no_fits, an_image, cut, without_a_column, absent])
def test_what_is_no_history_is_refused_in_one_sentence(made, tmp_path: Path) -> None:
    path = tmp_path / "x_persistence.fits"
    made(path)
    with pytest.raises(Unprocessable) as caught:
        read_history(path)
    assert re.fullmatch(rf"{re.escape(str(path))}: [^\n]*; (give|check)[^\n]*", str(caught.value))
