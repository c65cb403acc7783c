"""The user's folder: finished products under their JWST names, and the rules for what is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from schemas.content import file_digest
from schemas.errors import CalstreamError, Unprocessable, explained
from schemas.events import Artifact
from schemas.manifests import Manifest, ManifestEntry
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
        there = [self._folder / name for name in run.filenames() if (self._folder / name).exists()]
        for path in there:
            self._demand_own(path, run.key)
        if len(there) < len(run.suffixes) or not all(run_key_of(path) == run.key for path in there):
            return None
        entries = tuple(
            ManifestEntry(name=run.name, suffix=suffix, artifact=artifact_of(path))
            for suffix, path in zip(run.suffixes, there, strict=True)
        )
        if any(_damaged(path, entry.artifact) for path, entry in zip(there, entries, strict=True)):
            return None
        manifest = Manifest(
            run_key=run.key,
            stage=run.stage.name,
            attempt="in-place",
            products=entries,
            inputs=run.inputs,
            keywords=keywords_of(there[0]),
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
                self._demand_own(target, run_key)
                partial = target.with_name(f".{target.name}.{os.getpid()}.part")
                partial.unlink(missing_ok=True)
                try:
                    put(source, partial)
                    partial.replace(target)
                finally:
                    partial.unlink(missing_ok=True)

    def _demand_own(self, path: Path, run_key: str) -> None:
        if self._overwrite:
            return
        if (error := _unreadable(path)) is not None:
            raise Refused(
                f"{path}: is there already and is no whole product ({error}); add --overwrite to replace it, "
                "or choose another folder with --out"
            )
        if run_key_of(path) != run_key:
            raise Refused(
                f"{path}: is there already, made from other input, options, references or software; "
                "add --overwrite to replace it, or choose another folder with --out"
            )


def run_key_of(path: Path) -> str:
    """Return the run key that a product file carries, or an empty string."""
    try:
        if path.suffix == ".ecsv":
            from schemas.catalogue_file import read_catalogue

            return str(read_catalogue(path).meta.provenance.run.get("run_key", ""))
        with ProductFile(path) as file:
            return str(file.meta.provenance.run.get("run_key", ""))
    except CalstreamError:
        return ""


def _unreadable(path: Path) -> CalstreamError | None:
    """Return what is wrong with a file that cannot be read as a product."""
    try:
        if path.suffix == ".ecsv":
            from schemas.catalogue_file import read_catalogue

            read_catalogue(path)
        else:
            with ProductFile(path):
                pass
    except CalstreamError as error:
        return error
    return None


def _damaged(path: Path, artifact: Artifact) -> bool:
    """Tell whether a file's content is not what was written; catalogues do not say what was."""
    if path.suffix == ".ecsv":
        return False
    with ProductFile(path) as file:
        return file.meta.provenance.content not in ("", artifact.content)


def artifact_of(path: Path) -> Artifact:
    """Return the claim check of a product file that lies in a folder."""
    if path.suffix == ".ecsv":
        from schemas.catalogue_file import read_catalogue
        from schemas.content import content_digest

        content = content_digest(read_catalogue(path))
    else:
        with ProductFile(path) as file:
            content = content_digest_of_file(file)
    return Artifact(
        uri=path.absolute().as_uri(), size=path.stat().st_size, sha256=file_digest(path), content=content
    )


def keywords_of(path: Path) -> Mapping[str, str | int | float | bool]:
    """Return the event keywords of a product file."""
    from schemas.keywords import event_keywords

    with ProductFile(path) as file:
        return event_keywords(file.meta.keywords())


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
