"""What every bus promises."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

PARTITIONS: Final = 12
"""Of every topic, fixed when it is created; the associator needs them equal."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A message to be published.

    Attributes
    ----------
    topic, key : str
        Where to; messages with one key stay in order.
    value : bytes
        The event as JSON.
    headers : mapping of str to str
        CloudEvents attributes, trace context.
    """

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Message(Outgoing):
    """A message as consumed.

    Attributes
    ----------
    partition, offset : int
        Where it stands in its topic.
    timestamp : float
        Seconds since 1970 at which it was published.
    """

    partition: int
    offset: int
    timestamp: float


Position = tuple[str, int]
"""Topic and partition."""


class Consumer(Protocol):
    """A member of a consumer group."""

    def poll(self, timeout: float, limit: int = 64) -> list[Message]:
        """Return up to `limit` messages behind the last ones polled, waiting `timeout` seconds at most."""

    def commit(self, consumed: Iterable[Message], outputs: Sequence[Outgoing] = ()) -> None:
        """Publish `outputs` and mark `consumed` as done, both or neither."""

    def rewind(self) -> None:
        """Go back to the committed offsets: what was polled and not committed comes again."""

    def close(self) -> None:
        """Leave the group; what was not committed goes to the others."""


class Bus(Protocol):
    """Topics and consumer groups."""

    def create_topics(self, topics: Iterable[str]) -> None:
        """Make sure that the topics are there."""

    def topics(self) -> list[str]:
        """Return the names of all topics."""

    def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish all of `outputs`, or none."""

    def consumer(self, group: str, topics: Iterable[str]) -> Consumer:
        """Join a group that reads `topics` from their beginning."""

    def lag(self, group: str, topics: Iterable[str]) -> dict[str, int]:
        """Return for each topic how many messages the group has not committed."""

    def read(self, topic: str) -> list[Message]:
        """Return every message of a topic, in order of their publishing."""

    def close(self) -> None:
        """Let go of everything."""


def partition_of(key: str, partitions: int = PARTITIONS) -> int:
    """Return the partition of a key, the same on every machine."""
    return zlib.crc32(key.encode()) % partitions
