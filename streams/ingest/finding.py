"""The files that the paths given to ingest mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from streams.inputs import is_uncal
from streams.store import Store

Signature = tuple[int, int, int, int]
"""Of a file as it lies there: size, times of its last writing and its last change (ns), inode."""


class Finder:
    """Finds files: a folder means its ``*_uncal.fits`` at any depth; a file means itself.

    Hidden folders and the store's own are left out.

    Parameters
    ----------
    store : Store
        Of the pipeline.
    """

    def __init__(self, store: Store) -> None:
        self._store = Path(store.root).resolve() if store.local else None

    def files(self, paths: Iterable[str | Path]) -> list[Path]:
        """Return the files, those first that were written first; a path that is not there stands for itself.

        A folder without any stands for itself, too.
        """
        found: dict[Path, None] = {}
        for path in map(Path, paths):
            inside = list(self.inside(path)) if path.is_dir() else []
            found.update(dict.fromkeys(inside or [path]))
        return sorted(found, key=_age)

    def inside(self, folder: Path) -> Iterator[Path]:
        """Yield the raw exposures at any depth of a folder."""
        for place, folders, names in os.walk(folder):
            here = Path(place)
            folders[:] = sorted(name for name in folders if self._open(here / name))
            yield from (here / name for name in names if is_uncal(here / name))

    def wanted(self, path: Path, folder: Path) -> bool:
        """Tell whether a path beneath a folder is one that `inside` would visit."""
        parts = path.relative_to(folder).parts
        places = [folder.joinpath(*parts[: n + 1]) for n in range(len(parts) - 1)]
        return all(self._open(place) for place in places)

    def _open(self, folder: Path) -> bool:
        if folder.name.startswith("."):
            return False
        return self._store is None or folder.resolve() != self._store


def signature(path: Path) -> Signature | None:
    """Return what changes when a file does; None where there is no file."""
    try:
        return signature_of(os.stat(path))
    except OSError:
        return None


def signature_of(status: os.stat_result) -> Signature:
    """Return the signature that a file's status amounts to."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _age(path: Path) -> tuple[int, str]:
    found = signature(path)
    return (found[1] if found else 0, str(path))
