"""Replaced steps: where they may come from, what is said when they may not, the digest of their code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from processors.recipes import effective
from processors.steps import Step
from schemas.errors import UsageError
from schemas.recipe import Recipe
from streams.replacements import VARIABLE, allowed_packages, code_digest, resolve, resolver

RAMPS = """
import os
from os import getcwd

from processors.options import Options, option
from processors.steps import step

VALUE = 3


def fit(product, references, options):
    return product


class FitOptions(Options):
    speed: int = option(1, doc="how fast")


@step(options=FitOptions)
def fast_fit(product, references, options):
    return product
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package `my_lab`, installed as a distribution with an entry point when `install` is called."""
    site = tmp_path / "site"
    files = {
        "my_lab/__init__.py": "",
        "my_lab/ramps.py": RAMPS,
        "my_lab/other.py": "CONSTANT = 1\n",
        "my_lab/broken.py": "import no_such_module_anywhere\n",
        "my_laboratory.py": "def fit(product, references, options):\n    return product\n",
    }
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)
    yield site
    for name in set(sys.modules) - before:
        if name.startswith("my_lab"):
            del sys.modules[name]


def install(site: Path, listed: tuple[str, ...]) -> None:
    info = site / "my_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[calstream.steps]\nlab-fit = my_lab.ramps:fit\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in listed))
    importlib.invalidate_caches()


def test_allowed_packages_of_an_environment() -> None:
    assert allowed_packages({}) == ()
    assert allowed_packages({"CALSTREAM_STEP_PACKAGES": " my_lab, other.part ,"}) == ("my_lab", "other.part")


@pytest.mark.parametrize("allowed", [["my_lab"], ["my_lab.ramps"], ["elsewhere", "my_lab"]])
def test_dotted_path(lab: Path, allowed: list[str]) -> None:
    found = resolve("my_lab.ramps:fit", allowed)
    assert found("product", None, None) == "product"
    assert isinstance(resolve("my_lab.ramps:fast_fit", allowed), Step)


def test_entry_point(lab: Path) -> None:
    install(lab, ("my_lab/ramps.py",))
    assert resolve("lab-fit", ["my_lab"]).__name__ == "fit"
    with pytest.raises(UsageError, match="CALSTREAM_STEP_PACKAGES=my_lab"):
        resolve("lab-fit", [])
    with pytest.raises(UsageError, match="'lab-fitt'; did you mean 'lab-fit'"):
        resolve("lab-fitt", ["my_lab"])


@pytest.mark.parametrize("allowed", [[], ["my_labo"], ["my_lab.other"], ["my_lab.ramp"], ["MY_LAB"]])
def test_what_is_not_allowed_is_not_even_imported(lab: Path, allowed: list[str]) -> None:
    with pytest.raises(
        UsageError, match=r"my_lab\.ramps, which is not allowed.*CALSTREAM_STEP_PACKAGES=.*my_lab"
    ):
        resolve("my_lab.ramps:fit", allowed)
    assert "my_lab.ramps" not in sys.modules


def test_a_package_is_no_prefix_of_letters(lab: Path) -> None:
    with pytest.raises(UsageError, match="my_laboratory, which is not allowed"):
        resolve("my_laboratory:fit", ["my_lab"])


@pytest.mark.parametrize("path", ["my_lab.ramps:os.system", "my_lab.ramps:getcwd", "my_lab.ramps:option"])
def test_what_a_module_only_imported_is_not_its_own(lab: Path, path: str) -> None:
    with pytest.raises(UsageError, match=r"not allowed here.*defined in my_lab\.ramps") as caught:
        resolve(path, ["my_lab"])
    assert VARIABLE not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("my_lab.ramps:fitt", "no 'fitt' in my_lab.ramps; did you mean 'fit'"),
        ("my_lab.ramps:VALUE", "cannot be called"),
        ("my_lab.missing:fit", "my_lab.missing cannot be imported .ModuleNotFoundError"),
        ("my_lab.broken:fit", "no_such_module_anywhere"),
        ("my_lab.ramps:", "package.module:function"),
        (":fit", "package.module:function"),
        ("my_lab.ramps.fit", "package.module:function"),
    ],
)
def test_mistakes_are_sentences(lab: Path, path: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        resolve(path, ["my_lab"])
    assert "\n" not in str(caught.value)


def test_a_recipe_resolves_to_it(lab: Path) -> None:
    original = resolve("my_lab.ramps:fast_fit", ["my_lab"])
    steps = {"fast_fit": original}
    recipe = Recipe(steps={"fast_fit": {"use": "my_lab.ramps:fit", "speed": 3}})
    settings = effective(recipe, steps, {}, resolve=resolver(["my_lab"]))["fast_fit"]
    assert settings.use is not None
    assert settings.use.implementation == "my_lab.ramps:fit"
    assert settings.options is not None
    assert settings.options.model_dump() == {"speed": 3}


def test_code_digest_of_a_package_on_the_path(lab: Path) -> None:
    before = code_digest(resolve("my_lab.ramps:fast_fit", ["my_lab"]))
    assert before == code_digest(resolve("my_lab.ramps:fit", ["my_lab"]))
    (lab / "my_lab/__pycache__").mkdir(exist_ok=True)
    (lab / "my_lab/__pycache__/fit.nbc").write_bytes(b"a kernel")
    (lab / "my_laboratory.py").write_text("changed = True\n")
    assert code_digest(resolve("my_lab.ramps:fit", ["my_lab"])) == before
    (lab / "my_lab/other.py").write_text("CONSTANT = 2\n")
    assert code_digest(resolve("my_lab.ramps:fit", ["my_lab"])) != before


def test_code_digest_of_a_single_module(lab: Path) -> None:
    found = resolve("my_laboratory:fit", ["my_laboratory"])
    before = code_digest(found)
    (lab / "my_lab/other.py").write_text("CONSTANT = 2\n")
    assert code_digest(found) == before
    (lab / "my_laboratory.py").write_text("changed = True\n")
    assert code_digest(found) != before


def test_code_digest_of_a_distribution(lab: Path) -> None:
    (lab / "my_lab_data").mkdir()
    (lab / "my_lab_data/table.txt").write_text("1 2 3")
    listed = (
        "my_lab/__init__.py",
        "my_lab/ramps.py",
        "my_lab_data/table.txt",
        "my_lab-1.0.dist-info/METADATA",
    )
    install(lab, listed)
    found = resolve("my_lab.ramps:fit", ["my_lab"])
    before = code_digest(found)
    (lab / "my_lab-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: my_lab\nVersion: 2.0\n")
    (lab / "my_lab/other.py").write_text("CONSTANT = 2\n")
    assert code_digest(found) == before
    (lab / "my_lab_data/table.txt").write_text("1 2 4")
    assert code_digest(found) != before
