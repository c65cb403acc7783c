"""Pruning: what nothing refers to any more leaves the store.

Of a run its manifest goes first: from then on the run counts as not done, and is done again if it is asked
for while its files are on their way out. Only what was there when pruning began is removed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog
from ulid import ULID

from schemas.errors import CalstreamError, UsageError
from schemas.manifests import Manifest
from streams import marks
from streams.manifest_files import manifest_path, run_folder
from streams.site import Site
from streams.store import Store
from streams.usage import Usage, usage

RUN: Final = "run"
COPY: Final = "copy"
LEFTOVER: Final = "leftover"
MARK: Final = "mark"

ABANDONED: Final = 86400.0
"""Age from which an attempt that is no run's counts as given up, seconds."""

_MANIFEST: Final = "manifest.json"

log = structlog.get_logger("calstream")


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something to be removed.

    Attributes
    ----------
    kind : str
        ``run``, ``copy`` (of a file that was ingested), ``leftover`` (of a process that was killed), ``mark``
        (of attempts).
    path : str
        In the store.
    parts : tuple of str
        Of a folder what is in it, in the order in which it is to go.
    size : int
        Bytes.
    """

    kind: str
    path: str
    parts: tuple[str, ...] = ()
    size: int = 0


def prunable(site: Site, older_than: float = 0.0, now: float | None = None) -> list[Item]:
    """Return what can be removed from a site's store.

    Runs and copies go that no current product of any line, no input of one, and nothing that waits to be
    processed refers to. What attempts that were killed have left goes after a day, half-put files among it;
    marks of attempts go when their event is done with.

    Parameters
    ----------
    site : Site
        Bus and store.
    older_than : float, optional
        Age from which runs and copies go, seconds.
    now : float, optional
        Seconds since 1970; the clock's when absent.
    """
    clock = time.time() if now is None else now
    store = site.store
    # The store is listed before the bus is read: what comes into it meanwhile is not thought unused.
    runs = list(_runs(store))
    marked = marks.all_marks(store)
    used = usage(site)
    _demand_kinship(site, used, len(runs))
    kept = used.runs | {key for uri in used.uris if (key := _run_of(store, uri))}
    items: list[Item] = []
    for key, names in runs:
        goes = _unused_run(store, key, names, kept, used)
        old = list(_leftovers(store, key, names, clock))
        if goes is not None and clock - _born(goes.attempt) >= older_than:
            items.append(_whole(store, key, goes, old))
        else:
            items += old
    items += _copies(store, used, clock - older_than)
    items += (_leftover(store, path) for path in store.half_put(clock - ABANDONED))
    return items + [_marks(store, paths) for event, paths in marked.items() if event not in used.waiting]


def sweep(items: list[Item], store: Store) -> None:
    """Remove items, of each run its manifest first."""
    for item in items:
        for part in item.parts or ("",):
            store.remove(f"{item.path}/{part}".rstrip("/"))
        if item.kind != MARK:
            store.remove_if_empty(item.path if item.parts else item.path.rpartition("/")[0])


def _marks(store: Store, paths: list[str]) -> Item:
    """Return the marks of one event as an item."""
    parts = tuple(path.rpartition("/")[2] for path in paths)
    return Item(kind=MARK, path=marks.FOLDER, parts=parts, size=sum(map(store.size, paths)))


def _runs(store: Store) -> Iterator[tuple[str, list[str]]]:
    """Yield run keys, and what is in their folders."""
    for shelf in _folders(store, "runs"):
        for key in _folders(store, f"runs/{shelf}"):
            if run_folder(key) == f"runs/{shelf}/{key}":
                yield key, store.names(run_folder(key))


def _folders(store: Store, path: str) -> list[str]:
    """Return the names in a folder, without those that are links to elsewhere."""
    return [
        name for name in store.names(path) if store.inside(store.uri(f"{path}/{name}")) == f"{path}/{name}"
    ]


def _demand_kinship(site: Site, used: Usage, runs: int) -> None:
    """Refuse a bus whose events know nothing of the store: all would seem unused."""
    if runs and not any(site.store.inside(uri) for uri in used.uris):
        raise UsageError(
            f"no event of the bus {site.address.bus} refers to a file of the store {site.address.store}, "
            f"which holds {runs} runs; give the bus and the store that belong together"
        )


def _unused_run(store: Store, key: str, names: list[str], kept: set[str], used: Usage) -> Manifest | None:
    """Return the manifest of a run that nothing refers to, and that no event in work may lead to."""
    if key in kept or (manifest := _manifest(store, key, names)) is None:
        return None
    return None if any(item.digest in used.digests for item in manifest.inputs) else manifest


def _leftovers(store: Store, key: str, names: list[str], clock: float) -> Iterator[Item]:
    """Yield what attempts have left in a run's folder that did not come to an end, or came second."""
    old = [name for name in names if name != _MANIFEST and clock - _born(name) >= ABANDONED]
    manifest = _manifest(store, key, names) if old else None
    if old and manifest is None and _MANIFEST in names:
        return
    for name in old:
        if manifest is None or name != manifest.attempt:
            yield _leftover(store, f"{run_folder(key)}/{name}")


def _leftover(store: Store, path: str) -> Item:
    return Item(kind=LEFTOVER, path=path, size=store.size(path))


def _whole(store: Store, key: str, manifest: Manifest, old: list[Item]) -> Item:
    """Return a run as an item; an attempt that began lately may still write, and stays."""
    folder = run_folder(key)
    gone = (f"{folder}/{_MANIFEST}", f"{folder}/{manifest.attempt}")
    size = sum(store.size(path) for path in gone) + sum(item.size for item in old)
    parts = (*gone, *(item.path for item in old))
    return Item(
        kind=RUN, path=folder, parts=tuple(part.removeprefix(f"{folder}/") for part in parts), size=size
    )


def _copies(store: Store, used: Usage, before: float) -> Iterator[Item]:
    """Yield copies of files that were ingested before a time and that nothing refers to."""
    for uri, generation in sorted(used.copies.items()):
        path = store.inside(uri)
        if path and uri not in used.uris and _born(generation) <= before and store.exists(path):
            yield Item(kind=COPY, path=path, size=store.size(path))


def _manifest(store: Store, key: str, names: list[str]) -> Manifest | None:
    """Return a run's manifest, or None where there is none, or none that can be read."""
    if _MANIFEST not in names:
        return None
    try:
        return Manifest.model_validate_json(store.read_bytes(manifest_path(key)))
    except (CalstreamError, ValueError) as error:
        log.warning("left alone", run_key=key, reason=f"its manifest cannot be read: {error}")
        return None


def _run_of(store: Store, uri: str) -> str:
    """Return the key of the run whose folder a file is in, or an empty string."""
    parts = (store.inside(uri) or "").split("/")
    return parts[2] if len(parts) > 3 and parts[0] == "runs" else ""


def _born(ulid: str) -> float:
    """Return when a ULID was made, seconds since 1970; infinity for what is none."""
    try:
        return ULID.from_str(ulid).timestamp
    except ValueError:
        return float("inf")
