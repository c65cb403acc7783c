"""Where compiled kernels are kept: a folder of their own for each state of the sources.

numba's cache notices an edit only in the file of the kernel itself, not in the files of the kernels that it
calls. So the folder's name says which sources were compiled, and an edit anywhere leads to another folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

KEPT: Final = 24
"""Folders of the latest states that stay; older ones are removed when a new one is made."""


def use_kernel_cache(environ: MutableMapping[str, str] = os.environ) -> Path | None:
    """Point numba at the folder for the installed sources, unless the user chose one with NUMBA_CACHE_DIR.

    To be called before the first kernel is imported.

    Returns
    -------
    Path or None
        The folder; None where none can be made, and numba's own default holds.
    """
    if "NUMBA_CACHE_DIR" in environ:
        return Path(environ["NUMBA_CACHE_DIR"])
    root = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "calstream" / "kernels"
    folder = root / _state()
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        folder.touch()
        if new:
            _forget_old(root)
    except OSError:
        return None
    environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()
    return folder


def _state() -> str:
    """Return a digest of the paths, sizes and contents of all sources that hold kernels."""
    import processors
    import schemas

    total = hashlib.sha256()
    for package in (processors, schemas):
        base = Path(package.__path__[0])
        for file in sorted(base.rglob("*.py")):
            total.update(f"{file}\0".encode())
            total.update(file.read_bytes())
    return total.hexdigest()[:16]


def _forget_old(root: Path) -> None:
    known = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in known[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
