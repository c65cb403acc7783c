"""A file goes into the store, digested and copied in one pass."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final

from schemas.errors import Retriable, UsageError, explained
from schemas.events import Artifact
from schemas.naming import product_filename
from schemas.reading import ProductFile
from schemas.stored_content import PassingContent
from streams.inputs import InputProduct
from streams.store import Store, kept

IN_PLACE: Final = "CALSTREAM_IN_PLACE_ROOTS"
"""Environment variable: folders whose files may stay where they are, because nobody changes them."""

_CHUNK: Final = 8 << 20


def deposit(file: ProductFile, store: Store, level: str, name: str, suffix: str) -> Artifact:
    """Copy an open product file into the store, under its content, and return its claim check.

    Parameters
    ----------
    file : ProductFile
        The file.
    store : Store
        Where it goes to; what is there already stays.
    level, name, suffix : str
        What it is.

    Raises
    ------
    Retriable
        If it changed meanwhile, or the store cannot be written to.
    """
    with store.incoming() as path:
        with kept(path), open(path, "xb") as copy:
            artifact = digested(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        sha256 = artifact.sha256
        place = _place(level, sha256, name, suffix)
        store.put_file_if_absent(place, path)
    return artifact.model_copy(update={"uri": store.uri(place)})


def deposit_small(item: InputProduct, store: Store) -> Artifact:
    """Copy a file that was read as a whole into the store, under its content; return its claim check there.

    Raises
    ------
    Retriable
        If it changed meanwhile, or the store cannot be written to.
    """
    artifact = item.artifact
    content = item.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != artifact.sha256:
        raise _changed(item.path)
    place = _place(item.level, artifact.sha256, item.name, item.suffix)
    store.put_if_absent(place, content)
    return artifact.model_copy(update={"uri": store.uri(place)})


def digested(file: ProductFile, copy: BinaryIO | None = None) -> Artifact:
    """Return the claim check of an open product file where it is; copy its bytes on the way.

    Raises
    ------
    Retriable
        If it changed meanwhile.
    """
    total, content = hashlib.sha256(), PassingContent(file)
    before, position = os.fstat(file.fileno()), 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        while chunk := _read(file, position):
            work = [pool.submit(total.update, chunk), pool.submit(content.update, position, chunk)]
            if copy is not None:
                copy.write(chunk)
            position += len(chunk)
            for one in work:
                one.result()
    after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (position, after.st_mtime_ns):
        raise _changed(file.path)
    return Artifact(
        uri=file.path.absolute().as_uri(), size=position, sha256=total.hexdigest(), content=content.digest()
    )


def allowed_roots(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the folders in which files may be processed in place."""
    return tuple(Path(root).resolve() for root in environ.get(IN_PLACE, "").split(os.pathsep) if root)


def demand_allowed(paths: Iterable[Path], roots: tuple[Path, ...]) -> None:
    """Refuse paths outside of the folders in which files may be processed in place.

    Raises
    ------
    UsageError
        If one is outside of all of them.
    """
    for path in paths:
        if not any(path.resolve().is_relative_to(root) for root in roots):
            raise UsageError(
                f"{path}: --in-place is not allowed here; have its folder named in {IN_PLACE}, if nobody "
                "changes the files in it, or leave --in-place out and they are copied"
            )


def _place(level: str, sha256: str, name: str, suffix: str) -> str:
    return f"{level}/{sha256[:2]}/{sha256}/{product_filename(name, suffix)}"


def _changed(path: Path) -> Retriable:
    return Retriable(f"{path}: the file changed while it was read; try again when it is complete")


def _read(file: ProductFile, position: int) -> bytes:
    with explained(file.path, "read"):
        return os.pread(file.fileno(), _CHUNK, position)
