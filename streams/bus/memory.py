"""``memory:``, a bus that lives and dies with its process, for `calstream run` and for tests."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from schemas.errors import UsageError
from streams.bus.protocol import (
    PARTITIONS,
    Member,
    Message,
    Outgoing,
    PartitionLost,
    Position,
    Topic,
    distance,
    partition_of,
)
from streams.bus.sharing import Subscriber, in_turns, owners


class MemoryBus:
    """Topics as lists, safe to use from several threads; nothing is ever dropped.

    Parameters
    ----------
    partitions : int
        Of every topic.
    """

    def __init__(self, partitions: int = PARTITIONS) -> None:
        self._partitions = partitions
        self._topics: dict[str, Topic] = {}
        self._logs: dict[str, list[list[Message]]] = {}
        self._sequence: dict[str, list[Message]] = {}
        self._groups: dict[str, _Group] = defaultdict(_Group)
        self._changed = threading.Condition()

    def create_topics(self, topics: Iterable[Topic | str]) -> None:
        """Make sure that the topics are there; those that are stay as they are.

        Raises
        ------
        UsageError
            If one is there and is compacted where it must not be, or the other way round.
        """
        with self._changed:
            for given in topics:
                topic = given if isinstance(given, Topic) else Topic(name=given)
                known = self._topics.setdefault(topic.name, topic)
                if known.compacted != topic.compacted:
                    raise UsageError(
                        f"topic {topic.name} is there already and is {'' if known.compacted else 'not '}"
                        "compacted; give the new one another name"
                    )
                self._logs.setdefault(topic.name, [[] for _ in range(self._partitions)])
                self._sequence.setdefault(topic.name, [])

    def topics(self) -> list[str]:
        """Return the names of all topics."""
        return sorted(self._logs)

    def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish all of `outputs`, or none."""
        with self._changed:
            self._append(outputs)

    def consumer(self, group: str, topics: Iterable[str], *, exclusive: bool = False) -> MemoryConsumer:
        """Join a group that reads `topics` from their beginning; an exclusive one has one active member."""
        names = tuple(topics)
        with self._changed:
            self._demand(names)
            member = MemoryConsumer(self, group, names, exclusive=exclusive)
            self._groups[group].joined += 1
            member.number = self._groups[group].joined
            self._groups[group].members.append(member)
            self._rebalance(group)
            return member

    def members(self, group: str) -> list[Member]:
        """Return the living members of a group."""
        with self._changed:
            return [
                Member(name=f"{group}-{member.number}", positions=frozenset(member.keep()))
                for member in self._groups[group].members
            ]

    def committed(self, group: str, topics: Iterable[str]) -> dict[Position, int]:
        """Return the committed offset of every partition of `topics`; 0 where there is none."""
        with self._changed:
            known = self._groups[group].committed
            return {at: known.get(at, 0) for at in self._positions(topics)}

    def move(self, group: str, offsets: Mapping[Position, int]) -> None:
        """Set committed offsets of a group without members."""
        with self._changed:
            if self._groups[group].members:
                raise UsageError(f"group {group} has living members; stop them first")
            self._groups[group].committed.update(offsets)

    def offsets_at(self, topic: str, time: float) -> dict[Position, int]:
        """Return for each partition the offset of the first message published at or after `time`."""
        with self._changed:
            self._demand([topic])
            return {
                (topic, p): next((m.offset for m in log if m.timestamp >= time), len(log))
                for p, log in enumerate(self._logs[topic])
            }

    def lag(self, group: str, topics: Iterable[str]) -> dict[str, int]:
        """Return for each topic how many messages the group has not committed."""
        with self._changed:
            topics = list(topics)
            self._demand(topics)
            committed = self._groups[group].committed
            return {
                topic: sum(len(log) - committed.get((topic, p), 0) for p, log in enumerate(self._logs[topic]))
                for topic in topics
            }

    def count(self, starts: Mapping[Position, int], ends: Mapping[Position, int]) -> int:
        """Return how many messages there are from some offsets to others."""
        return distance(starts, ends)

    def read(self, topic: str, since: float = float("-inf")) -> Iterator[Message]:
        """Yield the messages of a topic that were published from a time on, in order of their publishing."""
        with self._changed:
            self._demand([topic])
            return iter([message for message in self._sequence[topic] if message.timestamp >= since])

    def close(self) -> None:
        """Let go of everything."""
        with self._changed:
            self._groups.clear()

    def _positions(self, topics: Iterable[str]) -> list[Position]:
        names = list(topics)
        self._demand(names)
        return [(topic, partition) for topic in names for partition in range(self._partitions)]

    def _append(self, outputs: Sequence[Outgoing]) -> None:
        self._demand(output.topic for output in outputs)
        for output in outputs:
            bound = self._topics[output.topic].max_bytes
            if len(output.value) > bound:
                raise UsageError(
                    f"a message of {len(output.value)} bytes for {output.topic}, which takes {bound}; "
                    "send the URI of a file instead"
                )
        for output in outputs:
            partition = partition_of(output.key, self._partitions)
            log = self._logs[output.topic][partition]
            past = self._sequence[output.topic]
            # the clock may be set back; and no two at once, which tells the order
            now = max(time.time(), math.nextafter(past[-1].timestamp, math.inf) if past else 0)
            message = Message(
                topic=output.topic,
                key=output.key,
                value=output.value,
                headers=dict(output.headers),
                partition=partition,
                offset=len(log),
                timestamp=now,
            )
            log.append(message)
            self._sequence[output.topic].append(message)
        self._changed.notify_all()

    def _demand(self, topics: Iterable[str]) -> None:
        for topic in topics:
            if topic not in self._logs:
                raise UsageError(f"there is no topic {topic!r}; create it first")

    def _rebalance(self, group: str) -> None:
        known = self._groups[group]
        known.epoch += 1
        by_number = {member.number: member for member in known.members}
        wanted = owners(
            [
                Subscriber(number=number, topics=frozenset(m.subscribed), exclusive=m.exclusive)
                for number, m in by_number.items()
            ],
            self._positions({topic for m in known.members for topic in m.subscribed}),
            {at: number for number, m in by_number.items() for at in m.keep()},
        )
        for number, member in by_number.items():
            mine = {at for at, owner in wanted.items() if owner == number}
            member.assign(mine, known.committed, known.epoch)
        self._changed.notify_all()


class _Group:
    def __init__(self) -> None:
        self.members: list[MemoryConsumer] = []
        self.committed: dict[Position, int] = {}
        self.epoch = 0
        self.joined = 0


class MemoryConsumer:
    """A member of a consumer group of a :class:`MemoryBus`."""

    def __init__(self, bus: MemoryBus, group: str, topics: tuple[str, ...], *, exclusive: bool) -> None:
        self._bus = bus
        self._group = group
        self.subscribed = topics
        self.exclusive = exclusive
        self.number = 0
        self._positions: dict[Position, int] = {}
        self._epochs: dict[Position, int] = {}
        self._last: str | None = None

    def assign(self, positions: set[Position], committed: dict[Position, int], epoch: int) -> None:
        """Take over partitions; those that stay go on where they were polled."""
        self._epochs = {position: self._epochs.get(position, epoch) for position in positions}
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

    def keep(self) -> Mapping[Position, int]:
        """Return what is held, with the epoch of each."""
        with self._bus._changed:
            return dict(self._epochs)

    def commit(self, consumed: Iterable[Message], outputs: Sequence[Outgoing] = ()) -> None:
        """Publish `outputs` and mark `consumed` as done, both or neither.

        Raises
        ------
        PartitionLost
            If a partition of a consumed message has changed hands: nothing is published.
        """
        done = list(consumed)
        with self._bus._changed:
            lost = {m.position for m in done if self._epochs.get(m.position) != m.epoch}
            if lost:
                raise PartitionLost(lost)
            self._bus._append(outputs)
            committed = self._bus._groups[self._group].committed
            for message in done:
                committed[message.position] = max(committed.get(message.position, 0), message.offset + 1)

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
                self._positions, self._epochs = {}, {}
                self._bus._rebalance(self._group)

    def _take(self, limit: int) -> list[Message]:
        waiting: dict[str, list[list[Message]]] = defaultdict(list)
        for (topic, partition), start in self._positions.items():
            if rest := self._bus._logs[topic][partition][start : start + limit]:
                waiting[topic].append(rest)
        queues = {topic: heapq.merge(*rests, key=attrgetter("timestamp")) for topic, rests in waiting.items()}
        found: list[Message] = []
        for topic, message in in_turns(queues, limit, self._last):
            self._last = topic
            found.append(replace(message, epoch=self._epochs[message.position]))
            self._positions[message.position] = message.offset + 1
        return found
