"""The built wheel, in an environment of its own, started where folders have the names of its packages."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"schemas", "processors", "streams", "simulator"}
DATA = {".yaml", ".json", ".html", ".j2", ".css", ".js", ".svg"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs, where only calstream is installed.

    What it depends on is found in the environment of the tests, behind a path entry.
    """
    place = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(with_pip=False).create(place)
    programs = place / "bin"
    install = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """A user's folder with packages of the same names as ours."""
    for name in ("schemas", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"raise RuntimeError('this is the user\\'s own {name}')\n"
        )
    return tmp_path


def started(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_packages_and_their_data_and_nothing_else(wheel: Path) -> None:
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    tops = {name.parts[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert not [name for name in names if "tests" in name.parts or "__pycache__" in name.parts]
    wanted = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", *DATA} and "__pycache__" not in path.parts
    }
    assert wanted <= set(names)
    assert Path("processors/recipes/baseline.yaml") in names


def test_its_command_works_beside_folders_of_the_same_names(environment: Path, decoys: Path) -> None:
    version = started([environment / "calstream", "--version"], decoys)
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith("calstream ")
    steps = started([environment / "calstream", "steps"], decoys)
    assert steps.returncode == 0, steps.stderr
    assert "ramp_fit" in steps.stdout


def test_its_packages_come_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    code = (
        f"import {', '.join(sorted(PACKAGES))}; print(*(m.__file__ for m in ({', '.join(sorted(PACKAGES))})))"
    )
    found = started([environment / "python", "-c", code], tmp_path)
    assert found.returncode == 0, found.stderr
    assert all(Path(path).is_relative_to(environment.parent) for path in found.stdout.split())


def test_a_folder_that_hides_a_package_is_named(environment: Path, decoys: Path) -> None:
    result = started([environment / "python", "-m", "streams.cli", "--version"], decoys)
    assert result.returncode == 2
    assert str(decoys / "schemas") in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_module_works_in_any_other_folder(environment: Path, tmp_path: Path) -> None:
    result = started([environment / "python", "-m", "streams.cli", "--version"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("calstream ")
