"""A file goes into the store, digested and copied in one pass."""

from __future__ import annotations

import hashlib

import pytest

from schemas.errors import Retriable
from schemas.reading import ProductFile
from schemas.stored_content import digest_of_path
from schemas.writing import write
from streams.ingest import deposit as deposit_module
from streams.ingest.deposit import deposit, digested
from tests.schemas.sample_products import LAYOUTS, make


@pytest.mark.parametrize("chunk", [1000, 8 << 20])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_digests_are_those_of_the_whole_file_whatever_the_chunks(tmp_path, monkeypatch, layout, chunk):
    monkeypatch.setattr("streams.ingest.deposit._CHUNK", chunk)
    path = tmp_path / "x.fits"
    write(make(layout), path)
    with ProductFile(path) as file:
        found = digested(file)
    assert found.content == digest_of_path(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.size, found.uri) == (path.stat().st_size, path.as_uri())


def test_arrays_that_are_stored_in_another_way_are_digested_by_their_values(tmp_path):
    from astropy.io import fits

    path, other = tmp_path / "x_rate.fits", tmp_path / "y_rate.fits"
    write(make("image"), path)
    with fits.open(path) as hdus:
        hdus["SCI"].data = hdus["SCI"].data.astype("f8")
        hdus.writeto(other)
    with ProductFile(other) as file:
        assert digested(file).content == digest_of_path(path)


def test_a_copy_is_fetched_as_it_was(site, arrive):
    path = arrive()
    with ProductFile(path) as file:
        artifact = deposit(file, site.store, "raw", "a", "uncal")
        assert deposit(file, site.store, "raw", "a", "uncal") == artifact
    with site.store.fetch(artifact) as copy:
        assert copy.name == "a_uncal.fits"
        assert copy.read_bytes() == path.read_bytes()


def test_a_file_that_grows_meanwhile_is_not_taken(site, arrive, monkeypatch):
    path = arrive()
    read = deposit_module._read

    def growing(file, position):
        chunk = read(file, position)
        if position == 0:
            with path.open("ab") as grown:
                grown.write(b" ")
        return chunk

    monkeypatch.setattr(deposit_module, "_read", growing)
    with ProductFile(path) as file, pytest.raises(Retriable, match="changed while it was read"):
        deposit(file, site.store, "raw", "a", "uncal")
    assert site.store.names("incoming") == site.store.names("raw") == []
