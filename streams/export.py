"""Export: the current products, under their JWST names, in a folder."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.content import file_digest
from schemas.errors import CalstreamError, Unprocessable, UsageError
from schemas.events import ProductEvent
from schemas.manifests import Manifest, ManifestEntry
from schemas.naming import LEVELS, level, product_filename
from streams.current import current_products, events_of
from streams.lines import MAIN
from streams.run.folder import FolderLedger, Put, link
from streams.site import Site
from streams.store import Store
from streams.where import where

MADE: Final = LEVELS[1:]
"""Levels of what is exported unless another is asked for."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is to be exported.

    Attributes
    ----------
    out : Path
        The folder. Products of the line ``main``, or of the line that is asked for, lie right in it; those of
        other lines in folders that are called as the lines are.
    expression : str
        Which, as for :func:`streams.where.where`.
    level : str
        Of this level only; all that was made when empty.
    line : str
        Of this line only; of all when empty.
    overwrite : bool
        Whether files that others made may be replaced.
    linked : bool
        Whether they are linked into the folder where that is possible, not copied.
    """

    out: Path
    expression: str = ""
    level: str = ""
    line: str = ""
    overwrite: bool = False
    linked: bool = False


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What came of a product.

    Attributes
    ----------
    path : Path
        Where it is, or was to be.
    outcome : str
        ``exported``, ``up to date`` or ``refused``.
    sentence : str
        Why it was refused.
    """

    path: Path
    outcome: str
    sentence: str = ""


def export(request: ExportRequest, site: Site) -> Iterator[Exported]:
    """Put current products into a folder, each at once; yield what came of each.

    It takes what is current when it begins, whether services run or not. A file that has the same bytes
    already is up to date. One that the same run made is replaced; any other one only if that was asked for.

    Parameters
    ----------
    request : ExportRequest
        Which, and where.
    site : Site
        Bus and store.

    Raises
    ------
    UsageError
        If the expression, the level or the line is none.
    """
    ledger = FolderLedger(request.out, site.store, overwrite=request.overwrite)
    for event in chosen(request, site):
        folder = request.out if event.line == (request.line or MAIN) else request.out / event.line
        try:
            entries = _entries(event, site.store)
        except (CalstreamError, ValueError) as error:
            path = folder / product_filename(event.name, event.suffix)
            yield Exported(path=path, outcome="refused", sentence=f"{path.name}: {error}")
            continue
        for entry in entries:
            yield _exported(event, entry, folder, ledger, site.store, link if request.linked else copy)


def chosen(request: ExportRequest, site: Site) -> list[ProductEvent]:
    """Return the current products that a request means, in order of line and name."""
    meant = where(request.expression)
    levels = (_level(request.level),) if request.level else MADE
    current = current_products(events_of(site.bus, levels)).values()
    if request.line and request.line not in (known := _lines(site, current)):
        raise UsageError(f"there is no line {request.line!r}; choose one of {', '.join(sorted(known))}")
    found = (event for event in current if request.line in ("", event.line) and meant(event))
    return sorted(found, key=lambda event: (event.line != MAIN, event.identity))


def _level(name: str) -> str:
    try:
        return level(name)
    except Unprocessable as error:
        raise UsageError(str(error)) from None


def _lines(site: Site, events: Iterable[ProductEvent]) -> set[str]:
    from streams.lines import lines

    return {*lines(site.bus, site.store), *(event.line for event in events)}


def _entries(event: ProductEvent, store: Store) -> tuple[ManifestEntry, ...]:
    """Return all products of an event's run; of a file from outside, that file."""
    if event.manifest is None:
        return (ManifestEntry(name=event.name, suffix=event.suffix, artifact=event.product),)
    with store.fetch(event.manifest) as path:
        return Manifest.model_validate_json(path.read_bytes()).products


def _exported(
    event: ProductEvent, entry: ManifestEntry, folder: Path, ledger: FolderLedger, store: Store, put: Put
) -> Exported:
    target = folder / product_filename(entry.name, entry.suffix)
    try:
        if _up_to_date(target, entry):
            return Exported(path=target, outcome="up to date")
        os.makedirs(folder, exist_ok=True)
        with store.fetch(entry.artifact) as source:
            # What no run made has no run key: a file that has none either is not its own for that.
            ledger.deliver(source, target, event.run_key or entry.artifact.sha256, put)
    except (CalstreamError, OSError) as error:
        about = "" if target.name in str(error) else f"{target}: "
        return Exported(path=target, outcome="refused", sentence=f"{about}{error}")
    return Exported(path=target, outcome="exported")


def _up_to_date(target: Path, entry: ManifestEntry) -> bool:
    try:
        return target.stat().st_size == entry.artifact.size and file_digest(target) == entry.artifact.sha256
    except OSError:
        return False


def copy(source: Path, target: Path) -> None:
    """Copy a file; it appears whole.

    Raises
    ------
    FileExistsError
        If there is a file already.
    """
    if target.exists():
        raise FileExistsError(target)
    partial = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        shutil.copyfile(source, partial)
        link(partial, target)
    finally:
        partial.unlink(missing_ok=True)
