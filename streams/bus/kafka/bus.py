"""The bus on Apache Kafka."""

from __future__ import annotations

import math
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from kafka import TopicPartition
from kafka.errors import NoError

from schemas.errors import UsageError
from streams.bus.kafka.connection import PREFIX, Connection
from streams.bus.kafka.failures import told
from streams.bus.kafka.groups import described
from streams.bus.kafka.member import KafkaMember
from streams.bus.kafka.messages import message_of, partition_at, position_of, to_wire
from streams.bus.kafka.reading import committed, offsets_at, records
from streams.bus.kafka.tally import Tally
from streams.bus.kafka.topics import TopicBook
from streams.bus.kafka.transactions import Transactions
from streams.bus.protocol import Member, Message, Outgoing, Position, Topic

LEASE: Final = 10.0
"""Seconds."""


class KafkaBus:
    """Topics and groups of an Apache Kafka cluster.

    Parameters
    ----------
    url : str
        ``kafka://HOST:PORT[,HOST:PORT][?OPTION=VALUE]``; how to get in may also be said by the environment:
        ``CALSTREAM_KAFKA_SECURITY_PROTOCOL``, ``_SASL_MECHANISM``, ``_SASL_PLAIN_USERNAME``,
        ``_SASL_PLAIN_PASSWORD``, ``_SSL_CAFILE``, ``_SSL_CERTFILE``, ``_SSL_KEYFILE``.
    partitions : int, optional
        Of every topic; when absent as many as most of those have that are there, for the first 12.
    name : str, optional
        Of this process in its groups, from ``CALSTREAM_KAFKA_MEMBER`` unless given: the same at each start,
        and different from those of others. With it, a process that is started again within the lease gets its
        partitions back and ends at once what it had begun; without it, others wait for that.
    lease : float
        Seconds after which a member that was killed counts as dead.

    Raises
    ------
    Retriable
        If no broker answers.
    UsageError
        If the URL or the name cannot be understood.
    """

    def __init__(
        self, url: str, *, partitions: int | None = None, name: str | None = None, lease: float = LEASE
    ) -> None:
        self._name = os.environ.get(PREFIX + "MEMBER", "") if name is None else name
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,200}", self._name):
            raise UsageError(
                f"{self._name!r} cannot be the name of a member; letters, digits, '.', '_' and '-' can"
            )
        self._connection = Connection.of(url)
        self._lease = lease
        self._admin = self._connection.admin()
        self._book = TopicBook(self._admin, partitions)
        self._tally = Tally(self._connection)
        self._members: list[KafkaMember] = []
        self._joined: dict[str, int] = {}
        self._publishing = threading.Lock()
        self._publisher = Transactions(self._connection, f"calstream.publish.{uuid.uuid4().hex}")

    @property
    def connection(self) -> Connection:
        """Return where the brokers are, for clients of another kind."""
        return self._connection

    def create_topics(self, topics: Iterable[Topic | str]) -> None:
        """Make sure that the topics are there; those that are stay as they are.

        Raises
        ------
        UsageError
            If one is there with another number of partitions, or compacted where it must not be, or if Kafka
            would remove what must be kept, or compress it.
        """
        wanted = {t.name: t for t in (t if isinstance(t, Topic) else Topic(name=t) for t in topics)}
        if wanted:
            self._book.create(list(wanted.values()))

    def mend_topics(self, topics: Iterable[Topic]) -> list[str]:
        """Let Kafka keep topics as they must be kept; return the names of those that it had not."""
        return self._book.mend(list(topics))

    def topics(self) -> list[str]:
        """Return the names of all topics."""
        return self._book.names()

    def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish all of `outputs`, or none."""
        known = self._book.check(outputs)
        if not outputs:
            return
        with self._publishing, told(f"{len(outputs)} messages could not be published"):
            self._publisher.run(outputs, known)

    def consumer(self, group: str, topics: Iterable[str], *, exclusive: bool = False) -> KafkaMember:
        """Join a group that reads `topics` from their beginning; an exclusive one has one active member."""
        names = tuple(topics)
        self._book.demand(names)
        count = self._joined[group] = self._joined.get(group, 0) + 1
        name = f"{self._name}-{count}" if self._name and count > 1 else self._name
        transactional = f"calstream.{group}.{name or uuid.uuid4().hex}"
        member = KafkaMember(
            self._connection, self._book, group, names, (name, transactional), self._lease, exclusive
        )
        self._members.append(member)
        self._gather(group, member)
        return member

    def members(self, group: str) -> list[Member]:
        """Return the living members of a group."""
        return list(described(self._admin, group).members)

    def committed(self, group: str, topics: Iterable[str]) -> dict[Position, int]:
        """Return the committed offset of every partition of `topics`; 0 where there is none."""
        return {position_of(p): offset for p, offset in self._committed(group, list(topics)).items()}

    def move(self, group: str, offsets: Mapping[Position, int]) -> None:
        """Set committed offsets of a group.

        Raises
        ------
        UsageError
            If the group has living members.
        """
        self._book.demand(topic for topic, _ in offsets)
        if not offsets:
            return
        wanted = {partition_at(position): offset for position, offset in offsets.items()}
        if not self.members(group):
            with told(f"the offsets of group {group} cannot be set"):
                answers = self._admin.reset_group_offsets(group, dict(wanted)).values()
            if len(answers) == len(wanted) and all(answer["error"] is NoError for answer in answers):
                return
        raise UsageError(f"group {group} has living members; stop them first")

    def offsets_at(self, topic: str, time: float) -> dict[Position, int]:
        """Return for each partition the offset of the first message published at or after `time`."""
        partitions = self._partitions([topic])
        with told(f"the offsets of {topic} cannot be looked up"):
            found = offsets_at(self._admin, partitions, time)
        return {position_of(partition): offset for partition, offset in found.items()}

    def lag(self, group: str, topics: Iterable[str]) -> dict[str, int]:
        """Return for each topic how many messages the group has not committed.

        Where it is far behind, the marks that Kafka puts behind each transaction are counted too.
        """
        names = list(topics)
        done = self._committed(group, names)
        with told(f"the lag of group {group} cannot be looked up"):
            ends = offsets_at(self._admin, list(done), math.inf)
            first = offsets_at(self._admin, list(done), -math.inf)
            behind = self._tally.count({p: max(done[p], first[p]) for p in done}, ends)
        return {
            name: sum(count for p, count in behind.items() if position_of(p)[0] == name) for name in names
        }

    def count(self, starts: Mapping[Position, int], ends: Mapping[Position, int]) -> int:
        """Return how many messages there are from some offsets to others.

        Where many have come since the last time, the marks that Kafka puts behind transactions count too.
        """
        with told("messages cannot be counted"):
            found = self._tally.count(
                {partition_at(position): starts.get(position, 0) for position in ends},
                {partition_at(position): end for position, end in ends.items()},
            )
        return sum(found.values())

    def read(self, topic: str, since: float = -math.inf) -> Iterator[Message]:
        """Yield the messages of a topic that were published from a time on, in order of their publishing.

        Kafka's clock has milliseconds: of two messages of the same one that were not published together,
        either may come first, unless they have one key.
        """
        partitions = self._partitions([topic])
        with told(f"{topic} cannot be read"):
            starts = offsets_at(self._admin, partitions, since)
            ends = offsets_at(self._admin, partitions, math.inf)
        return self._read(topic, since, starts, ends)

    def close(self) -> None:
        """Let go of everything."""
        for member in self._members:
            member.close()
        self._publisher.close()
        self._admin.close()

    def _gather(self, group: str, member: KafkaMember) -> None:
        """Wait until the group has shared its partitions anew, but not for others that are slow."""
        deadline = time.monotonic() + self._lease
        while time.monotonic() < deadline:
            member.keep()
            found = described(self._admin, group)
            if found.settled and found.held == {position_of(p) for p in self._partitions(found.topics)}:
                return
            time.sleep(0.05)

    def _read(
        self,
        topic: str,
        since: float,
        starts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> Iterator[Message]:
        with told(f"{topic} cannot be read"):
            for record in records(self._connection, starts, ends):
                message = message_of(record)
                if message.timestamp >= since:
                    yield message

    def _committed(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
        partitions = self._partitions(topics)
        with told(f"the offsets of group {group} cannot be looked up"):
            return committed(self._connection, self._admin, group, partitions)

    def _partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        return [
            TopicPartition(to_wire(name), partition)
            for name, known in self._book.demand(topics).items()
            for partition in range(known.partitions)
        ]
