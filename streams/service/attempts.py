"""Marks of attempts in the store, so that an event that kills its process does not do so for ever.

An attempt is marked before it computes. When it died, raised or overran while the service lived, the service
marks that too: of those an event has `FAILURES`. Marks without a failure are of attempts that ended with the
whole service; of these it has `MARKS`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from schemas.errors import CalstreamError, Unprocessable
from schemas.manifests import Manifest
from streams import marks
from streams.manifest_files import StoreLedger, manifest_path, run_folder
from streams.planning import Run
from streams.store import Store

FAILURES: Final = 3
"""Failed attempts after which an event goes to the dead letters."""
MARKS: Final = 20
"""Attempts after which it does, whoever ended them."""


class Exhausted(Unprocessable):
    """An event has been tried often enough."""


class ServiceLedger(StoreLedger):
    """Finished runs and attempts, as a service's child keeps them.

    A manifest is put without waiting for its folder to be flushed: :meth:`unsettled` says for which that is
    to be done.

    Parameters
    ----------
    store : Store
        Where they lie.
    begun : callable
        Told when an attempt is marked and its work begins.
    """

    def __init__(self, store: Store, begun: Callable[[], None]) -> None:
        super().__init__(store)
        self._begun = begun
        self._marked, self._number = "", 0
        self._unsettled: list[str] = []

    def finished(self, run: Run) -> Manifest | None:
        """Return the manifest of a run that is finished, or None; who put it may not have settled it."""
        manifest = super().finished(run)
        if manifest is not None:
            self._unsettled.append(manifest_path(run.key))
        return manifest

    def begin(self, run: Run) -> None:
        """Mark an attempt.

        Raises
        ------
        Exhausted
            If there were too many.
        """
        self._marked = run.event.id
        self._number = marks.begin(self._store, self._marked)
        if self._number > 1:
            demand_hope(self._store, self._marked, self._number)
        self._begun()

    def finish(self, run: Run, manifest: Manifest) -> Manifest:
        """Put the manifest if there is none; forget the attempts, and sweep what earlier ones left."""
        winner = super().finish(run, manifest)
        if self._number > 1:
            for name in self._store.names(run_folder(run.key)):
                if name not in ("manifest.json", winner.attempt):
                    self._store.remove(f"{run_folder(run.key)}/{name}")
        marks.forget(self._store, self._marked, self._number)
        return winner

    def turn_to_next(self) -> None:
        """Forget which attempt was marked last."""
        self._marked, self._unsettled = "", []

    def unsettled(self) -> tuple[str, ...]:
        """Return the manifests that must be settled before anything is said of them."""
        return tuple(self._unsettled)

    def forgive(self) -> None:
        """Take the last mark back: what failed was not the event, and it may be tried for days."""
        if self._marked:
            with contextlib.suppress(CalstreamError):  # a store that is down keeps the mark
                self._store.remove(marks.begun_path(self._marked, self._number))

    def _put(self, path: str, content: bytes) -> bool:
        self._unsettled.append(path)
        return self._store.put_to_settle(path, content)


def demand_hope(store: Store, event_id: str, number: int) -> None:
    """Refuse a further attempt at an event that has been tried often enough.

    Raises
    ------
    Exhausted
        With what the last failure said.
    """
    failed = marks.failures(store, event_id)
    if failed >= FAILURES:
        raise Exhausted(marks.last_failure(store, event_id, failed))
    if number > MARKS:
        raise Exhausted(
            f"it was begun {MARKS} times and the whole service ended each time; look at the machine's memory "
            "and logs, then `calstream dlq retry`"
        )
