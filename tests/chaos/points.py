"""Points at which a process is killed: before or after a function of the machinery, at its Nth call."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Point:
    """A function that a service passes on its way, as ``module:name``.

    Attributes
    ----------
    function : str
        Where.
    when : str
        ``before`` or ``after`` it.
    child : bool
        Whether the child passes it; else the parent does.
    inside : str
        Only calls while this function is on its way count.
    about : str
        Only calls with this in their arguments count.
    """

    function: str
    when: str
    child: bool = False
    inside: str = ""
    about: str = ""


IN_CHILD: Mapping[str, Point] = {
    "marking": Point("streams.disk:Seal.put", "before", child=True, about="/attempts/"),
    "marked": Point("streams.marks:begin", "after", child=True),
    "half written": Point("tests.chaos.stages:half_way", "after", child=True),
    "written": Point("streams.manifest_files:StoreLedger.finish", "before", child=True),
    "manifest half put": Point("os:link", "before", child=True, about="manifest.json"),
    "manifest linked": Point("os:link", "after", child=True, about="manifest.json"),
    "manifest put": Point("streams.manifest_files:StoreLedger.finish", "after", child=True),
    "marks forgotten": Point("streams.service.attempts:ServiceLedger.finish", "after", child=True),
}
IN_PARENT: Mapping[str, Point] = {
    "given": Point("streams.service.slot:Slot.give", "after"),
    "answered": Point("streams.service.outcomes:Outcomes.finished", "after"),
}
IN_ASSOCIATOR: Mapping[str, Point] = {
    "association put": Point("streams.associator.telling:put_association", "after"),
}


@dataclass(frozen=True, kw_only=True)
class Blow:
    """What happens to whom, where and when.

    Attributes
    ----------
    point : str
        Name of a point.
    whom : str
        ``parent``, ``child``, or ``stop`` for both, which is SIGSTOP and not the end.
    folder : Path
        Where it is noted that it has fallen.
    nth : int
        At which call, counted in each process from 1.
    times : int
        How often at most, over all processes.
    """

    point: str
    whom: str
    folder: Path
    nth: int = 1
    times: int = 1

    @property
    def fallen(self) -> int:
        """Return how often it has fallen."""
        return len(list(self.folder.glob("blow-*")))

    def fall(self, in_child: bool) -> None:
        """Strike, unless it has fallen often enough."""
        for number in range(self.times):
            try:
                os.close(os.open(self.folder / f"blow-{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            _strike(self.whom, in_child)
            return


def _strike(whom: str, in_child: bool) -> None:
    if whom == "stop":
        if in_child:
            os.kill(os.getppid(), signal.SIGSTOP)
        # Sent to the process it would be for the main thread to take, while this one goes on.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    elif in_child == (whom == "child"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif in_child:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)  # the kernel ends it with its parent
    else:
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def arm(blow: Blow, point: Point) -> None:
    """Let a blow fall in this process, or in one that it forks, when the point is passed."""
    inside = threading.Event()  # seen by all threads: a transaction has one of its own
    if point.inside:
        _replace(point.inside, functools.partial(_marked, inside))
    _replace(point.function, functools.partial(_deadly, inside, blow, point))


def _marked(inside: threading.Event, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **keywords: Any) -> Any:
        inside.set()
        try:
            return original(*args, **keywords)
        finally:
            inside.clear()

    return wrapper


def _deadly(
    inside: threading.Event, blow: Blow, point: Point, original: Callable[..., Any]
) -> Callable[..., Any]:
    passed, parent = 0, os.getpid()

    def passes() -> None:
        nonlocal passed
        if point.child != (os.getpid() != parent):
            return
        passed += 1
        if passed == blow.nth:
            blow.fall(point.child)

    @functools.wraps(original)
    def wrapper(*args: Any, **keywords: Any) -> Any:
        meant = point.about in str(args) and (not point.inside or inside.is_set())
        if meant and point.when == "before":
            passes()
        result = original(*args, **keywords)
        if meant and point.when == "after" and result != []:  # a poll that brings nothing is none
            passes()
        return result

    return wrapper


def _replace(name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, _, path = name.partition(":")
    *owners, last = path.split(".")
    owner = functools.reduce(getattr, owners, import_module(module))
    setattr(owner, last, change(getattr(owner, last)))
