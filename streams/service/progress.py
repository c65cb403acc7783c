"""What a child is at, in memory that it shares with its parent: to be seen when it is gone, too."""

from __future__ import annotations

import time
from multiprocessing import get_context
from typing import Any


class Progress:
    """Which task a child has taken last, and since when it prepares or computes.

    The child writes and the parent reads; each cell is written as a whole.
    """

    def __init__(self) -> None:
        self._cells: Any = get_context("spawn").RawArray("d", 2)

    @property
    def number(self) -> int:
        """Return the number of the task that was taken last; 0 before the first."""
        return int(self._cells[0])

    def clear(self) -> None:
        """Begin anew, with another child."""
        self._cells[:] = [0.0, 0.0]

    def taken(self, number: int) -> None:
        """Note that a task is taken, and what it needs is being fetched."""
        self._cells[0] = number
        self._cells[1] = time.monotonic()

    def begun(self) -> None:
        """Note that what it needs is at hand and its attempt is marked: it computes."""
        self._cells[1] = -time.monotonic()  # one cell for both: the sign tells what it is the beginning of

    def done(self) -> None:
        """Note that it is computed."""
        self._cells[1] = 0.0

    def overran(self, preparing: float, deadline: float) -> bool:
        """Tell whether a task has prepared or computed for longer than so many seconds."""
        since, now = float(self._cells[1]), time.monotonic()
        return now - since > preparing if since > 0 else since < 0 and now + since > deadline
