"""Compiled kernels are kept apart for each state of the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streams import kernel_cache
from streams.kernel_cache import KEPT, use_kernel_cache

ROOT = Path(__file__).parents[2]


def test_the_user_s_choice_is_left(tmp_path: Path) -> None:
    environ = {"NUMBA_CACHE_DIR": str(tmp_path / "mine"), "XDG_CACHE_HOME": str(tmp_path)}
    assert use_kernel_cache(environ) == tmp_path / "mine"
    assert not list(tmp_path.iterdir())


def test_an_edit_anywhere_leads_to_another_folder(tmp_path: Path) -> None:
    for package in ("schemas", "processors"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / "copy" / package, ignore=ignored)
    shutil.copytree(ROOT / "streams", tmp_path / "copy/streams", ignore=shutil.ignore_patterns("__pycache__"))
    environ = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environ |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path / "copy")}
    code = "from streams.kernel_cache import use_kernel_cache; print(use_kernel_cache())"

    def folder() -> Path:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
        return Path(done.stdout.strip())

    first = folder()
    assert first.is_dir()
    assert first.parent == tmp_path / "cache/calstream/kernels"
    assert folder() == first
    edited = tmp_path / "copy/processors/ramps/covariance.py"
    edited.write_text(edited.read_text() + "\n")
    assert folder() != first


def test_only_the_latest_states_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(KEPT + 3):
        monkeypatch.setattr(kernel_cache, "_state", lambda number=number: f"state{number}")
        made = use_kernel_cache({"XDG_CACHE_HOME": str(tmp_path)})
        assert made is not None
        os.utime(made, (1e9 + number, 1e9 + number))
    left = {path.name for path in (tmp_path / "calstream/kernels").iterdir()}
    assert left == {f"state{number}" for number in range(3, KEPT + 3)}


def test_where_none_can_be_made_numba_s_default_holds(tmp_path: Path) -> None:
    (tmp_path / "calstream").write_text("a file is in the way")
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    assert use_kernel_cache(environ) is None
    assert "NUMBA_CACHE_DIR" not in environ
