"""`schemas.read` and `schemas.write` take every kind of product, by the file's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable

import schemas
from schemas.content import catalogue_digest, content_digest
from schemas.errors import Unprocessable, UsageError
from schemas.meta import Keywords, Meta
from schemas.products import Catalogue, Rate
from tests.schemas import sample_products as sample


def catalogue() -> Catalogue:
    meta = Meta(primary=Keywords({"FILTER": "F200W"}))
    return Catalogue(meta=meta, sources=QTable({"label": np.array([1, 2]), "flux": np.array([0.5, 1 / 3])}))


def test_catalogues(tmp_path: Path) -> None:
    path = tmp_path / "m_cat.ecsv"
    digest = schemas.write(catalogue(), path)
    found = schemas.read(str(path))
    assert isinstance(found, Catalogue)
    assert found.meta.get("FILTER") == "F200W"
    assert list(found.sources["flux"]) == [0.5, 1 / 3]
    assert digest == catalogue_digest(found)


def test_images(tmp_path: Path) -> None:
    path = tmp_path / "x_cal.fits"
    digest = schemas.write(sample.make("image"), str(path))
    found = schemas.read(path)
    assert isinstance(found, Rate)
    assert digest == content_digest(found)


def test_the_name_must_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"m\.fits: a catalogue is written to a \.ecsv file"):
        schemas.write(catalogue(), tmp_path / "m.fits")
    with pytest.raises(UsageError, match=r"m\.ecsv: a Rate is written to a \.fits file"):
        schemas.write(sample.make("image"), tmp_path / "m.ecsv")
    assert not list(tmp_path.iterdir())
    with pytest.raises(Unprocessable, match=r"none_cat\.ecsv"):
        schemas.read(tmp_path / "none_cat.ecsv")
