"""Topics of an embedded bus and their messages."""

from __future__ import annotations

import heapq
import json
import sqlite3
import time as clock
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, Final

from schemas.errors import UsageError
from streams.bus.embedded.database import Database
from streams.bus.protocol import PARTITIONS, Message, Outgoing, Position, Topic, partition_of

TOMBSTONES: Final = 24 * 3600.0
"""Seconds for which a compacted topic tells that a key was taken away."""

_PAGE: Final = 100
_COLUMNS: Final = 'id, "offset", key, value, headers, published'

Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A topic as it is in the file.

    Attributes
    ----------
    id : int
        Of its row.
    topic : Topic
        As it was created.
    parts : tuple of int
        Ids of its partitions, by number.
    """

    id: int
    topic: Topic
    parts: tuple[int, ...]


class Log:
    """The topics of one file.

    Parameters
    ----------
    database : Database
        Where they are.
    partitions : int, optional
        Of every topic; when absent as many as the topics have that are there.
    """

    def __init__(self, database: Database, partitions: int | None) -> None:
        self._database = database
        self._asked = partitions
        self._stored: dict[str, Stored] = {}
        self._opened = 0

    def create(self, db: sqlite3.Connection, topics: Iterable[Topic]) -> None:
        """Put topics into the file that are not there, in a transaction."""
        count = self._asked or self._count(db) or PARTITIONS
        for topic in topics:
            if self.look_up(db, topic.name) is not None:
                continue
            self._demand_count(db)
            values = (topic.name, count, topic.compacted, topic.retention, topic.max_bytes)
            db.execute(
                "INSERT INTO topic (name, partitions, compacted, retention, max_bytes)"
                " VALUES (?, ?, ?, ?, ?)",
                values,
            )
            (row,) = db.execute("SELECT id FROM topic WHERE name = ?", (topic.name,)).fetchone()
            for number in range(count):
                db.execute("INSERT INTO part (topic, number) VALUES (?, ?)", (row, number))

    def missing(self, db: sqlite3.Connection, topics: Iterable[Topic]) -> list[Topic]:
        """Return those of the topics that are not there.

        Raises
        ------
        UsageError
            If one is there and is another one.
        """
        absent = []
        for topic in topics:
            stored = self.look_up(db, topic.name)
            if stored is None:
                absent.append(topic)
            elif self._asked not in (None, len(stored.parts)):
                raise UsageError(
                    f"topic {topic.name} has {len(stored.parts)} partitions, for ever, and not "
                    f"{self._asked}; ask for {len(stored.parts)}, or take another folder"
                )
            elif stored.topic.compacted != topic.compacted:
                raise UsageError(
                    f"topic {topic.name} is there already and is "
                    f"{'' if stored.topic.compacted else 'not '}compacted; give the new one another name"
                )
        return absent

    def names(self, db: sqlite3.Connection) -> list[str]:
        """Return the names of all topics."""
        return sorted(name for (name,) in db.execute("SELECT name FROM topic"))

    def demand(self, db: sqlite3.Connection, names: Iterable[str]) -> dict[str, Stored]:
        """Return topics by name.

        Raises
        ------
        UsageError
            If there is none of a name.
        """
        found: dict[str, Stored] = {}
        for name in names:
            if name not in found:
                stored = self.look_up(db, name)
                if stored is None:
                    raise UsageError(f"there is no topic {name!r}; create it first")
                found[name] = stored
        return found

    def positions(self, db: sqlite3.Connection, names: Iterable[str]) -> dict[Position, int]:
        """Return the ids of all partitions of topics."""
        return {
            (name, number): part
            for name, stored in self.demand(db, names).items()
            for number, part in enumerate(stored.parts)
        }

    def ends(self, db: sqlite3.Connection, names: Iterable[str]) -> dict[int, int]:
        """Return the next offset of each partition of topics, by the partition's id."""
        found: dict[int, int] = {}
        for stored in self.demand(db, names).values():
            found.update(db.execute("SELECT id, ends FROM part WHERE topic = ?", (stored.id,)))
        return found

    def append(self, db: sqlite3.Connection, outputs: Sequence[Outgoing]) -> set[int]:
        """Add messages in a transaction; return the ids of the partitions that have new ones.

        Raises
        ------
        UsageError
            If a topic is not there, or a value is too long for it.
        """
        stored = self.demand(db, (output.topic for output in outputs))
        for output in outputs:
            _demand_size(output, stored[output.topic].topic.max_bytes)
        ends = self.ends(db, stored)
        touched: dict[int, int] = {}
        times = {name: _next_time(db, topic) for name, topic in stored.items()}
        for output in outputs:
            there = stored[output.topic]
            part = there.parts[partition_of(output.key, len(there.parts))]
            offset = touched.get(part, ends[part])
            _insert(db, output, there.topic, (part, offset, times[output.topic]))
            touched[part] = offset + 1
        db.executemany(
            "UPDATE part SET ends = ? WHERE id = ?", [(end, part) for part, end in touched.items()]
        )
        return set(touched)

    def rows(self, db: sqlite3.Connection, part: int, start: int, limit: int) -> sqlite3.Cursor:
        """Yield up to `limit` rows of a partition from an offset on, as they are asked for."""
        return db.execute(
            f'SELECT {_COLUMNS} FROM message WHERE part = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?',
            (part, start, limit),
        )

    def fetch(self, db: sqlite3.Connection, part: int, start: int, limit: int) -> list[Row]:
        """Return up to `limit` rows of a partition from an offset on."""
        return self.rows(db, part, start, limit).fetchall()

    def oldest(self, db: sqlite3.Connection, starts: Mapping[int, int], limit: int) -> list[tuple[Row, int]]:
        """Return up to `limit` rows in order of publishing, with their partitions.

        Parameters
        ----------
        starts : mapping of int to int
            The offset to begin with in each partition, by its id.
        """
        walks = [zip(self.rows(db, part, at, limit), repeat(part)) for part, at in starts.items()]
        return list(islice(heapq.merge(*walks), limit))

    def bounds(self, db: sqlite3.Connection, part: int) -> tuple[int, int]:
        """Return the first offset of a partition that is there, and the one behind the last that is."""
        first, last = (
            db.execute(f'SELECT {which}("offset") FROM message WHERE part = ?', (part,)).fetchone()[0]
            for which in ("min", "max")
        )
        if first is None:
            (end,) = db.execute("SELECT ends FROM part WHERE id = ?", (part,)).fetchone()
            return end, end
        return first, last + 1

    def since(self, db: sqlite3.Connection, part: int, time: float) -> int:
        """Return the first offset that was published at or after a time; else the end of the partition."""
        low, high = self.bounds(db, part)
        if time == float("inf"):
            low = high
        while low < high and time != float("-inf"):
            middle = (low + high) // 2
            there = self.fetch(db, part, middle, 1)
            if not there or there[0][5] >= time:
                high = middle
            else:
                low = there[0][1] + 1
        there = self.fetch(db, part, low, 1)
        if there:
            return int(there[0][1])
        return int(db.execute("SELECT ends FROM part WHERE id = ?", (part,)).fetchone()[0])

    def read(self, name: str, time: float) -> Iterator[Message]:
        """Yield the messages of a topic from a time on, in order of their publishing."""
        with self._database.reading() as db:
            stored = self.demand(db, [name])[name]
            ends = self.ends(db, [name])
            starts = [self.since(db, part, time) for part in stored.parts]
        # where a key's last message moves on while it is read, the reading follows until it is caught
        walks = [
            self._walk(part, start, None if stored.topic.compacted else ends[part])
            for part, start in zip(stored.parts, starts, strict=True)
        ]
        at = {part: (name, number) for number, part in enumerate(stored.parts)}
        return (message_of(at[part], row) for row, part in heapq.merge(*walks))

    def look_up(self, db: sqlite3.Connection, name: str) -> Stored | None:
        """Return a topic, or None; what was seen once is remembered, as it never changes."""
        if self._opened != self._database.opened:
            self._stored, self._opened = {}, self._database.opened
        if name not in self._stored:
            found = db.execute(
                "SELECT id, compacted, retention, max_bytes FROM topic WHERE name = ?", (name,)
            ).fetchone()
            if found is None:
                return None
            row, compacted, retention, longest = found
            topic = Topic(name=name, compacted=bool(compacted), retention=retention, max_bytes=longest)
            parts = db.execute("SELECT id FROM part WHERE topic = ? ORDER BY number", (row,))
            known = Stored(id=row, topic=topic, parts=tuple(part for (part,) in parts))
            if db.in_transaction:
                return known  # which may be rolled back
            self._stored[name] = known
        return self._stored[name]

    def _walk(self, part: int, start: int, end: int | None) -> Iterator[tuple[Row, int]]:
        while end is None or start < end:
            with self._database.reading() as db:
                rows = self.fetch(db, part, start, _PAGE if end is None else min(_PAGE, end - start))
            yield from ((row, part) for row in rows if end is None or row[1] < end)
            if not rows:
                return
            start = rows[-1][1] + 1

    def _count(self, db: sqlite3.Connection) -> int | None:
        found = db.execute("SELECT partitions FROM topic ORDER BY id LIMIT 1").fetchone()
        return found[0] if found else None

    def _demand_count(self, db: sqlite3.Connection) -> None:
        count = self._count(db)
        if count is not None and self._asked not in (None, count):
            raise UsageError(
                f"{self._database.path}: its topics have {count} partitions, for ever, and not "
                f"{self._asked}; ask for {count}, or take another folder"
            )


def message_of(position: Position, row: Row, epoch: int = 0) -> Message:
    """Return the message that a row holds."""
    _, offset, key, value, headers, published = row
    return Message(
        topic=position[0],
        key=key,
        value=value,
        headers=json.loads(headers),
        partition=position[1],
        offset=offset,
        timestamp=published,
        epoch=epoch,
    )


def _demand_size(output: Outgoing, bound: int) -> None:
    if len(output.value) > bound:
        raise UsageError(
            f"a message of {len(output.value)} bytes for {output.topic}, which takes {bound}; "
            "send the URI of a file instead"
        )


def _next_time(db: sqlite3.Connection, stored: Stored) -> float:
    """Return the time of the next messages of a topic, which never goes back."""
    (newest,) = db.execute("SELECT newest FROM topic WHERE id = ?", (stored.id,)).fetchone()
    now = max(clock.time(), newest)
    db.execute("UPDATE topic SET newest = ? WHERE id = ?", (now, stored.id))
    return float(now)


def _insert(db: sqlite3.Connection, output: Outgoing, topic: Topic, at: tuple[int, int, float]) -> None:
    part, offset, now = at
    keeps = topic.retention
    if topic.compacted:
        db.execute("DELETE FROM message WHERE part = ? AND key = ? AND compacted = 1", (part, output.key))
        keeps = None if output.value else TOMBSTONES
    dies = None if keeps is None else now + keeps
    headers = json.dumps(dict(output.headers))
    db.execute(
        'INSERT INTO message (part, "offset", key, value, headers, published, dies, compacted)'
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (part, offset, output.key, bytes(output.value), headers, now, dies, topic.compacted),
    )
