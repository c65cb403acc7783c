"""Where manifests and attempt marks lie in a store."""

from __future__ import annotations

import hashlib
from itertools import count

from schemas.events import Artifact
from schemas.manifests import Manifest
from streams.planning import Run
from streams.store import Store


def run_folder(run_key: str) -> str:
    """Return the folder of a run's attempts."""
    return f"runs/{run_key[:2]}/{run_key}"


def manifest_path(run_key: str) -> str:
    """Return the path of a run's manifest."""
    return f"{run_folder(run_key)}/manifest.json"


def attempts_folder(event_id: str) -> str:
    """Return the folder with the marks of attempts at an event."""
    return f"attempts/{event_id}"


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return a manifest as canonical JSON."""
    return manifest.content


def manifest_artifact(manifest: Manifest, store: Store) -> Artifact:
    """Return the claim check of a manifest."""
    content = manifest_bytes(manifest)
    return Artifact(
        uri=store.uri(manifest_path(manifest.run_key)),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


class StoreLedger:
    """Finished runs as the store's manifests tell them; marks of attempts beside them.

    Parameters
    ----------
    store : Store
        Where they lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def finished(self, run: Run) -> Manifest | None:
        """Return the manifest of a run that is finished, or None."""
        path = manifest_path(run.key)
        if not self._store.exists(path):
            return None
        return Manifest.model_validate_json(self._store.read_bytes(path))

    def begin(self, run: Run) -> None:
        """Mark an attempt, so that one that kills its process is counted all the same."""
        for n in count(1):
            if self._store.put_if_absent(f"{attempts_folder(run.event.id)}/{n}", run.key.encode()):
                return

    def finish(self, run: Run, manifest: Manifest) -> Manifest:
        """Put the manifest if there is none; else sweep this attempt's files and return the winner's."""
        if self._put(manifest_path(run.key), manifest_bytes(manifest)):
            return manifest
        winner = Manifest.model_validate_json(self._store.read_bytes(manifest_path(run.key)))
        if winner.attempt != manifest.attempt:
            self._store.remove(f"{run_folder(run.key)}/{manifest.attempt}")
        return winner

    def _put(self, path: str, content: bytes) -> bool:
        return self._store.put_if_absent(path, content)


def attempts(store: Store, event_id: str) -> int:
    """Return how many attempts at an event were begun."""
    return next(n for n in count() if not store.exists(f"{attempts_folder(event_id)}/{n + 1}"))
