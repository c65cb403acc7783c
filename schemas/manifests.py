"""Manifests: the JSON file that lists what one run made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import Field

from schemas.canonical import canonical_tree
from schemas.events import Artifact, Figure, Frozen, Input, Scalar


class ManifestEntry(Frozen):
    """One product of a run.

    Attributes
    ----------
    name, suffix : str
        Product name and suffix.
    artifact : Artifact
        The file; `uri` is relative to the store's root.
    """

    name: str
    suffix: str
    artifact: Artifact


class Manifest(Frozen):
    """What one run made, put into the store once and never changed.

    Attributes
    ----------
    run_key, stage : str
        Which run.
    attempt : str
        The attempt that won; files of others are swept.
    products : tuple of ManifestEntry
        The primary product first.
    inputs : tuple of Input
        What they were made from.
    keywords : mapping of str to scalar
        Event keywords of the primary product.
    quality : mapping of str to float
        Quality figures.
    timing : mapping of str to object
        When it began, how long each part took; the only place (with events) that knows the clock.
    """

    version: int = 1
    run_key: str
    stage: str
    attempt: str
    products: tuple[ManifestEntry, ...]
    inputs: tuple[Input, ...] = ()
    keywords: Mapping[str, Scalar] = Field(default_factory=dict)
    quality: Mapping[str, Figure] = Field(default_factory=dict)
    timing: Mapping[str, Any] = Field(default_factory=dict)

    @cached_property
    def content(self) -> bytes:
        """Return the manifest as canonical JSON, which is what the store holds of it."""
        return canonical_tree(self.model_dump(mode="json")).encode()

    @property
    def primary(self) -> ManifestEntry:
        """Return the primary product."""
        return self.products[0]
