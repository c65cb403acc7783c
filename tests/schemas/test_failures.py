"""Writing is all or nothing; recipes, associations and references that are wrong are explained."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.associations import read_association
from schemas.errors import Retriable, Unprocessable, UsageError, os_failure
from schemas.recipe import Recipe, parse_recipe
from schemas.reference_files import load
from schemas.references import Window
from schemas.writing import ProductWriter, write
from tests.schemas import sample_products as sample


def failing(number: int, after: int) -> Any:
    """Return a pwrite that fails when it is called for the time `after`."""
    real, calls = os.pwrite, []

    def pwrite(fd: int, content: Any, offset: int) -> int:
        calls.append(offset)
        if len(calls) > after:
            raise OSError(number, os.strerror(number))
        return real(fd, content, offset)

    return pwrite


@pytest.mark.parametrize("after", [0, 1, 3, 8, 12])
def test_full_disk_leaves_nothing(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x_rate.fits"
    monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC, after))
    with pytest.raises(Retriable) as caught:
        write(sample.make("image"), path)
    assert (
        str(caught.value) == f"{path}: it cannot be written (no space left on device); free some space there"
    )
    assert list(tmp_path.iterdir()) == []


def test_full_disk_at_the_last_moment_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x_rate.fits"
    path.write_bytes(b"old")

    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Retriable):
        write(sample.make("image"), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(sample.make("image"), tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(sample.make("image"), tmp_path / "x.fits")
    expected = (tmp_path / "x.fits").read_bytes()
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: real(fd, content[:100], offset))
    write(sample.make("image"), tmp_path / "x.fits")
    assert (tmp_path / "x.fits").read_bytes() == expected


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = sample.make("image")
    with pytest.raises(
        Unprocessable, match=r"nowhere/x.fits: it cannot be written \(no such file .*check the path"
    ):
        write(product, tmp_path / "nowhere" / "x.fits")
    (tmp_path / "x.fits").mkdir()
    with pytest.raises(Unprocessable, match=r"is a directory.*move that folder"):
        write(product, tmp_path / "x.fits")
    assert [path.name for path in tmp_path.iterdir()] == ["x.fits"]
    monkeypatch.setattr(os, "pwrite", failing(errno.EACCES, 0))
    with pytest.raises(Unprocessable, match=r"permission denied.*right to it"):
        write(product, tmp_path / "y.fits")


def test_folder_without_the_right_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("the superuser may write everywhere")
    with pytest.raises(Unprocessable, match="permission denied"):
        write(sample.make("image"), folder / "x.fits")


def _broken(path: Path) -> None:
    cube = sample.make("cube", 2)
    with ProductWriter(path, cube, 4) as writer:
        writer.append(cube)
        raise RuntimeError("a step failed")


def test_writer_removes_what_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        _broken(tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_is_one_sentence(number: int) -> None:
    failure = os_failure(OSError(number, os.strerror(number)), "/data/x.fits", "read")
    assert isinstance(failure, Retriable | Unprocessable)
    start, _, advice = str(failure).partition("; ")
    assert start.startswith("/data/x.fits: it cannot be read (")
    assert advice


BAD_RECIPES = {
    "[": "not YAML",
    "\x00": "not YAML",
    "": "a recipe is a YAML mapping",
    "- a": "a recipe is a YAML mapping",
    "stepz: {}": "did you mean steps",
    "steps: 5": "steps: input should be",
    "steps: {jump: {a: 1}, jump: {}}": "'jump' is given twice",
    "steps: {jump: 5}": "steps.jump",
    "steps: {1: {}}": "string",
    "name: 'two words'": "name",
    "crds_context: latest": "crds_context",
    "overrides: [{steps: {}}]": "overrides.0.when",
    "overrides: [{when: {filter: x}, stps: {}}]": "did you mean steps",
    "handlers: {ramp_fit: {sevice: x}}": "service",
    "handlers: {ramp_fit: {service: 'A B'}}": "handlers.ramp_fit.service",
    "name: 2024-13-45": "not YAML",
    "steps: &s {j: *s}": "it cannot be stored",
    "steps: {j: {a: !!python/object/apply:os.system [x]}}": "not YAML",
    "[" * 5000: "not YAML",
    "a: " + "1" * 5000: "not YAML",
    "{a: b}: c": "not YAML",
}


@pytest.mark.parametrize(("text", "expected"), BAD_RECIPES.items(), ids=range(len(BAD_RECIPES)))
def test_bad_recipes(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(text, "my.yaml")
    said = str(caught.value)
    assert said.startswith("my.yaml: ")
    assert expected in said
    assert "\n" not in said


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60) | st.text("{}[]:,&*!|>-?'\"#%@ \nstepabwhn01.", max_size=60))
def test_any_text_is_a_recipe_or_a_usage_error(text: str) -> None:
    try:
        recipe = parse_recipe(text, "my.yaml")
    except UsageError:
        return
    assert parse_recipe(recipe.to_yaml(), "again").digest == recipe.digest


words = st.text(st.characters(exclude_categories=["C"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text("abc", max_size=3), part, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.dictionaries(st.text("abc_", min_size=1), st.dictionaries(st.text("abc", min_size=1), values))
)
def test_recipes_survive_yaml(steps: dict[str, Any]) -> None:
    recipe = Recipe(name="mine", steps=steps)
    again = parse_recipe(recipe.to_yaml(), "x")
    assert again.digest == recipe.digest
    assert again.to_yaml() == recipe.to_yaml()


def test_digest_of_a_recipe_sees_its_parameters() -> None:
    one, other = (parse_recipe(f"steps: {{jump: {{rejection_threshold: {x}}}}}", "x") for x in (4.0, 4.5))
    assert one.digest != other.digest
    assert not one.replaces_code
    assert parse_recipe(
        "overrides: [{when: {filter: F200W}, steps: {jump: {use: 'a:b'}}}]", "x"
    ).replaces_code


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe", b'{"asn_type": "image3", "products": []}', b"[" * 9999]
)
def test_bad_associations(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x_asn.json"
    path.write_bytes(content)
    with pytest.raises(Unprocessable, match="no JWST association") as caught:
        read_association(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(Unprocessable, match="no such file"):
        read_association(tmp_path / "y_asn.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"{",
            "it cannot be read as JSON (Expecting property name enclosed in double quotes: line 1 column 2",
        ),
        (b"[]", "the JSON is a list where an object with products is needed"),
        (b"{}", "asn_type: field required"),
        (b'{"asn_type": "image3", "products": [{"name": "x"}]}', "products.0.members: field required"),
        (b'{"asn_type": "image3", "products": 3}', "products: input should be a valid tuple"),
    ],
)
def test_what_an_association_lacks_is_one_sentence(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x_asn.json"
    path.write_bytes(content)
    with pytest.raises(Unprocessable) as caught:
        read_association(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: this is no JWST association, {reason}")
    assert said.endswith("; mend it or give a *_asn.json file")
    assert "pydantic" not in said
    assert "validation error" not in said


@pytest.mark.parametrize("cut", [0, 100, 2880, 5000, 8000, 20000])
@pytest.mark.parametrize("reftype", ["flat", "dark", "photom", "mask"])
def test_damaged_references(reftype: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / "ref.fits"
    shape = (3, 40, 50) if reftype == "dark" else (40, 50)
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.ones(shape, "f4"), name="SCI"),
        fits.ImageHDU(np.ones(shape), name="DQ"),
    ]
    fits.HDUList(hdus).writeto(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Unprocessable) as caught:
        load(path, reftype, "0" * 64, Window(0, 0, 50, 40))
    assert str(caught.value).startswith(f"{path}: ")
    assert "; " in str(caught.value)


def test_table_reference_without_a_table(tmp_path: Path) -> None:
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 5)), name="SCI")]).writeto(tmp_path / "x.fits")
    with pytest.raises(Unprocessable, match="it has no table"):
        load(tmp_path / "x.fits", "photom", "", Window(0, 0, 5, 4))


def test_reference_that_does_not_cover_the_exposure(tmp_path: Path) -> None:
    path = tmp_path / "flat.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((40, 50), "f4"), name="SCI")]).writeto(path)
    with pytest.raises(Unprocessable, match="do not cover the exposure"):
        load(path, "flat", "", Window(40, 0, 20, 40))
    with pytest.raises(Unprocessable, match=r"no such file .*check the path"):
        load(tmp_path / "none.fits", "flat", "", Window(0, 0, 20, 40))
    with pytest.raises(Unprocessable, match="cannot be read as a distortion"):
        load(path, "distortion", "", Window(0, 0, 20, 40))
