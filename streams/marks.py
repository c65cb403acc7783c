"""Marks of attempts in a store, by event: that one was begun, and that one failed while its service lived.

They lie side by side in one folder, and those of what was begun are names only: a folder for each event and a
file for each attempt would take longer to make than all else that an attempt costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final

from streams.store import Store

FOLDER: Final = "attempts"


def begun_path(event_id: str, number: int) -> str:
    """Return the path of the mark of an event's attempt, counted from 1."""
    return f"{FOLDER}/{event_id}-{number}"


def failed_path(event_id: str, number: int) -> str:
    """Return the path of the mark of an event's failure, counted from 1."""
    return f"{FOLDER}/{event_id}-failed-{number}"


def begin(store: Store, event_id: str) -> int:
    """Mark an attempt at an event; return which one it is, from 1."""
    return next(n for n in count(1) if store.mark(begun_path(event_id, n)))


def note_failure(store: Store, event_id: str, sentence: str) -> int:
    """Mark a failed attempt; return how many there are now."""
    return next(n for n in count(1) if store.put_if_absent(failed_path(event_id, n), sentence.encode()))


def failures(store: Store, event_id: str) -> int:
    """Return how many attempts at an event failed while the service lived."""
    return next(n for n in count() if not store.exists(failed_path(event_id, n + 1)))


def last_failure(store: Store, event_id: str, number: int) -> str:
    """Return what was said of a failed attempt."""
    return store.read_bytes(failed_path(event_id, number)).decode("utf-8", "replace")


def forget(store: Store, event_id: str, number: int = 0) -> None:
    """Remove an event's marks; those of its first attempt, where that is its `number`, are one."""
    if number == 1:  # whatever failed before would have left the mark of an attempt
        store.remove(begun_path(event_id, number))
        return
    for path in _paths(store, event_id):
        store.remove(path)


def _paths(store: Store, event_id: str) -> Iterator[str]:
    """Yield the paths of an event's marks, that of its first attempt last."""
    for path_of in (failed_path, begun_path):
        number = next(n for n in count() if not store.exists(path_of(event_id, n + 1)))
        yield from (path_of(event_id, n) for n in range(number, 0, -1))


def all_marks(store: Store) -> Mapping[str, list[str]]:
    """Return the paths of all marks, by event."""
    found: dict[str, list[str]] = {}
    for name in store.names(FOLDER):
        path = f"{FOLDER}/{name}"
        if store.inside(store.uri(path)) == path:  # a link leads elsewhere
            found.setdefault(name.partition("-")[0], []).append(path)
    return found
