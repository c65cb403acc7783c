"""The least that a durable loop can do: what the services' loop is measured against.

Events lie in SQLite (WAL, ``synchronous=FULL``), 64 share a transaction with the offset; one spawned child is
asked over a pipe. It writes a product of a kilobyte and a manifest, flushes both to the disk, puts them by a
hard link, and flushes their folder. Nothing is validated, looked up, marked or counted.
"""

import json
import os
import sqlite3
import time
from multiprocessing import get_context

BATCH = 64
SIZE = 1024


class BareLoop:
    """The loop and its child.

    Parameters
    ----------
    folder : Path
        For the database and the products.
    """

    def __init__(self, folder):
        self._folder = folder
        folder.mkdir(parents=True)
        self._db = sqlite3.connect(folder / "bus.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE source (n INTEGER PRIMARY KEY, value BLOB)")
        self._db.execute("CREATE TABLE target (n INTEGER PRIMARY KEY, value BLOB)")
        self._db.execute("CREATE TABLE done (n INTEGER)")
        self._db.execute("INSERT INTO done VALUES (0)")
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=compute, args=(theirs, str(folder)), daemon=True)
        self._child.start()
        theirs.close()

    def through(self, names):
        """Take exposures of these names through; return the seconds that it takes."""
        events = [(json.dumps({"name": name}).encode(),) for name in names]
        with self._transaction():
            self._db.executemany("INSERT INTO source (value) VALUES (?)", events)
        began = time.perf_counter()
        while rows := self._db.execute(
            "SELECT n, value FROM source WHERE n > (SELECT n FROM done) ORDER BY n LIMIT ?", (BATCH,)
        ).fetchall():
            outputs = []
            for _, value in rows:
                self._pipe.send(value)
                outputs.append((self._pipe.recv(),))
            with self._transaction():
                self._db.executemany("INSERT INTO target (value) VALUES (?)", outputs)
                self._db.execute("UPDATE done SET n = ?", (rows[-1][0],))
        return time.perf_counter() - began

    def close(self):
        """End the child."""
        self._pipe.close()
        self._child.join()
        self._db.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _transaction(self):
        self._db.execute("BEGIN IMMEDIATE")
        return self._db  # its block commits


def compute(pipe, folder):
    """Serve in the child."""
    while True:
        try:
            event = json.loads(pipe.recv())
        except EOFError:
            return
        name = event["name"]
        place = os.path.join(folder, "runs", name)
        os.makedirs(place)
        product, manifest = os.path.join(place, "product"), os.path.join(place, "manifest.json")
        put(product, (name.encode() * SIZE)[:SIZE])
        put(manifest, json.dumps({"products": [product], "event": event}).encode())
        flush(place)
        pipe.send(json.dumps({**event, "product": product, "manifest": manifest}).encode())


def put(path, content):
    """Write a file, flush it to the disk, and put it by a hard link."""
    with open(f"{path}.tmp", "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.link(f"{path}.tmp", path)
    os.unlink(f"{path}.tmp")


def flush(folder):
    """Flush a folder to the disk."""
    number = os.open(folder, os.O_RDONLY)
    os.fsync(number)
    os.close(number)
