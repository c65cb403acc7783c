"""The file of an embedded bus: its schema, transactions, and what can go wrong with it."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.errors import Retriable, Unprocessable, UsageError, explained
from streams.bus.embedded.mounts import refuse_network
from streams.bus.embedded.schema import MIGRATIONS

NAME: Final = "bus.sqlite"

_WAL_PAGES: Final = 2000  # of 4 kB: about every 50th full batch is written back, with one more fsync
_WAL_BYTES: Final = 32 * 1024 * 1024  # what is left of the log of a large transaction
_inherited: list[sqlite3.Connection] = []


class Database:
    """One connection to the file, for all threads of a process; other processes have theirs.

    Parameters
    ----------
    folder : Path
        Of the bus; made when it is not there.
    patience : float
        Seconds to wait for other processes' transactions.

    Attributes
    ----------
    opened : int
        How often it was opened. Whoever remembers something of its content remembers this with it.
    identity : str
        Of the file: another one under the same name has another.
    """

    def __init__(self, folder: Path, patience: float) -> None:
        self.path = folder / NAME
        self.opened = 0
        self.identity = ""
        self._patience = patience
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._inode = 0

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection; each statement sees what is committed by then.

        Raises
        ------
        Retriable
            If the disk is full or another process holds the file.
        Unprocessable
            If it is damaged, or there is no right to it.
        """
        self._notice_fork()
        with self._lock:
            try:
                yield self._connection()
            except sqlite3.Error as error:
                if _primary(error) != sqlite3.SQLITE_BUSY:
                    self.close()  # whatever is wrong with it, the next use looks afresh
                raise self._failure(error) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection in a transaction: what the block does is durable when it ends, or undone.

        Raises
        ------
        Retriable, Unprocessable
            As :meth:`reading`.
        """
        with self.reading() as db:
            try:
                self._begin(db)
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close it; the next use opens it again."""
        self._notice_fork()
        with self._lock:
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.close()
                self._db = None

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            # SQLite forbids a child to use or to close its parent's connection
            if self._db is not None:
                _inherited.append(self._db)
            self._db, self._lock, self._pid = None, threading.RLock(), os.getpid()

    def _connection(self) -> sqlite3.Connection:
        if self._db is not None and self._inode != _inode(self.path):
            self.close()  # somebody took the file away: what is written to it now would be lost
        if self._db is None:
            self._db = self._open()
            self._inode = _inode(self.path)
            self.opened += 1
            (self.identity,) = self._db.execute(
                "SELECT value FROM setting WHERE name = 'identity'"
            ).fetchone()
        return self._db

    def _open(self) -> sqlite3.Connection:
        refuse_network(self.path.parent)
        with explained(self.path.parent, "written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, timeout=self._patience, isolation_level=None, check_same_thread=False)
        try:
            if self._version(db) == 0:
                # of effect in a new file only; where it is not new they would wait for its other users
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                self._insist(db, "PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = OFF")
            db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _version(self, db: sqlite3.Connection) -> int:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise UsageError(
                f"{self.path}: made by a newer calstream (version {version} of the file, this one knows "
                f"{len(MIGRATIONS)}); use that calstream, or another folder"
            )
        return version

    def _migrate(self, db: sqlite3.Connection) -> None:
        if self._version(db) == len(MIGRATIONS):
            return
        self._begin(db)
        try:
            for script in MIGRATIONS[self._version(db) :]:  # another process may have been faster
                for statement in script:
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def _begin(self, db: sqlite3.Connection) -> None:
        # SQLite itself would wait for up to 100 ms between two tries, some forty transactions
        db.execute("PRAGMA busy_timeout = 0")
        try:
            self._insist(db, "BEGIN IMMEDIATE")
        finally:
            db.execute(f"PRAGMA busy_timeout = {int(self._patience * 1000)}")

    def _insist(self, db: sqlite3.Connection, statement: str) -> None:
        deadline = time.monotonic() + self._patience
        pause = 0.0005
        while True:
            try:
                db.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, 0.004)

    def _failure(self, error: sqlite3.Error) -> Exception:
        """Return the sentence that an error of SQLite amounts to, or itself where it is a mistake of ours."""
        code = _primary(error)
        if code == sqlite3.SQLITE_FULL:
            return Retriable(f"{self.path}: the disk is full and nothing was written; free some space there")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
            return Retriable(
                f"{self.path}: another process has held it for {self._patience:g} s; try again, and look for "
                "a process that is stopped"
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return Unprocessable(
                f"{self.path}: it is damaged ({error}); stop all services, put a copy back or move it "
                "and its -wal and -shm away, and ingest again"
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return Unprocessable(
                f"{self.path}: it cannot be written ({error}); give yourself the right to it, or choose "
                "another folder"
            )
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
            return Retriable(
                f"{self.path}: it cannot be written ({error}, {getattr(error, 'sqlite_errorname', '')}); "
                "check the disk, quotas and limits, and try again"
            )
        return error


def _primary(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
