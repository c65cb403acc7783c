"""New files, taken once they are whole.

A file is whole when it has stayed as it is for a while and has all that its headers announce; one that was
renamed into its place, as soon as it has. One that never becomes whole is refused after a longer while, and
looked at again when it changes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchfiles import Change, watch

from schemas.errors import CalstreamError, UsageError
from schemas.headers import open_file, scan
from streams.ingest.finding import Finder, Signature, signature
from streams.ingest.report import WAITING, Taken
from streams.inputs import is_uncal

_TICK_MS: Final = 500
_STEP_MS: Final = 50

Changes = Iterable[tuple[Change, str]]
"""As watchfiles tells them."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long to wait for files.

    Attributes
    ----------
    settle : float
        Seconds for which a file must stay as it is.
    patience : float
        Seconds after which one that is not whole is refused.
    again : float
        Seconds after which one that could not be taken is tried again.
    rescan : float
        Seconds after which the folders are looked through, whatever the file system has told.
    polling : bool
        Whether the file system does not tell at all, as one on a network.
    """

    settle: float = 2.0
    patience: float = 10.0
    again: float = 10.0
    rescan: float = 30.0
    polling: bool = False


@dataclass
class _Candidate:
    """A file that is not taken yet: how it lies there, and since when."""

    seen: Signature
    since: float
    renamed: bool = False
    not_before: float = 0.0
    told: str = ""


class Watcher:
    """Watches folders.

    Parameters
    ----------
    paths : sequence of Path
        Folders, and files that are already there.
    finder : Finder
        Knows which files are meant.
    take : callable
        Takes a file in.
    tell : callable
        Hears what came of it; of one that waits only if there is something new to say.
    pace : Pace, optional
        How long to wait.
    clock : callable, optional
        Seconds, never going back.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        finder: Finder,
        take: Callable[[Path], list[Taken]],
        tell: Callable[[Taken], None],
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for path in paths:
            if not path.exists():
                raise UsageError(f"{path}: it is not there and cannot be watched; make the folder first")
        self._paths = [path.absolute() for path in paths]
        self._finder = finder
        self._take = take
        self._tell = tell
        self._pace = pace or Pace()
        self._clock = clock
        self._waiting: dict[Path, _Candidate] = {}
        self._done: dict[Path, Signature] = {}
        self._scanned = float("-inf")

    @property
    def waiting(self) -> int:
        """Return how many files are not taken yet."""
        return len(self._waiting)

    def run(self, stop: threading.Event | None = None) -> None:
        """Watch until stopped.

        Parameters
        ----------
        stop : Event, optional
            Ends it when set; so does Ctrl-C.
        """
        self.turn()
        self._scanned = float("-inf")  # what came before the file system was asked to tell is looked for
        for changes in watch(
            *self._paths,
            watch_filter=None,
            debounce=4 * _STEP_MS,
            step=_STEP_MS,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            stop_event=stop,
            force_polling=True if self._pace.polling else None,
            ignore_permission_denied=True,
        ):
            self.turn(changes)

    def turn(self, changes: Changes = ()) -> None:
        """Note what has changed, and take what is whole."""
        if self._clock() - self._scanned >= self._pace.rescan:
            self._scanned = self._clock()
            for path in self._finder.files(self._paths):
                self._note(path)
        self._hear(changes)
        for path in list(self._waiting):
            self._look(path)

    def _hear(self, changes: Changes) -> None:
        kinds: dict[Path, set[Change]] = {}
        for change, name in changes:
            kinds.setdefault(Path(name), set()).add(change)
        for path, found in kinds.items():
            if not self._meant(path):
                continue
            if path.is_dir():  # one that was moved here, or was filled before it was watched
                for inside in self._finder.inside(path):
                    self._note(inside)
            elif is_uncal(path) or path in self._paths:
                # What is written where it lies is modified, too; polling cannot tell.
                self._note(path, renamed=found == {Change.added} and not self._pace.polling)

    def _meant(self, path: Path) -> bool:
        inside = path / "any" if path.is_dir() else path
        return any(
            path == folder or (path.is_relative_to(folder) and self._finder.wanted(inside, folder))
            for folder in self._paths
        )

    def _note(self, path: Path, *, renamed: bool = False) -> None:
        """Make a file a candidate, unless it was taken as it is."""
        seen = signature(path)
        if seen is None or path.is_dir() or self._done.get(path) == seen:
            return
        known = self._waiting.get(path)
        if known is None:
            age = 0.0 if self._pace.polling else max(0.0, time.time() - max(seen[1], seen[2]) / 1e9)
            self._waiting[path] = _Candidate(seen, self._clock() - age, renamed)
        elif known.seen != seen:
            self._waiting[path] = _Candidate(seen, self._clock())

    def _look(self, path: Path) -> None:
        """Take a candidate if it is time to."""
        known = self._waiting[path]
        seen = signature(path)
        if seen is None:
            del self._waiting[path]
            return
        if seen != known.seen:
            known = self._waiting[path] = _Candidate(seen, self._clock())
        age = self._clock() - known.since
        # A rename leaves the time of the last writing alone, and sets that of the last change.
        settled = age >= self._pace.settle or (known.renamed and seen[2] > seen[1])
        if self._clock() < known.not_before or not settled:
            return
        if not whole(path) and age < self._pace.patience:
            known.renamed = False
            return
        notes = self._take(path)
        waits = [note for note in notes if note.outcome == WAITING]
        for note in notes:
            if note not in waits or note.sentence != known.told:
                self._tell(note)
        if waits:
            known.told, known.not_before = waits[-1].sentence, self._clock() + self._pace.again
        else:
            del self._waiting[path]
            self._done[path] = seen


def whole(path: Path) -> bool:
    """Tell whether a FITS file has all that its headers announce; an association is always whole."""
    if path.suffix == ".json":
        return True
    try:
        fd = open_file(path)
    except CalstreamError:
        return False
    try:
        scan(fd, path)
    except CalstreamError:
        return False
    finally:
        os.close(fd)
    return True
