"""What has had its time goes, a little at a time, and the file stays bounded."""

from __future__ import annotations

import contextlib
import random
import time
from typing import Final

from schemas.errors import CalstreamError
from streams.bus.embedded.database import Database

BATCH: Final = 1000
"""Messages that go in one transaction."""

EVERY: Final = 10.0
"""Seconds between two looks of a process, when nothing is left over."""

_FREE_PAGES: Final = 4096  # what is kept for new messages: 16 MB
_GIVEN_BACK: Final = 1024  # pages in one transaction


class Retention:
    """Tidies up now and then, whoever publishes, commits or waits.

    Parameters
    ----------
    database : Database
        What is tidied up.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._due = time.monotonic() + random.uniform(0, EVERY)

    def now_and_then(self) -> None:
        """Take one step if it is time; what keeps it from that is for whoever writes next to tell.

        Its caller has just committed something, and an error would say that it had not.
        """
        if time.monotonic() < self._due:
            return
        left = False
        with contextlib.suppress(CalstreamError):
            left = self.step()
        # several processes look at different moments; with much to do every second transaction is a step
        self._due = time.monotonic() + (0 if left else random.uniform(EVERY / 2, EVERY))

    def step(self) -> bool:
        """Drop up to `BATCH` messages, or give pages back; return whether there is more to do."""
        with self._database.reading() as db:
            due = db.execute("SELECT 1 FROM message WHERE dies <= ? LIMIT 1", (time.time(),)).fetchone()
        return self._drop() if due else self._shrink()

    def _drop(self) -> bool:
        with self._database.writing() as db:
            db.execute(
                "DELETE FROM message WHERE id IN"
                " (SELECT id FROM message WHERE dies <= ? ORDER BY dies LIMIT ?)",
                (time.time(), BATCH),
            )
        return True

    def _shrink(self) -> bool:
        with self._database.reading() as db:
            (free,) = db.execute("PRAGMA freelist_count").fetchone()
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            if free <= max(_FREE_PAGES, pages // 2):
                return False
            # execute() would step once, which gives back one page
            db.executescript(f"PRAGMA incremental_vacuum({_GIVEN_BACK})")
        return True
