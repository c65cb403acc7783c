"""The built wheel, in an environment of its own, started where folders have the names of its packages."""

from __future__ import annotations

import os
import subprocess
import sys
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
    """The folder of a fresh environment's programs: the wheel, and what it says that it needs.

    In the versions of the environment of the tests, which are those of the lock file.
    """
    place = tmp_path_factory.mktemp("environment")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    freeze = [*pip, "freeze", "--exclude-editable"]
    versions = place / "versions.txt"
    versions.write_text(subprocess.run(freeze, capture_output=True, text=True, check=True).stdout)
    venv.EnvBuilder(with_pip=False).create(place / "venv")
    programs = place / "venv" / "bin"
    install = [
        *pip,
        "--python",
        str(programs / "python"),
        "install",
        "--quiet",
        "--constraint",
        str(versions),
    ]
    done = subprocess.run([*install, str(wheel)], capture_output=True, text=True, check=False)
    if done.returncode and os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(f"what the wheel needs cannot be fetched here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
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


def started(command: list[str | Path], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=folder, env=clean | variables, capture_output=True, text=True, check=False
    )


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


def test_it_simulates_and_calibrates_there(environment: Path, decoys: Path) -> None:
    """Up to the ramp and without the steps whose kernels are many: they are compiled here once more."""
    program = environment / "calstream"
    size = ["--detectors", "NRCA1", "--subarray", "SUB160", "--dithers", "1", "--ngroups", "3"]
    made = started([program, "simulate", "NRC_IMAGE", "--out", "down", *size], decoys)
    assert made.returncode == 0, made.stderr
    skipped = [
        f"--set={step}.skip=true" for step in ("saturation", "refpix", "linearity", "dark_current", "jump")
    ]
    variables = {"CRDS_PATH": str(decoys / "down" / "crds_cache"), "XDG_CACHE_HOME": str(decoys / "cache")}
    run = started([program, "run", "down", "--out", "out", "--until", "ramp", *skipped], decoys, **variables)
    assert run.returncode == 0, run.stderr
    uncals = sorted(path.name.replace("_uncal", "_ramp") for path in (decoys / "down").glob("*_uncal.fits"))
    assert uncals
    assert sorted(path.name for path in (decoys / "out").iterdir()) == uncals


def test_it_needs_nothing_of_the_tests(environment: Path, tmp_path: Path) -> None:
    found = started([environment / "python", "-c", "import pytest"], tmp_path)
    assert "ModuleNotFoundError" in found.stderr


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
