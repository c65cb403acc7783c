"""Consumer groups of an embedded bus: members, leases, who holds which partition, committed offsets."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams.bus.embedded.log import Log
from streams.bus.embedded.processes import Process, this_process
from streams.bus.protocol import Member, Message, PartitionLost, Position
from streams.bus.sharing import Subscriber, owners


@dataclass(frozen=True, kw_only=True)
class Recruit:
    """Who joins a group.

    Attributes
    ----------
    group, name : str
        Of the group, and of the member within it.
    topics : tuple of str
        What it reads.
    exclusive : bool
        Whether one member at a time is to hold all.
    bell : str
        Where to wake it.
    lease : float
        Seconds for which it counts as living after it was last heard of.
    """

    group: str
    name: str
    topics: tuple[str, ...]
    exclusive: bool
    bell: str
    lease: float


@dataclass(frozen=True)
class Held:
    """A partition that a member holds.

    Attributes
    ----------
    part : int
        Its id.
    epoch : int
        How often it has changed hands in the group.
    committed : int
        Offset up to which it is done.
    """

    part: int
    epoch: int
    committed: int


class Groups:
    """The groups of one file.

    Each method takes the connection; those that say so need a transaction, and return the bells to ring when
    it has been committed.

    Parameters
    ----------
    log : Log
        The topics of the same file.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def enlist(self, db: sqlite3.Connection, recruit: Recruit) -> tuple[int, int, set[str]]:
        """Put a member into its group, in a transaction; return the ids of group and member, and bells."""
        topics = self._log.demand(db, recruit.topics)
        db.execute("INSERT INTO crew (name) VALUES (?) ON CONFLICT DO NOTHING", (recruit.group,))
        (crew,) = db.execute("SELECT id FROM crew WHERE name = ?", (recruit.group,)).fetchone()
        self._forget(
            db, [row[0] for row in db.execute("SELECT id FROM member WHERE name = ?", (recruit.name,))]
        )
        now, process = time.monotonic(), this_process()
        member = db.execute(
            "INSERT INTO member"
            " (crew, name, exclusive, bell, renewed, expires, boot, namespace, process, started)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                crew, recruit.name, recruit.exclusive, recruit.bell, now, now + recruit.lease,
                process.boot, process.namespace, process.number, process.started,
            ),
        ).lastrowid  # fmt: skip
        assert member is not None
        db.executemany(
            "INSERT INTO subscription VALUES (?, ?)", [(member, one.id) for one in topics.values()]
        )
        self._add_holdings(db, crew, self._log.positions(db, topics).values())
        self._forget(db, self.dead(db, crew))
        return crew, member, self._share(db, crew)

    def dismiss(self, db: sqlite3.Connection, crew: int, members: Iterable[int]) -> set[str]:
        """Take members out of a group, in a transaction; return bells."""
        if self._forget(db, members):
            return self._share(db, crew)
        return set()

    def renew(self, db: sqlite3.Connection, member: int, lease: float) -> bool:
        """Renew a lease; return whether the member is still there."""
        now = time.monotonic()
        found = db.execute(
            "UPDATE member SET renewed = ?, expires = ? WHERE id = ?", (now, now + lease, member)
        )
        return found.rowcount == 1

    def dead(self, db: sqlite3.Connection, crew: int) -> dict[int, str]:
        """Return the members whose process has ended or whose lease has run out, and their bells."""
        now = time.monotonic()
        rows = db.execute(
            "SELECT id, bell, renewed, expires, boot, namespace, process, started FROM member WHERE crew = ?",
            (crew,),
        )
        return {
            member: bell
            for member, bell, renewed, expires, *process in rows
            # a clock behind the renewal is that of a later start of the machine
            if not renewed <= now <= expires or Process(*process).gone()
        }

    def id_of(self, db: sqlite3.Connection, group: str) -> int | None:
        """Return the id of a group, or None where it has never had a member."""
        found = db.execute("SELECT id FROM crew WHERE name = ?", (group,)).fetchone()
        return found[0] if found else None

    def generation(self, db: sqlite3.Connection, crew: int) -> int:
        """Return how often the members of a group have changed."""
        found = db.execute("SELECT generation FROM crew WHERE id = ?", (crew,)).fetchone()
        return int(found[0]) if found else -1

    def members(self, db: sqlite3.Connection, crew: int) -> list[Member]:
        """Return the members of a group, whether they live or not."""
        held: dict[int, set[Position]] = {}
        rows = db.execute(
            "SELECT member, name, number FROM holding JOIN part ON part.id = part"
            " JOIN topic ON topic.id = topic WHERE crew = ? AND member IS NOT NULL",
            (crew,),
        )
        for member, topic, number in rows:
            held.setdefault(member, set()).add((topic, number))
        names = db.execute("SELECT id, name FROM member WHERE crew = ? ORDER BY id", (crew,))
        return [Member(name=name, positions=frozenset(held.get(member, ()))) for member, name in names]

    def held(
        self, db: sqlite3.Connection, crew: int, member: int, topics: Iterable[str]
    ) -> dict[Position, Held] | None:
        """Return what a member holds, or None where it is no member any more."""
        if db.execute("SELECT 1 FROM member WHERE id = ? AND crew = ?", (member, crew)).fetchone() is None:
            return None
        rows = db.execute(
            "SELECT part, epoch, committed FROM holding WHERE crew = ? AND member = ?", (crew, member)
        )
        mine = {part: Held(part, epoch, committed) for part, epoch, committed in rows}
        return {at: mine[part] for at, part in self._log.positions(db, topics).items() if part in mine}

    def committed(
        self, db: sqlite3.Connection, group: str, topics: Iterable[str]
    ) -> dict[Position, tuple[int, int]]:
        """Return id and committed offset of every partition of topics."""
        crew = self.id_of(db, group)
        done: dict[int, int] = {}
        done.update(db.execute("SELECT part, committed FROM holding WHERE crew = ?", (crew,)))
        return {at: (part, done.get(part, 0)) for at, part in self._log.positions(db, topics).items()}

    def mark(self, db: sqlite3.Connection, crew: int, member: int, consumed: Iterable[Message]) -> None:
        """Commit offsets, in a transaction.

        Raises
        ------
        PartitionLost
            If a message was polled under an epoch that is over.
        """
        done = list(consumed)
        parts = self._log.positions(db, {message.topic for message in done})
        rows = db.execute("SELECT part, member, epoch FROM holding WHERE crew = ?", (crew,))
        now = {part: (owner, epoch) for part, owner, epoch in rows}
        lost = {m.position for m in done if now.get(parts[m.position]) != (member, m.epoch)}
        if lost:
            raise PartitionLost(lost)
        ends: dict[int, int] = {}
        for message in done:
            part = parts[message.position]
            ends[part] = max(ends.get(part, 0), message.offset + 1)
        db.executemany(
            "UPDATE holding SET committed = max(committed, ?) WHERE crew = ? AND part = ?",
            [(end, crew, part) for part, end in ends.items()],
        )

    def move(self, db: sqlite3.Connection, group: str, offsets: Mapping[Position, int]) -> None:
        """Set committed offsets, in a transaction."""
        db.execute("INSERT INTO crew (name) VALUES (?) ON CONFLICT DO NOTHING", (group,))
        (crew,) = db.execute("SELECT id FROM crew WHERE name = ?", (group,)).fetchone()
        parts = self._log.positions(db, {topic for topic, _ in offsets})
        self._add_holdings(db, crew, (parts[at] for at in offsets))
        db.executemany(
            "UPDATE holding SET committed = ? WHERE crew = ? AND part = ?",
            [(offset, crew, parts[at]) for at, offset in offsets.items()],
        )

    def bells(self, db: sqlite3.Connection, parts: Iterable[int]) -> set[str]:
        """Return the bells of those who hold partitions, in whatever group."""
        statement = "SELECT bell FROM holding JOIN member ON member.id = member WHERE part = ?"
        return {bell for part in parts for (bell,) in db.execute(statement, (part,))}

    def _add_holdings(self, db: sqlite3.Connection, crew: int, parts: Iterable[int]) -> None:
        db.executemany(
            "INSERT INTO holding (crew, part) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(crew, part) for part in parts],
        )

    def _forget(self, db: sqlite3.Connection, members: Iterable[int]) -> int:
        found = 0
        for member in list(members):
            db.execute("DELETE FROM subscription WHERE member = ?", (member,))
            found += db.execute("DELETE FROM member WHERE id = ?", (member,)).rowcount
        return found

    def _share(self, db: sqlite3.Connection, crew: int) -> set[str]:
        """Give each partition the owner that it must have by now; return the bells of all members."""
        rows = db.execute("SELECT id, exclusive, bell FROM member WHERE crew = ?", (crew,)).fetchall()
        reads: dict[int, set[str]] = {member: set() for member, _, _ in rows}
        for member, name in db.execute(
            "SELECT member.id, topic.name FROM member JOIN subscription ON member = member.id"
            " JOIN topic ON topic.id = topic WHERE crew = ?",
            (crew,),
        ):
            reads[member].add(name)
        places = db.execute(
            "SELECT name, number, part.id, member FROM holding JOIN part ON part.id = part"
            " JOIN topic ON topic.id = topic WHERE crew = ?",
            (crew,),
        ).fetchall()
        held = {(name, number): member for name, number, _, member in places if member is not None}
        wanted = owners(
            [
                Subscriber(number=member, topics=frozenset(reads[member]), exclusive=bool(exclusive))
                for member, exclusive, _ in rows
            ],
            [(name, number) for name, number, _, _ in places],
            held,
        )
        db.executemany(
            "UPDATE holding SET member = ?, epoch = epoch + 1 WHERE crew = ? AND part = ?",
            [
                (wanted.get((name, number)), crew, part)
                for name, number, part, member in places
                if wanted.get((name, number)) != member
            ],
        )
        db.execute("UPDATE crew SET generation = generation + 1 WHERE id = ?", (crew,))
        return {bell for _, _, bell in rows}
