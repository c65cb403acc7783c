"""The tables of an embedded bus, as a list of steps from an empty file to the newest version."""

from __future__ import annotations

from typing import Final

_FIRST: Final = (
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # ids count from one again in a new file: a member of the old one must not be taken for one of the new
    "INSERT INTO setting VALUES ('identity', hex(randomblob(16)))",
    """CREATE TABLE topic (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        partitions INTEGER NOT NULL,
        compacted INTEGER NOT NULL,
        retention REAL,
        max_bytes INTEGER NOT NULL,
        newest REAL NOT NULL DEFAULT 0  -- time of its last message: the clock may be set back
    )""",
    """CREATE TABLE part (
        id INTEGER PRIMARY KEY,
        topic INTEGER NOT NULL,
        number INTEGER NOT NULL,
        ends INTEGER NOT NULL DEFAULT 0,  -- the next offset, never used again whatever goes
        UNIQUE (topic, number)
    )""",
    # the id tells the order of publishing over all partitions, so it must never come again
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        part INTEGER NOT NULL,
        "offset" INTEGER NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        headers TEXT NOT NULL,
        published REAL NOT NULL,
        dies REAL,  -- when it may go; never when absent
        compacted INTEGER NOT NULL
    )""",
    'CREATE UNIQUE INDEX message_at ON message (part, "offset")',
    "CREATE INDEX message_dies ON message (dies) WHERE dies IS NOT NULL",
    "CREATE INDEX message_last ON message (part, key) WHERE compacted = 1",
    """CREATE TABLE crew (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        generation INTEGER NOT NULL DEFAULT 0  -- counts changes of members
    )""",
    # times are those of the clock that starts with the machine: nobody sets it back
    """CREATE TABLE member (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        crew INTEGER NOT NULL,
        name TEXT NOT NULL,
        exclusive INTEGER NOT NULL,
        bell TEXT NOT NULL,
        renewed REAL NOT NULL,
        expires REAL NOT NULL,
        boot TEXT NOT NULL,
        namespace TEXT NOT NULL,
        process INTEGER NOT NULL,
        started INTEGER NOT NULL
    )""",
    "CREATE INDEX member_of ON member (crew)",
    """CREATE TABLE subscription (
        member INTEGER NOT NULL,
        topic INTEGER NOT NULL,
        PRIMARY KEY (member, topic)
    ) WITHOUT ROWID""",
    """CREATE TABLE holding (
        crew INTEGER NOT NULL,
        part INTEGER NOT NULL,
        member INTEGER,
        epoch INTEGER NOT NULL DEFAULT 0,  -- counts changes of the member
        committed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (crew, part)
    ) WITHOUT ROWID""",
    "CREATE INDEX holding_of ON holding (part)",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
"""Statements that lead from each version of the file to the next; ``PRAGMA user_version`` counts them."""
