"""Recipes as files, in the store, and the fingerprint of the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streams.recipes
from processors.recipes import builtin
from schemas.errors import Unprocessable, UsageError
from schemas.recipe import Recipe
from streams.recipes import enable, enabled, fingerprint, freeze, frozen, load_recipe
from streams.store import Store


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put_if_absent(self, path: str, content: bytes) -> bool:
        if path in self.files:
            return False
        self.files[path] = content
        return True

    def read_bytes(self, path: str) -> bytes:
        return self.files[path]

    def exists(self, path: str) -> bool:
        return path in self.files


def test_by_name() -> None:
    assert load_recipe("optimal") is builtin("optimal")
    assert load_recipe("baseline").crds_parameters


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "deep field.yaml"
    path.write_text("base: baseline\nsteps: {jump: {rejection_threshold: 5}}\n")
    recipe = load_recipe(path)
    assert recipe.name == "deep-field"
    assert recipe.steps == {"jump": {"rejection_threshold": 5}}
    path.write_text("name: mine\n")
    assert load_recipe(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("base: basline\n", "'basline'; did you mean 'baseline'"),
        ("step: {}\n", "step"),
        ("- 1\n", "mapping"),
        ("a: [\n", "not YAML"),
        ("name: 'not a name'\n", "name"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=sentence):
        load_recipe(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'optimum'.*did you mean 'optimal'"):
        load_recipe("optimum")
    with pytest.raises(UsageError, match=r"nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text"):
        load_recipe(tmp_path / "binary.yaml")


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    value=st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab: -'\"\n")
    | st.booleans()
    | st.integers(),
)
def test_frozen_and_read_again(name: str, value: object) -> None:
    store = Shelf()
    recipe = Recipe(name=name, base="baseline", steps={"jump": {"parameter": value}})
    digest = freeze(recipe, store)
    assert list(store.files) == [f"recipes/{digest}.yaml"]
    assert frozen(store, digest) == recipe
    assert freeze(recipe, store) == digest == recipe.digest


def test_in_a_store_of_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    recipe = Recipe(name="mine", steps={"jump": {"use": "my_lab:jump"}})
    digest = freeze(recipe, store)
    assert frozen(store, digest).digest == digest
    assert not enabled(store, digest)
    assert enable(store, digest) == recipe
    assert enabled(store, digest)
    assert (tmp_path / "recipes/enabled" / digest).exists()


def test_code_must_be_enabled_and_parameters_need_not() -> None:
    store = Shelf()
    plain = freeze(Recipe(steps={"jump": {"rejection_threshold": 5}}), store)
    overrides = [{"when": {"detector": "NRCA1"}, "steps": {"jump": {"use": "my_lab:jump"}}}]
    other = freeze(Recipe.model_validate({"overrides": overrides}), store)
    assert enabled(store, plain)
    assert not enabled(store, other)
    enable(store, other)
    assert enabled(store, other)


def test_a_store_that_lies() -> None:
    store = Shelf()
    digest = freeze(Recipe(name="one"), store)
    store.files[f"recipes/{digest}.yaml"] = Recipe(name="other").to_yaml().encode()
    with pytest.raises(Unprocessable, match="another digest"):
        frozen(store, digest)
    with pytest.raises(Unprocessable, match="no recipe 0000"):
        frozen(store, "0" * 64)
    with pytest.raises(UsageError, match="no digest"):
        enabled(store, "../../etc/passwd")


def test_fingerprint_is_the_same_in_every_process() -> None:
    command = [sys.executable, "-c", "from streams.recipes import fingerprint; print(fingerprint())"]
    root = Path(streams.recipes.__file__).parents[1]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.strip()
    assert said == fingerprint()


def test_fingerprint_follows_sources_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "a_package_of_steps"
    package.mkdir()
    for name, text in {
        "__init__.py": "",
        "step.py": "CONSTANT = 1\n",
        "recipe.yaml": "a: 1\n",
        "notes.txt": "",
    }.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(streams.recipes, "PACKAGES", (package.name,))
    versions = {"numpy": "1"}
    monkeypatch.setattr(streams.recipes.metadata, "version", lambda name: versions.get(name, "0"))
    seen = [fingerprint.__wrapped__()]

    def changed() -> bool:
        seen.append(fingerprint.__wrapped__())
        return seen[-1] != seen[-2]

    (package / "notes.txt").write_text("nothing that runs")
    assert not changed()
    (package / "step.py").write_text("CONSTANT = 2\n")
    assert changed()
    (package / "recipe.yaml").write_text("a: 2\n")
    assert changed()
    (package / "step.py").rename(package / "renamed.py")
    assert changed()
    versions["numpy"] = "2"
    assert changed()
