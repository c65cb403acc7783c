"""The process that computes: takes tasks from a pipe one by one, and answers.

It ends when its parent does. What it needs of the disk and of CRDS it gets itself; the bus it does not know.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

from schemas.errors import Retriable, Unprocessable
from schemas.events import AssociationEvent, Event, ProductEvent, parse_event
from schemas.recipe import Recipe
from streams.service.messages import Failed, Finished, Ready, Task
from streams.service.progress import Progress

if TYPE_CHECKING:
    from streams.execution import Handled

_PR_SET_PDEATHSIG: Final = 1
_MOMENT: Final = 0.02
"""Seconds within which the child's memory is not looked at again."""


@dataclass(frozen=True, kw_only=True)
class ChildOptions:
    """How a child works.

    Attributes
    ----------
    store : str
        URL of the store.
    stages : tuple of str
        What it may be asked for, as ``module:NAME``.
    step_packages : tuple of str
        Packages that recipes may take steps from.
    warm : bool
        Whether to load the kernels before the first task.
    log_level : int
        The least level of logs that is shown.
    log_format : str
        ``console`` or ``json``.
    """

    store: str
    stages: tuple[str, ...]
    step_packages: tuple[str, ...] = ()
    warm: bool = False
    log_level: int = 30
    log_format: str = "console"


def main(pipe: Connection, progress: Progress, options: ChildOptions) -> None:
    """Serve tasks until the pipe is closed."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from streams.kernel_cache import use_kernel_cache
    from streams.logs import configure
    from streams.service.settling import Settler

    use_kernel_cache()
    configure(options.log_level, "json" if options.log_format == "json" else "console")
    work = Worker(options, progress)
    if options.warm:
        from streams.warm import warm

        warm()
    pipe.send(Ready())
    settler = Settler(work.store, pipe.send)
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        settler.take(work.answer(task), work.unsettled())


class Worker:
    """Does tasks; keeps recipes, references and decoded stages from one to the next.

    Parameters
    ----------
    options : ChildOptions
        How.
    progress : Progress
        Where it notes what it is at.

    Attributes
    ----------
    store : Store
        Where products go.
    """

    def __init__(self, options: ChildOptions, progress: Progress) -> None:
        from streams.planning import Tools
        from streams.recipes import RecipeShelf
        from streams.references import ReferenceLibrary
        from streams.replacements import resolver
        from streams.service.attempts import ServiceLedger
        from streams.store import Store

        self._progress = progress
        self._memory, self._weighed = 0, -math.inf
        self.store = Store(options.store)
        self._recipes = RecipeShelf(self.store)
        self._ledger = ServiceLedger(self.store, progress.begun)
        self._tools = Tools(
            store=self.store,
            library=ReferenceLibrary(),
            ledger=self._ledger,
            recipe=self._recipe,
            resolve=resolver(options.step_packages),
        )
        for reference in options.stages:
            stage_of(reference)

    def answer(self, task: Task) -> Finished | Failed:
        """Do a task; whatever happens becomes an answer, to be given when :meth:`unsettled` is settled."""
        from streams.dispatch import sentence_of

        self._progress.taken(task.number)
        self._ledger.turn_to_next()
        began = time.perf_counter()
        try:
            return self._finished(task, self._process(task), began)
        except Exception as error:
            if isinstance(error, Retriable):
                self._ledger.forgive()
            return Failed(
                number=task.number,
                memory=self._weight(),
                kind=_kind(error),
                error=type(error).__name__,
                sentence=sentence_of(error),
            )
        finally:
            self._progress.done()

    def unsettled(self) -> tuple[str, ...]:
        """Return the files in the store of which the last answer tells and that may not be durable yet."""
        return self._ledger.unsettled()

    def _finished(self, task: Task, handled: Handled, began: float) -> Finished:
        from streams.envelope import pack

        complete = handled.event.outcome == "complete"
        manifest = handled.manifest
        return Finished(
            number=task.number,
            memory=self._weight(),
            output=pack(handled.event, task.traceparent),
            stage=handled.event.stage,
            generation=handled.event.generation,
            outcome=handled.event.outcome,
            seconds=time.perf_counter() - began,
            parts=dict(manifest.timing.get("parts", {})) if complete else {},
            written=sum(entry.artifact.size for entry in manifest.products) if complete else 0,
        )

    def _weight(self) -> int:
        """Return what this process holds in memory, bytes, as it was a moment ago."""
        if (now := time.monotonic()) - self._weighed > _MOMENT:
            self._memory, self._weighed = memory(), now
        return self._memory

    def _recipe(self, event: Event) -> Recipe:
        return self._recipes.runnable(event.recipe.digest)

    def _process(self, task: Task) -> Handled:
        from processors.recipes import merged
        from streams.execution import handle

        event = parse_event(task.value)
        if not isinstance(event, ProductEvent | AssociationEvent):
            raise Unprocessable(f"{event.name}: an event of kind {event.kind!r} cannot be processed")
        context = merged(self._recipe(event)).crds_context
        tools = replace(self._tools, library=self._tools.library.with_context(context))
        return handle(stage_of(task.stage), event, tools)


@cache
def stage_of(reference: str) -> Any:
    """Return the stage at ``module:NAME``."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def _kind(error: Exception) -> str:
    if isinstance(error, Retriable):
        return "retriable"
    return "unprocessable" if isinstance(error, Unprocessable) else "broken"


def memory() -> int:
    """Return what this process holds in memory, bytes."""
    return int(_this_process().memory_info().rss)


@cache
def _this_process() -> Any:
    import psutil

    return psutil.Process()


def _end_with_parent() -> None:
    """Let the kernel end this process when the parent is gone, whatever it computes then."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the kernel was asked
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
