"""Where manifests lie in a store, and what is known of runs from them."""

from __future__ import annotations

import hashlib

from schemas.events import Artifact
from schemas.manifests import Manifest
from streams import marks
from streams.planning import Run
from streams.store import Store


def run_folder(run_key: str) -> str:
    """Return the folder of a run's attempts."""
    return f"runs/{run_key[:2]}/{run_key}"


def manifest_path(run_key: str) -> str:
    """Return the path of a run's manifest."""
    return f"{run_folder(run_key)}/manifest.json"


def manifest_artifact(manifest: Manifest, store: Store) -> Artifact:
    """Return the claim check of a manifest."""
    content = manifest.content
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
        marks.begin(self._store, run.event.id)

    def finish(self, run: Run, manifest: Manifest) -> Manifest:
        """Put the manifest if there is none; else sweep this attempt's files and return the winner's."""
        if self._put(manifest_path(run.key), manifest.content):
            return manifest
        winner = Manifest.model_validate_json(self._store.read_bytes(manifest_path(run.key)))
        if winner.attempt != manifest.attempt:
            self._store.remove(f"{run_folder(run.key)}/{manifest.attempt}")
        return winner

    def _put(self, path: str, content: bytes) -> bool:
        return self._store.put_if_absent(path, content)
