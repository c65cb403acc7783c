"""Processes of `calstream serve`, begun quickly: forked off a server that has imported everything.

What runs is the command itself; only its stages are others, and its children are forked as well. Blows are
armed before it begins.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path

import streams.cli.serve
import streams.warm
from streams.cli import application
from streams.cli.termination import TERMINATED
from streams.recipes import fingerprint
from streams.service import slot, table
from streams.site import Address
from tests.chaos import stages
from tests.chaos.buses import FACTORIES
from tests.chaos.points import IN_ASSOCIATOR, IN_CHILD, IN_PARENT, Blow, Point, arm

for _late in (
    "crds.client", "crds.core.heavy_client", "processors.registry", "psutil", "streams.bus.embedded",
    "streams.execution", "streams.references", "streams.service.serving", "streams.stages.table",
):  # fmt: skip
    import_module(_late)  # services and their children would import it when they first need it
fingerprint()

PATIENT = 240.0
"""Seconds within which anything that happens at all has happened."""

STOPPED = (0, TERMINATED, -signal.SIGTERM)
"""Exit codes of what was stopped: at work, while it began, and before it could know."""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """How a process begins.

    Attributes
    ----------
    arguments : tuple of str
        Of the command.
    log : str
        File for what it prints.
    bus : str
        Kind of bus.
    environ : mapping of str to str
        More variables.
    blow : Blow, optional
        What happens to it.
    lease : float, optional
        Another one than the bus has by itself, seconds.
    clock : float
        By how much its clock is wrong, seconds.
    """

    arguments: tuple[str, ...]
    log: str
    bus: str
    environ: Mapping[str, str]
    blow: Blow | None = None
    lease: float | None = None
    clock: float = 0.0


def point_named(name: str, bus: str) -> Point:
    """Return a point by its name."""
    return {**IN_CHILD, **IN_PARENT, **IN_ASSOCIATOR, **FACTORIES[bus].points}[name]


class _Forking:
    """Starts children as the context `spawn` does, without a new interpreter."""

    Pipe = staticmethod(multiprocessing.Pipe)

    @staticmethod
    def Process(target, args, daemon):
        context = multiprocessing.get_context("fork")
        return context.Process(target=_only_child, args=(target, *args), daemon=daemon)


def _only_child(target, pipe, *rest):
    """Let go of what a spawned process would not have, above all its own pipe's other end."""
    os.closerange(3, pipe.fileno())
    os.closerange(pipe.fileno() + 1, 1024)
    target(pipe, *rest)


def enter(begin: Begin) -> None:
    """Be the command."""
    output = os.open(begin.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(begin.environ)
    table.STAGES.update(stages.TABLE)
    slot.get_context = lambda method: _Forking
    streams.cli.serve._compile_kernels = lambda going_on: None
    streams.warm.warm = lambda: None
    if begin.lease is not None:
        FACTORIES[begin.bus].shorten(begin.lease)
    if begin.clock:
        set_clock(begin.clock)
    if begin.blow is not None:
        arm(begin.blow, point_named(begin.blow.point, begin.bus))
    code = application.start(begin.arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def set_clock(by: float) -> None:
    """Let the clock of this process be wrong."""
    seconds, nanoseconds = time.time, time.time_ns
    time.time = lambda: seconds() + by
    time.time_ns = lambda: nanoseconds() + int(by * 1e9)


@dataclass
class Worker:
    """A command that is kept running."""

    begin: Begin
    process: BaseProcess
    again: bool = True
    bound: int = 5
    ends: list[int] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.running:
                os.kill(self.process.pid, number)

    def said(self) -> str:
        return Path(self.begin.log).read_text()


class Crew:
    """Processes at one site; what is killed is started anew, as the supervisor does."""

    def __init__(self, where: Address, folder: Path, bus: str, environ: Mapping[str, str]) -> None:
        self.workers: list[Worker] = []
        self._folder = folder
        self._bus = bus
        self.environ = {**environ, **where.environment(), "CALSTREAM_TEST_NOTES": str(folder)}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])

    def start(self, *services: str, options=(), named=True, **how) -> Worker:
        """Start ``calstream serve`` with services; `how` as in :class:`Begin`."""
        name = f"{'-'.join(services)}-{len(self.workers)}"
        begin = Begin(
            arguments=("serve", *services, "--free=0", "--grace=60", *options),
            log=str(self._folder / f"{name}.log"),
            bus=self._bus,
            environ=self.environ | (FACTORIES[self._bus].naming(name) if named else {}),
            **how,
        )
        worker = Worker(begin, self._begun(begin))
        self.workers.append(worker)
        return worker

    def _begun(self, begin: Begin) -> BaseProcess:
        process = self._context.Process(target=enter, args=(begin,))
        process.start()
        return process

    def mend(self) -> None:
        """Start anew what has ended."""
        for worker in self.workers:
            if worker.again and not worker.running:
                worker.ends.append(worker.process.exitcode)
                if len(worker.ends) > worker.bound:
                    raise AssertionError(f"it ends again and again\n{self.said()}")
                worker.process = self._begun(worker.begin)

    def until(self, condition, patience: float = PATIENT):
        """Keep everything running until a condition holds; its value."""
        end = time.monotonic() + patience
        while not (value := condition()):
            self.mend()
            if time.monotonic() > end:
                raise AssertionError(f"it did not happen\n{self.said()}")
            time.sleep(0.01)
        return value

    def said(self) -> str:
        """Return the last that each has printed."""
        return "\n".join(
            f"{worker.begin.log}: ended {worker.ends}\n{worker.said()[-2000:]}" for worker in self.workers
        )

    def kill(self, worker: Worker) -> None:
        """End one for good, at once."""
        worker.again = False
        worker.signal(signal.SIGKILL)
        worker.process.join(PATIENT)

    def stop(self) -> None:
        """Stop all as an operator does; how one ended that did not end well is among its ends."""
        for worker in self.workers:
            worker.signal(signal.SIGTERM)
        for worker in self.workers:
            worker.process.join(PATIENT)
            if worker.again and worker.process.exitcode not in STOPPED:
                worker.ends.append(worker.process.exitcode)
            worker.again = False

    def abandon(self) -> None:
        """Kill all of them, for good."""
        for worker in self.workers:
            if worker.again and not worker.running:
                worker.ends.append(worker.process.exitcode)
            self.kill(worker)
