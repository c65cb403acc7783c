"""What keeps a whole service from working: a store that is down, a full disk.

Trying every event against it would fill the dead letters. So after such a failure nothing new begins for a
while, then one event is tried; while that fails, the pauses grow.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Final

from streams.store import Store

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds."""


class Hurdle:
    """Open or closed, and why.

    Parameters
    ----------
    clock : callable, optional
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0
        self.sentence = ""

    @property
    def stands(self) -> bool:
        """Tell whether something has failed and nothing has succeeded since."""
        return bool(self.sentence)

    def allows(self, under_way: int) -> bool:
        """Tell whether an event may begin while so many are under way: one at a time to probe."""
        return not self.stands or (self._clock() >= self._until and under_way == 0)

    def met(self, sentence: str) -> float:
        """Note a failure that may pass; return the seconds until the next try."""
        self.sentence = sentence
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 10), LONGEST_PAUSE)
        self._failures += 1
        self._until = self._clock() + pause
        return pause

    def passed(self) -> None:
        """Note a success."""
        self.sentence, self._failures = "", 0


class Space:
    """Watches that the store's disk does not fill up.

    Parameters
    ----------
    store : Store
        One that is on no disk of this machine has space without end.
    fraction : float
        Of the disk that must be free.
    clock : callable, optional
        Monotonic seconds.
    """

    def __init__(self, store: Store, fraction: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = store.root if store.local else None
        self._fraction = fraction
        self._clock = clock
        self._looked = -1e9
        self._sentence = ""

    def lack(self) -> str:
        """Return a sentence when too little is free, else an empty one; it looks every two seconds."""
        if self._root is None or self._clock() - self._looked < 2:
            return self._sentence
        self._looked = self._clock()
        usage = shutil.disk_usage(self._root)
        free = usage.free / usage.total
        self._sentence = (
            f"{self._root}: {free:.1%} of the disk is free, less than {self._fraction:.0%}; free some space "
            "(`calstream prune --superseded`), and work goes on"
            if free < self._fraction
            else ""
        )
        return self._sentence
