"""The user's folder: finished products under their JWST names, and the rules for what is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from schemas.content import file_digest
from schemas.errors import CalstreamError, Unprocessable, explained
from schemas.events import Artifact
from schemas.keywords import event_keywords
from schemas.manifests import Manifest, ManifestEntry
from schemas.meta import Meta
from schemas.naming import suffix_of
from schemas.reading import ProductFile
from schemas.stored_content import content_digest_of_file
from streams.manifest_files import StoreLedger
from streams.planning import Run
from streams.store import Store, alive, local_path

_PRIVATE = f".calstream-{socket.gethostname()}."
"""Beginning of a private store's name; a folder on a network may be used from several machines."""


Put = Callable[[Path, Path], None]
"""Puts a file, given where it is and where it is to be; raises FileExistsError if one is there."""


class Refused(Unprocessable):
    """A file is there already that this run did not make."""


class FolderLedger:
    """Finished runs as a folder's files tell them.

    A file whose run key is that of the run is up to date. Any other file stands in the way, unless the user
    said that it may be overwritten.

    Parameters
    ----------
    folder : Path
        The user's.
    store : Store
        The private one, on the same file system.
    overwrite : bool
        Whether files of other runs may be replaced.
    """

    def __init__(self, folder: Path, store: Store, *, overwrite: bool) -> None:
        self._folder = folder
        self._overwrite = overwrite
        self._store = store
        self._attempts = StoreLedger(store)

    def finished(self, run: Run) -> Manifest | None:
        """Return the manifest of a run whose files are all there; raise `Refused` if others' are.

        Raises
        ------
        Refused
            If a file of that name was made by another run.
        """
        paths = [self._folder / name for name in run.filenames()]
        there = {path: look(path, run.key) for path in paths if path.exists()}
        for path, found in there.items():
            self._demand_own(path, found, run.key)
        if len(there) < len(paths) or not all(found.whole(run.key) for found in there.values()):
            return None
        entries = tuple(
            ManifestEntry(name=run.name, suffix=suffix, artifact=_artifact(path, found.content))
            for suffix, (path, found) in zip(run.suffixes, there.items(), strict=True)
        )
        manifest = Manifest(
            run_key=run.key,
            stage=run.stage.name,
            attempt="in-place",
            products=entries,
            inputs=run.inputs,
            keywords=event_keywords(there[paths[0]].meta.keywords()),
        )
        return self._attempts.finish(run, manifest)

    def begin(self, run: Run) -> None:
        """Record that an attempt begins."""
        self._attempts.begin(run)

    def finish(self, run: Run, manifest: Manifest) -> Manifest:
        """Put the products under their JWST names, the primary one last, and record the run."""
        for entry, name in reversed(list(zip(manifest.products, run.filenames(), strict=True))):
            source = local_path(entry.artifact.uri)
            assert source is not None  # the private store is a local folder
            self.deliver(source, self._folder / name, run.key)
        return self._attempts.finish(run, manifest)

    def deliver(self, source: Path, target: Path, run_key: str, put: Put | None = None) -> None:
        """Put a run's product into the folder, at once.

        Parameters
        ----------
        source, target : Path
            Where it is, and where it is to be.
        run_key : str
            Of its run.
        put : callable, optional
            Puts it, unless there is a file already: as a link, or as a copy where there are no links.

        Raises
        ------
        Refused
            If another file is there.
        """
        put = put or link
        with explained(target, "written"):
            try:
                put(source, target)
            except FileExistsError:
                self._demand_own(target, look(target), run_key)
                partial = target.with_name(f".{target.name}.{os.getpid()}.part")
                partial.unlink(missing_ok=True)
                try:
                    put(source, partial)
                    partial.replace(target)
                finally:
                    partial.unlink(missing_ok=True)

    def _demand_own(self, path: Path, found: Found, run_key: str) -> None:
        if self._overwrite:
            return
        if found.error is not None:
            raise Refused(
                f"{path}: is there already and is no whole product ({found.error}); add --overwrite to "
                "replace it, or choose another folder with --out"
            )
        if found.run_key != run_key:
            raise Refused(
                f"{path}: is there already, made from other input, options, references or software; "
                "add --overwrite to replace it, or choose another folder with --out"
            )


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file in the folder turned out to be.

    Attributes
    ----------
    meta : Meta
        Its metadata.
    content : str
        Content digest, if it was asked for.
    error : CalstreamError, optional
        Why it cannot be read as a product.
    """

    meta: Meta = field(default_factory=Meta)
    content: str = ""
    error: CalstreamError | None = None

    @property
    def run_key(self) -> str:
        """Return the run key that it carries, or an empty string."""
        return str(self.meta.provenance.run.get("run_key", ""))

    def whole(self, run_key: str) -> bool:
        """Tell whether a run made it, and its content is what was written; catalogues do not say what was."""
        made = self.error is None and self.run_key == run_key
        return made and self.meta.provenance.content in ("", self.content)


def look(path: Path, run_key: str | None = None) -> Found:
    """Read a product file once.

    Parameters
    ----------
    path : Path
        The file.
    run_key : str, optional
        The content digest is wanted if this run made it.
    """
    try:
        if path.suffix == ".ecsv":
            return _catalogue(path, run_key)
        if suffix_of(path.name) == "persistence":
            return _history(path, run_key)
        with ProductFile(path) as file:
            found = Found(meta=file.meta)
            return replace(found, content=content_digest_of_file(file)) if found.run_key == run_key else found
    except CalstreamError as error:
        return Found(error=error)


def _catalogue(path: Path, run_key: str | None) -> Found:
    from schemas.catalogue_file import read_catalogue
    from schemas.content import content_digest

    catalogue = read_catalogue(path)
    found = Found(meta=catalogue.meta)
    return replace(found, content=content_digest(catalogue)) if found.run_key == run_key else found


def _history(path: Path, run_key: str | None) -> Found:
    from schemas.history_file import history_digest, read_history

    history = read_history(path)
    found = Found(meta=history.meta)
    return replace(found, content=history_digest(history)) if found.run_key == run_key else found


def run_key_of(path: Path) -> str:
    """Return the run key that a product file carries, or an empty string."""
    return look(path).run_key


def _artifact(path: Path, content: str) -> Artifact:
    return Artifact(
        uri=path.absolute().as_uri(), size=path.stat().st_size, sha256=file_digest(path), content=content
    )


@contextlib.contextmanager
def private_store(folder: Path) -> Iterator[Store]:
    """Give a store of one's own inside the user's folder, gone when the block ends."""
    with explained(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        place = tempfile.mkdtemp(prefix=f"{_PRIVATE}{os.getpid()}-", dir=folder)
    try:
        yield Store(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove private stores of runs that were killed: those whose process is not there any more."""
    for left in folder.glob(f"{_PRIVATE}*"):
        pid = left.name.removeprefix(_PRIVATE).partition("-")[0]
        if pid.isdigit() and not alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """Link a file, or copy it where there are no links.

    Raises
    ------
    FileExistsError
        If there is a file already.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(target) from None
        partial = target.with_name(f".{target.name}.{os.getpid()}.copy")
        shutil.copyfile(source, partial)
        partial.replace(target)
