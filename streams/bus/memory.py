"""``memory:``, a bus that lives and dies with its process, for `calstream run` and for tests."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

from schemas.errors import UsageError
from streams.bus.protocol import PARTITIONS, Message, Outgoing, Position, partition_of


class MemoryBus:
    """Topics as lists, safe to use from several threads.

    Parameters
    ----------
    partitions : int
        Of every topic.
    """

    def __init__(self, partitions: int = PARTITIONS) -> None:
        self._partitions = partitions
        self._logs: dict[str, list[list[Message]]] = {}
        self._sequence: dict[str, list[Message]] = {}
        self._groups: dict[str, _Group] = defaultdict(_Group)
        self._changed = threading.Condition()

    def create_topics(self, topics: Iterable[str]) -> None:
        """Make sure that the topics are there."""
        with self._changed:
            for topic in topics:
                self._logs.setdefault(topic, [[] for _ in range(self._partitions)])
                self._sequence.setdefault(topic, [])

    def topics(self) -> list[str]:
        """Return the names of all topics."""
        return sorted(self._logs)

    def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish all of `outputs`, or none."""
        with self._changed:
            self._append(outputs)

    def consumer(self, group: str, topics: Iterable[str]) -> MemoryConsumer:
        """Join a group that reads `topics` from their beginning."""
        names = tuple(topics)
        with self._changed:
            self._demand(names)
            member = MemoryConsumer(self, group, names)
            self._groups[group].members.append(member)
            self._rebalance(group)
            return member

    def lag(self, group: str, topics: Iterable[str]) -> dict[str, int]:
        """Return for each topic how many messages the group has not committed."""
        with self._changed:
            committed = self._groups[group].committed
            return {
                topic: sum(len(log) - committed.get((topic, p), 0) for p, log in enumerate(self._logs[topic]))
                for topic in topics
            }

    def read(self, topic: str) -> list[Message]:
        """Return every message of a topic, in order of their publishing."""
        with self._changed:
            self._demand([topic])
            return list(self._sequence[topic])

    def close(self) -> None:
        """Let go of everything."""
        with self._changed:
            self._groups.clear()

    def _append(self, outputs: Sequence[Outgoing]) -> None:
        self._demand(output.topic for output in outputs)
        for output in outputs:
            partition = partition_of(output.key, self._partitions)
            log = self._logs[output.topic][partition]
            message = Message(
                topic=output.topic,
                key=output.key,
                value=output.value,
                headers=dict(output.headers),
                partition=partition,
                offset=len(log),
                timestamp=time.time(),
            )
            log.append(message)
            self._sequence[output.topic].append(message)
        self._changed.notify_all()

    def _demand(self, topics: Iterable[str]) -> None:
        for topic in topics:
            if topic not in self._logs:
                raise UsageError(f"there is no topic {topic!r}; create it first")

    def _rebalance(self, group: str) -> None:
        members = self._groups[group].members
        for index, member in enumerate(members):
            mine = {
                (topic, partition)
                for topic in member.subscribed
                for partition in range(self._partitions)
                if partition % len(members) == index
            }
            member.assign(mine, self._groups[group].committed)


class _Group:
    def __init__(self) -> None:
        self.members: list[MemoryConsumer] = []
        self.committed: dict[Position, int] = {}


class MemoryConsumer:
    """A member of a consumer group of a :class:`MemoryBus`."""

    def __init__(self, bus: MemoryBus, group: str, topics: tuple[str, ...]) -> None:
        self._bus = bus
        self._group = group
        self.subscribed = topics
        self._positions: dict[Position, int] = {}

    def assign(self, positions: set[Position], committed: dict[Position, int]) -> None:
        """Take over partitions; those that stay go on where they were polled."""
        self._positions = {
            position: self._positions.get(position, committed.get(position, 0)) for position in positions
        }

    def poll(self, timeout: float, limit: int = 64) -> list[Message]:
        """Return up to `limit` messages that follow the last ones polled."""
        deadline = time.monotonic() + timeout
        with self._bus._changed:
            while True:
                found = self._take(limit)
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                self._bus._changed.wait(left)

    def commit(self, consumed: Iterable[Message], outputs: Sequence[Outgoing] = ()) -> None:
        """Publish `outputs` and mark `consumed` as done, both or neither.

        Raises
        ------
        RuntimeError
            If a partition of a consumed message now belongs to another member: nothing is published.
        """
        done = list(consumed)
        with self._bus._changed:
            lost = [m for m in done if (m.topic, m.partition) not in self._positions]
            if lost:
                raise RuntimeError(f"partition {lost[0].partition} of {lost[0].topic} has changed hands")
            self._bus._append(outputs)
            committed = self._bus._groups[self._group].committed
            for message in done:
                position = (message.topic, message.partition)
                committed[position] = max(committed.get(position, 0), message.offset + 1)

    def rewind(self) -> None:
        """Go back to the committed offsets."""
        with self._bus._changed:
            committed = self._bus._groups[self._group].committed
            self._positions = {position: committed.get(position, 0) for position in self._positions}

    def close(self) -> None:
        """Leave the group."""
        with self._bus._changed:
            members = self._bus._groups[self._group].members
            if self in members:
                members.remove(self)
                self._positions = {}
                self._bus._rebalance(self._group)

    def _take(self, limit: int) -> list[Message]:
        found: list[Message] = []
        for (topic, partition), position in sorted(self._positions.items()):
            batch = self._bus._logs[topic][partition][position : position + limit - len(found)]
            found.extend(batch)
            self._positions[topic, partition] = position + len(batch)
            if len(found) == limit:
                break
        return found
