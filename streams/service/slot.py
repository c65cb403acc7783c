"""A child process and what it is at: started, given tasks, killed at its deadline, replaced.

It computes one task at a time. While short ones follow each other it is given some ahead, so that it need
not wait until the parent has dealt with its answers.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from selectors import EVENT_READ, DefaultSelector
from typing import Final

from streams.service.child import ChildOptions, main
from streams.service.messages import Answer, Ready, Task
from streams.service.progress import Progress
from streams.service.window import Entry

STARTING: Final = 600.0
"""Seconds that a child may take until it is ready."""
BRISK: Final = 0.5
"""Seconds; a child that took less for its last task may have others ahead, of about so much in all."""
AHEAD: Final = 16
"""So many tasks ahead at most; short ones go on while the parent waits for the disk."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a child is ended.

    Attributes
    ----------
    deadline : float
        Seconds that a run may compute.
    preparing : float
        Seconds that fetching references and inputs may take before.
    tasks : int
        After so many tasks it is replaced.
    memory : int
        When it holds so many bytes after a task it is replaced.
    """

    deadline: float = 3600.0
    preparing: float = 3600.0
    tasks: int = 5000
    memory: int = 8 * 2**30


class Died(Exception):  # noqa: N818  what happened to the process
    """The child is gone, or was killed; the message says why."""


class Slot:
    """One child, and its successor when it is gone.

    Parameters
    ----------
    options : ChildOptions
        How children work.
    limits : Limits
        When they are ended.
    """

    def __init__(self, options: ChildOptions, limits: Limits) -> None:
        self._options = options
        self._limits = limits
        self._process: BaseProcess | None = None
        self.pipe: Connection | None = None
        self._ear = DefaultSelector()
        self.ready = False
        self.memory = 0
        self._given: deque[tuple[int, Entry]] = deque()
        self._progress = Progress()
        self._tasks = 0
        self._started = 0.0
        self._since = 0.0
        self._took = math.inf

    @property
    def pid(self) -> int | None:
        """Return the child's process id."""
        return self._process.pid if self._process else None

    @property
    def entry(self) -> Entry | None:
        """Return what the next answer will be for."""
        return self._given[0][1] if self._given else None

    @property
    def free(self) -> bool:
        """Tell whether it can take a task now."""
        return self.ready and not self._given

    @property
    def supplied(self) -> bool:
        """Tell whether it has so much ahead that it can do without its parent for a while."""
        return len(self._given) > AHEAD // 2

    @property
    def brisk(self) -> bool:
        """Tell whether it can take one more task ahead: those that it has will not take long."""
        given = len(self._given)
        return (
            self.ready
            and given > 0
            and self._took < BRISK
            and given <= min(AHEAD, BRISK / self._took)
            and self._tasks + given < self._limits.tasks
            and self.memory < self._limits.memory
        )

    def start(self) -> None:
        """Start a child; it says when it is ready."""
        self._progress.clear()
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=main, args=(theirs, self._progress, self._options), daemon=True
        )
        self._process.start()
        theirs.close()
        self._ear.register(ours, EVENT_READ)
        self.pipe, self.ready, self._tasks, self.memory = ours, False, 0, 0
        self._started, self._took = time.monotonic(), math.inf

    def give(self, entry: Entry, task: Task) -> None:
        """Give the child a task, behind those that it has.

        Raises
        ------
        Died
            If it is gone.
        """
        assert self.pipe is not None
        self._given.append((task.number, entry))
        if len(self._given) > 1:
            # where it is gone it may have answered: who takes answers finds out
            with contextlib.suppress(OSError):
                self.pipe.send(task)
            return
        self._since = time.monotonic()
        try:
            self.pipe.send(task)
        except OSError as error:
            raise self._gone() from error

    def take(self) -> tuple[Entry, Answer] | None:
        """Return what a task was given for and its answer, if that is there.

        Raises
        ------
        Died
            If the child is gone or has overrun its deadline, or could not start.
        """
        assert self.pipe is not None
        try:
            while self._ear.select(0):  # its own poll() would make a selector each time
                said = self.pipe.recv()
                if isinstance(said, Answer):
                    return self._answered(said)
                self.ready = self.ready or isinstance(said, Ready)
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if self._overdue():
            raise self._overran()
        return None

    def worn(self) -> bool:
        """Tell whether the child is to be replaced before its next task, and is at none."""
        return self.entry is None and (
            self._tasks >= self._limits.tasks or self.memory >= self._limits.memory
        )

    def stop(self, grace: float = 5.0) -> None:
        """End the child: let go of its pipe, and kill it if it does not end by itself."""
        self._let_go()
        if self._process is not None:
            self._process.join(grace if self.entry is None else 0)
            self.kill()

    def hand_back(self) -> tuple[Entry | None, list[Entry]]:
        """Return what the child took last, if it was not through, and all else that it had; nothing is left.

        The rest it had not begun, or had put and not yet said so.
        """
        at = self._progress.number
        suspect = next((entry for number, entry in self._given if number == at), None)
        rest = [entry for _, entry in self._given if entry is not suspect]
        self._given.clear()
        return suspect, rest

    def kill(self) -> None:
        """End the child at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._let_go()
        self._process, self.ready = None, False

    def _let_go(self) -> None:
        if self.pipe is not None:
            self._ear.unregister(self.pipe)
            self.pipe.close()
            self.pipe = None

    def _answered(self, answer: Answer) -> tuple[Entry, Answer]:
        number, entry = self._given.popleft()
        assert number == answer.number
        now = time.monotonic()
        self._tasks += 1
        self._took, self._since, self.memory = max(now - self._since, 1e-6), now, answer.memory
        return entry, answer

    def _overdue(self) -> bool:
        if not self.ready:
            return time.monotonic() - self._started > STARTING
        if not self._given:
            return False
        limits = self._limits
        # whatever keeps it from answering when it has computed is bounded too
        stuck = time.monotonic() - self._since > limits.preparing + limits.deadline
        return stuck or self._progress.overran(limits.preparing, limits.deadline)

    def _gone(self) -> Died:
        process = self._process
        assert process is not None
        process.join(5)
        code = process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        more = ", perhaps for lack of memory" if code == -9 else ""
        return Died(f"the process that computed it ended ({how}{more})")

    def _overran(self) -> Died:
        self.kill()
        if self.entry is None:
            return Died(f"a child was not ready after {STARTING:g} s")
        return Died(
            f"it computed for longer than {self._limits.deadline:g} s, or waited as long for what it needs; "
            "set a longer --deadline if it needs more"
        )
