"""A child process and what it is at: started, given tasks, killed at its deadline, replaced.

It computes one task at a time. While short ones follow each other it is given the next one ahead, so that it
need not wait until the parent has dealt with its answer.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from streams.service.child import ChildOptions, main
from streams.service.messages import Answer, Begun, Ready, Task
from streams.service.window import Entry

STARTING: Final = 600.0
"""Seconds that a child may take until it is ready."""
BRISK: Final = 0.5
"""Seconds; a child that took less for its last task may have the next one ahead of time."""


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
        self.entry: Entry | None = None
        self.ahead: Entry | None = None
        self.ready = False
        self.memory = 0
        self._tasks = 0
        self._due = 0.0
        self._since = 0.0
        self._brisk = False

    @property
    def pid(self) -> int | None:
        """Return the child's process id."""
        return self._process.pid if self._process else None

    @property
    def free(self) -> bool:
        """Tell whether it can take a task now."""
        return self.ready and self.entry is None

    @property
    def brisk(self) -> bool:
        """Tell whether it can take a task ahead: the one that it is at will not take long."""
        taken = self._tasks + 1
        return (
            self.ready
            and self.entry is not None
            and self.ahead is None
            and self._brisk
            and taken < self._limits.tasks
            and self.memory < self._limits.memory
        )

    def start(self) -> None:
        """Start a child; it says when it is ready."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, self._options), daemon=True)
        self._process.start()
        theirs.close()
        self.pipe, self.ready, self._tasks, self.memory = ours, False, 0, 0
        self._brisk = False
        self._due = time.monotonic() + STARTING

    def give(self, entry: Entry, task: Task) -> None:
        """Give the child a task, behind the one that it is at.

        Raises
        ------
        Died
            If it is gone.
        """
        assert self.pipe is not None
        if self.entry is not None:
            self.ahead = entry
            with contextlib.suppress(
                OSError
            ):  # it is gone, and may have answered: who takes answers finds out
                self.pipe.send(task)
            return
        self._begin(entry)
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
            while self.pipe.poll():
                said = self.pipe.recv()
                if isinstance(said, Answer):
                    return self._answered(said)
                self._heard(said)
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if (self.entry is not None or not self.ready) and time.monotonic() > self._due:
            raise self._overran()
        return None

    def worn(self) -> bool:
        """Tell whether the child is to be replaced before its next task, and is at none."""
        return self.entry is None and (
            self._tasks >= self._limits.tasks or self.memory >= self._limits.memory
        )

    def stop(self, grace: float = 5.0) -> None:
        """End the child: let go of its pipe, and kill it if it does not end by itself."""
        if self.pipe is not None:
            self.pipe.close()
        if self._process is not None:
            self._process.join(grace if self.entry is None else 0)
            self.kill()

    def hand_back(self) -> tuple[Entry | None, Entry | None]:
        """Return what the child was at, and what it had not begun; neither is its any more."""
        both = self.entry, self.ahead
        self.entry, self.ahead = None, None
        return both

    def kill(self) -> None:
        """End the child at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self.pipe is not None:
            self.pipe.close()
        self._process, self.pipe, self.ready = None, None, False

    def _heard(self, said: Any) -> None:
        if isinstance(said, Ready):
            self.ready = True
        elif isinstance(said, Begun):
            self._due = time.monotonic() + self._limits.deadline

    def _answered(self, answer: Answer) -> tuple[Entry, Answer]:
        done, following = self.entry, self.ahead
        assert done is not None
        self._tasks += 1
        self._brisk = time.monotonic() - self._since < BRISK
        self.memory, self.entry, self.ahead = answer.memory, None, None
        if following is not None:
            self._begin(following)
        return done, answer

    def _begin(self, entry: Entry) -> None:
        self.entry, self._since = entry, time.monotonic()
        self._due = self._since + self._limits.preparing

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
