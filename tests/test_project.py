"""The project's own files: what `make install` installs, what a change must pass, what the README says."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = [
    Requirement(line)
    for line in (
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    )
]


def locked(path: Path) -> dict[str, list[str]]:
    """Exact versions of a lock by name (several where they depend on the platform); each has hashes."""
    found: dict[str, list[str]] = {}
    entries = re.split(r"\n(?=\S)", path.read_text().strip())
    for entry in entries:
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", entry)
        assert match, f"{path.name}: {entry[:60]!r} is not pinned"
        assert "--hash=sha256:" in entry, f"{path.name}: {match[1]} has no hash"
        found.setdefault(canonicalize_name(match[1]), []).append(match[2])
    return found


def test_the_lock_has_every_dependency_in_its_range() -> None:
    pins = locked(ROOT / "requirements.lock")
    for wanted in WANTED:
        versions = pins.get(canonicalize_name(wanted.name))
        assert versions, f"{wanted.name} is not in requirements.lock; run make lock"
        assert all(wanted.specifier.contains(v, prereleases=True) for v in versions), (wanted, versions)


def test_every_dependency_has_a_lower_bound() -> None:
    wanted = map(Requirement, PROJECT["project"]["dependencies"])
    free = [w.name for w in wanted if not {">=", "=="} & {part.operator for part in w.specifier}]
    assert free == []


def test_the_peer_is_locked_and_is_no_dependency() -> None:
    assert locked(ROOT / "requirements-peer.lock")["jwst"] == ["3.0.0"]
    assert not {"jwst", "stcal"} & {canonicalize_name(wanted.name) for wanted in WANTED}


@pytest.mark.parametrize("name", ["numpy", "numba", "scipy", "astropy", "gwcs", "crds", "stdatamodels"])
def test_what_is_installed_is_in_the_range(name: str) -> None:
    (wanted,) = [w for w in map(Requirement, PROJECT["project"]["dependencies"]) if w.name == name]
    assert wanted.specifier.contains(version(name), prereleases=True)


def targets() -> dict[str, str]:
    """Targets of the Makefile and their recipes."""
    text = (ROOT / "Makefile").read_text()
    found = re.findall(r"^([a-z-]+):[^=\n]*\n((?:\t.*\n?)*)", text, flags=re.MULTILINE)
    return dict(found)


def test_a_change_must_pass_tests_and_every_linter() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "set -euo pipefail" in script
    for target in ("install", "peer", "lint", "test", "demo"):
        assert re.search(rf"^make {target}$", script, flags=re.MULTILINE), target
    lint = targets()["lint"]
    for linter in ("ruff check", "ruff format --check", "mypy", "lint-imports"):
        assert linter in lint
    assert PROJECT["tool"]["mypy"]["strict"] is True
    assert PROJECT["tool"]["ruff"]["lint"]["pydocstyle"]["convention"] == "numpy"
    assert "pytest" in targets()["test"]


def test_the_demo_fails_when_truth_is_not_recovered() -> None:
    """`report --check` holds the bounds; make stops at a command that fails unless told to ignore it."""
    demo = [*targets()["demo"].splitlines(), *targets()["demo-services"].splitlines()]
    assert any("demo-on-$(BUS)" in line for line in demo)
    assert any("report" in line and "--check" in line for line in demo)
    assert not any(line.lstrip("\t@").startswith("-") for line in demo)


def test_every_make_command_of_the_readme_is_there() -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets().keys() | {"peer"}
