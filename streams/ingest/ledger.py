"""What ingest has published, written down in the store: before, so that it is said once; after, as confirmed.

``roots/<line>/<name>/<suffix>/<digest>.json`` is the complete event of a file, put if absent (that of a
refusal in a folder ``refused`` there); exactly that event is published; then ``<digest>.published`` confirms
it. Killed between any two of these, the next attempt completes it with the same event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from schemas.canonical import canonical_json
from schemas.errors import Unprocessable
from schemas.events import Artifact, Event, ProductEvent, parse_event
from streams.bus import Bus
from streams.current import events_of
from streams.envelope import pack
from streams.ingest.finding import Signature
from streams.store import Store

REFUSED: Final = "refused"
"""Folder of the failures among an identity's roots."""

_RECORD: Final = re.compile(r"([0-9a-f]{64})\.json")


class RootLedger:
    """The roots of a pipeline.

    Parameters
    ----------
    bus : Bus
        Where they are published.
    store : Store
        Where they are written down.
    """

    def __init__(self, bus: Bus, store: Store) -> None:
        self._bus = bus
        self._store = store

    def publish(
        self, identity: str, digest: str, make: Callable[[str | None], Event], signature: Signature | None
    ) -> bool:
        """Publish a root, unless it was; return whether it was not.

        Parameters
        ----------
        identity : str
            ``line/name/suffix``.
        digest : str
            Tells what is published of the identity: the SHA-256 of a file, or ``refused/`` and that of a
            refusal.
        make : callable
            Gives the event, of a generation that is larger than the one that it is called with: the largest
            known.
        signature : Signature, optional
            Of the file as it lies where it was found.
        """
        path = f"roots/{identity}/{digest}"
        if self._store.exists(f"{path}.published"):
            return False
        if not self._store.exists(f"{path}.json"):
            event = make(self.newest_generation(identity))
            self._store.put_if_absent(f"{path}.json", event.to_bytes())
        event = parse_event(self._store.read_bytes(f"{path}.json"))
        self._bus.publish([pack(event)])
        self._store.put_if_absent(f"{path}.published", canonical_json(signature).encode())
        return True

    def digests(self, identity: str) -> set[str]:
        """Return what was written down of an identity."""
        names = self._store.names(f"roots/{identity}")
        return {match[1] for name in names if (match := _RECORD.fullmatch(name))}

    def artifact(self, identity: str, sha256: str) -> Artifact | None:
        """Return the claim check of a file with these bytes, if one is written down."""
        path = f"roots/{identity}/{sha256}.json"
        if not self._store.exists(path):
            return None
        event = parse_event(self._store.read_bytes(path))
        return event.product if isinstance(event, ProductEvent) else None

    def recognised(self, identity: str, signature: Signature) -> str | None:
        """Return the SHA-256 of a file that was taken and lies there as it did then."""
        wanted = canonical_json(signature).encode()
        for digest in self.digests(identity):
            path = f"roots/{identity}/{digest}.published"
            if self._store.exists(path) and self._store.read_bytes(path) == wanted:
                return digest
        return None

    def newest_generation(self, identity: str) -> str | None:
        """Return the largest generation that is known of an identity; None if it was never published."""
        written = list(self._written(identity))
        if not written:
            return None
        topics = {event.topic for event in written}
        said = [event for event in events_of(self._bus, topics) if event.identity == identity]
        return max(event.generation for event in (*written, *said))

    def _written(self, identity: str) -> Iterator[Event]:
        for folder in (f"roots/{identity}", f"roots/{identity}/{REFUSED}"):
            for name in self._store.names(folder):
                if _RECORD.fullmatch(name):
                    try:
                        yield parse_event(self._store.read_bytes(f"{folder}/{name}"))
                    except Unprocessable:  # a later version's
                        continue
