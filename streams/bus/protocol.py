"""What every bus promises."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

PARTITIONS: Final = 12
"""Of every topic, fixed when it is created; the associator needs them equal."""


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic as it is created.

    Attributes
    ----------
    name : str
        Letters, digits, ``.``, ``_``, ``-`` and ``+``.
    compacted : bool
        Whether the last message of each key is kept for ever, and earlier ones may go; else all are kept for
        `retention`.
    retention : float, optional
        Seconds; for ever when absent.
    max_bytes : int
        The longest value.
    """

    name: str
    compacted: bool = False
    retention: float | None = None
    max_bytes: int = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A message to be published.

    Attributes
    ----------
    topic, key : str
        Where to; messages with one key stay in order.
    value : bytes
        The event as JSON; empty on a compacted topic, it takes the key away.
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
    epoch : int
        Which assignment of its partition to the consumer it was polled under; of no meaning elsewhere.
    """

    partition: int
    offset: int
    timestamp: float
    epoch: int = field(default=0, compare=False)

    @property
    def position(self) -> Position:
        """Return topic and partition."""
        return self.topic, self.partition


Position = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member of a consumer group, as others see it.

    Attributes
    ----------
    name : str
        Unique in its group.
    positions : frozenset of Position
        What it holds.
    """

    name: str
    positions: frozenset[Position]


class PartitionLost(RuntimeError):  # noqa: N818  what happened, not what is wrong
    """A partition of what was to be committed has changed hands: nothing was published or committed.

    Attributes
    ----------
    positions : frozenset of Position
        Those that were lost; what was polled from them belongs to another member now.
    """

    def __init__(self, positions: Iterable[Position]) -> None:
        self.positions = frozenset(positions)
        topic, partition = min(self.positions)
        super().__init__(f"partition {partition} of {topic} has changed hands")


class Consumer(Protocol):
    """A member of a consumer group.

    It is used by one thread. A member that calls none of its methods for the bus's lease (some ten seconds)
    counts as dead, and its partitions go to others.
    """

    def poll(self, timeout: float, limit: int = 64) -> list[Message]:
        """Return up to `limit` messages behind the last ones polled, waiting `timeout` seconds at most."""

    def keep(self) -> Mapping[Position, int]:
        """Renew the membership without taking messages; return what is held, with the epoch of each.

        A message whose epoch is not that of its partition here (or whose partition is not here) belongs to
        another member by now, or will be polled again.
        """

    def commit(self, consumed: Iterable[Message], outputs: Sequence[Outgoing] = ()) -> None:
        """Publish `outputs` and mark `consumed`, and all before them, as done: both or neither.

        Raises
        ------
        PartitionLost
            If a partition of a consumed message has changed hands since it was polled.
        """

    def rewind(self) -> None:
        """Go back to the committed offsets: what was polled and not committed comes again."""

    def close(self) -> None:
        """Leave the group; what was not committed goes to the others."""


class Bus(Protocol):
    """Topics and consumer groups."""

    def create_topics(self, topics: Iterable[Topic | str]) -> None:
        """Make sure that the topics are there; those that are stay as they are.

        Raises
        ------
        UsageError
            If one is there with another number of partitions, or compacted where it must not be.
        """

    def topics(self) -> list[str]:
        """Return the names of all topics."""

    def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish all of `outputs`, or none."""

    def consumer(self, group: str, topics: Iterable[str], *, exclusive: bool = False) -> Consumer:
        """Join a group that reads `topics` from their beginning.

        Parameters
        ----------
        group : str
            Its name.
        topics : iterable of str
            What it reads.
        exclusive : bool, optional
            Whether one member at a time holds all partitions, and the others stand by.
        """

    def members(self, group: str) -> list[Member]:
        """Return the living members of a group."""

    def committed(self, group: str, topics: Iterable[str]) -> dict[Position, int]:
        """Return the committed offset of every partition of `topics`; 0 where there is none."""

    def move(self, group: str, offsets: Mapping[Position, int]) -> None:
        """Set committed offsets of a group.

        Raises
        ------
        UsageError
            If the group has living members.
        """

    def offsets_at(self, topic: str, time: float) -> dict[Position, int]:
        """Return for each partition the offset of the first message published at or after `time`.

        Where there is none, the end; ``-inf`` gives the first offsets there are, ``inf`` the ends.
        """

    def lag(self, group: str, topics: Iterable[str]) -> dict[str, int]:
        """Return for each topic how many messages the group has not committed."""

    def count(self, starts: Mapping[Position, int], ends: Mapping[Position, int]) -> int:
        """Return how many messages there are from some offsets to others, all of which the topics still have.

        Parameters
        ----------
        starts, ends : mapping of Position to int
            For each partition of `ends` its range; it begins at 0 where `starts` has none. Offsets alone do
            not say: Kafka puts marks between messages.
        """

    def read(self, topic: str, since: float = float("-inf")) -> Iterator[Message]:
        """Yield the messages of a topic that were published from a time on, in order of their publishing.

        Those that were there when it began; of a compacted topic at least the last one of each key.
        """

    def close(self) -> None:
        """Let go of everything."""


def partition_of(key: str, partitions: int = PARTITIONS) -> int:
    """Return the partition of a key, the same on every machine."""
    return zlib.crc32(key.encode()) % partitions


def distance(starts: Mapping[Position, int], ends: Mapping[Position, int]) -> int:
    """Return how many offsets there are from `starts`, or 0, to `ends`."""
    return sum(max(0, end - starts.get(position, 0)) for position, end in ends.items())
