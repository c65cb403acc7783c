"""The embedded bus as the protocol wants it."""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.errors import UsageError
from streams.bus.embedded.consumer import EmbeddedConsumer
from streams.bus.embedded.database import Database
from streams.bus.embedded.groups import Groups, Recruit
from streams.bus.embedded.log import Log
from streams.bus.embedded.retention import Retention
from streams.bus.embedded.wakeup import Bell, ring, take_away
from streams.bus.protocol import Member, Message, Outgoing, Position, Topic, distance


class EmbeddedBus:
    """Topics and groups in an SQLite file, shared by any number of processes of one machine.

    Several threads may use it, each with consumers of its own. It can be sent to a spawned process, and used
    in a forked one, where it opens the file again.

    Parameters
    ----------
    folder : str or Path
        Where the file is; made when it is not there.
    partitions : int, optional
        Of every topic; when absent as many as the topics have that are there, for the first 12.
    lease : float, optional
        Seconds after which a member of a group that calls none of its methods counts as dead. One whose
        process has ended counts as dead at once.
    patience : float, optional
        Seconds to wait for other processes' transactions.

    Raises
    ------
    UsageError
        If the folder is on a network file system, or the file was made by a newer calstream.
    Retriable, Unprocessable
        Here and from all methods: if the file cannot be read or written. Once it is mended the same object
        goes on.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        partitions: int | None = None,
        lease: float = 10.0,
        patience: float = 30.0,
    ) -> None:
        self._given: dict[str, Any] = {"partitions": partitions, "lease": lease, "patience": patience}
        self._folder = Path(folder).absolute()
        self._lease = lease
        self._consumers: weakref.WeakSet[EmbeddedConsumer] = weakref.WeakSet()
        self.database = Database(self._folder, patience)
        self.log = Log(self.database, partitions)
        self.groups = Groups(self.log)
        self.retention = Retention(self.database)
        with self.database.reading():
            pass

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_again, (self._folder, self._given)

    def create_topics(self, topics: Iterable[Topic | str]) -> None:
        """Make sure that the topics are there; those that are stay as they are.

        Raises
        ------
        UsageError
            If one is there with another number of partitions, or compacted where it must not be.
        """
        wanted = [given if isinstance(given, Topic) else Topic(name=given) for given in topics]
        with self.database.reading() as db:
            absent = self.log.missing(db, wanted)
        if absent:
            with self.database.writing() as db:
                self.log.create(db, self.log.missing(db, absent))

    def topics(self) -> list[str]:
        """Return the names of all topics."""
        with self.database.reading() as db:
            return self.log.names(db)

    def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish all of `outputs`, or none."""
        if not outputs:
            return
        with self.database.reading() as db:
            self.log.demand(db, {output.topic for output in outputs})
        with self.database.writing() as db:
            bells = self.groups.bells(db, self.log.append(db, outputs))
        ring(bells)
        self.retention.now_and_then()

    def consumer(self, group: str, topics: Iterable[str], *, exclusive: bool = False) -> EmbeddedConsumer:
        """Join a group that reads `topics` from their beginning; an exclusive one has one active member."""
        bell = Bell()
        recruit = Recruit(
            group=group,
            name=f"{group}-{os.getpid()}-{secrets.token_hex(4)}",
            topics=tuple(topics),
            exclusive=exclusive,
            bell=bell.address,
            lease=self._lease * 4 / 3,
        )
        try:
            member = EmbeddedConsumer(self, recruit, bell)
        except BaseException:
            bell.close()
            raise
        self._consumers.add(member)
        return member

    def members(self, group: str) -> list[Member]:
        """Return the living members of a group."""
        self.bury(group)
        with self.database.reading() as db:
            crew = self.groups.id_of(db, group)
            return [] if crew is None else self.groups.members(db, crew)

    def committed(self, group: str, topics: Iterable[str]) -> dict[Position, int]:
        """Return the committed offset of every partition of `topics`; 0 where there is none."""
        with self.database.reading() as db:
            return {at: done for at, (_, done) in self.groups.committed(db, group, topics).items()}

    def move(self, group: str, offsets: Mapping[Position, int]) -> None:
        """Set committed offsets of a group.

        Raises
        ------
        UsageError
            If the group has living members, or there is no such partition.
        """
        self.bury(group)
        with self.database.writing() as db:
            crew = self.groups.id_of(db, group)
            if crew is not None and self.groups.members(db, crew):
                raise UsageError(f"group {group} has living members; stop them first")
            self.groups.move(db, group, offsets)

    def offsets_at(self, topic: str, time: float) -> dict[Position, int]:
        """Return for each partition the offset of the first message published at or after `time`."""
        with self.database.reading() as db:
            positions = self.log.positions(db, [topic])
            return {at: self.log.since(db, part, time) for at, part in positions.items()}

    def lag(self, group: str, topics: Iterable[str]) -> dict[str, int]:
        """Return for each topic how many messages the group has not committed, without those that went."""
        names = list(topics)
        total = dict.fromkeys(names, 0)
        with self.database.reading() as db:
            for (topic, _), (part, done) in self.groups.committed(db, group, names).items():
                first, end = self.log.bounds(db, part)
                total[topic] += max(0, end - max(first, done))
        return total

    def count(self, starts: Mapping[Position, int], ends: Mapping[Position, int]) -> int:
        """Return how many messages there are from some offsets to others."""
        return distance(starts, ends)

    def read(self, topic: str, since: float = float("-inf")) -> Iterator[Message]:
        """Yield the messages of a topic that were published from a time on, in order of their publishing."""
        return self.log.read(topic, since)

    def close(self) -> None:
        """Leave all groups and close the file."""
        for member in list(self._consumers):
            member.close()
        self.database.close()

    def bury(self, group: str) -> None:
        """Take the dead out of a group, and give what they held to the living."""
        with self.database.reading() as db:
            crew = self.groups.id_of(db, group)
            if crew is None or not self.groups.dead(db, crew):
                return
        with self.database.writing() as db:
            dead = self.groups.dead(db, crew)
            bells = self.groups.dismiss(db, crew, dead)
        take_away(dead.values())
        ring(bells)


def _open_again(folder: Path, given: dict[str, Any]) -> EmbeddedBus:
    return EmbeddedBus(folder, **given)
