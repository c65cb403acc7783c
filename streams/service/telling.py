"""What a service tells of its work as it goes on, whoever listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Telling(Protocol):
    """Counts and measures."""

    def event(self, topic: str, outcome: str) -> None:
        """Count an event of a topic: complete, cached, failed or not_its_own."""

    def took(self, stage: str, seconds: float, parts: Mapping[str, float]) -> None:
        """Note how long a run took, and each of its parts."""

    def written(self, size: int) -> None:
        """Count bytes of products."""

    def latency(self, topic: str, seconds: float) -> None:
        """Note how long ago the root of what is now published on a topic came in."""

    def in_work(self, number: int) -> None:
        """Note how many events children compute."""

    def lag(self, behind: Mapping[str, int]) -> None:
        """Note how many messages of each topic are not done."""

    def retried(self) -> None:
        """Count a further try."""

    def dead_letter(self, topic: str) -> None:
        """Count a dead letter."""

    def child_memory(self, size: int) -> None:
        """Note what the largest child holds, bytes."""

    def waiting(self, waits: bool) -> None:
        """Note whether the service waits for something that it needs."""


class Untold:
    """Nobody listens."""

    def event(self, topic: str, outcome: str) -> None:
        """Say nothing."""

    def took(self, stage: str, seconds: float, parts: Mapping[str, float]) -> None:
        """Say nothing."""

    def written(self, size: int) -> None:
        """Say nothing."""

    def latency(self, topic: str, seconds: float) -> None:
        """Say nothing."""

    def in_work(self, number: int) -> None:
        """Say nothing."""

    def lag(self, behind: Mapping[str, int]) -> None:
        """Say nothing."""

    def retried(self) -> None:
        """Say nothing."""

    def dead_letter(self, topic: str) -> None:
        """Say nothing."""

    def child_memory(self, size: int) -> None:
        """Say nothing."""

    def waiting(self, waits: bool) -> None:
        """Say nothing."""
