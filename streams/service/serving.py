"""Services in this process: each in a thread of its own, with one page of metrics and health for all."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

import structlog
from prometheus_client import CollectorRegistry

from schemas.errors import CalstreamError
from streams.associator.drafts import Patience
from streams.associator.service import AssociatorService
from streams.health import HealthServer
from streams.service.announcing import Announcer
from streams.service.loop import Service
from streams.service.options import ServiceOptions
from streams.service.table import ASSOCIATOR, STAGES, group_of
from streams.site import Site

STUCK: Final = 60.0
"""Seconds after which a loop that has not gone round counts as stuck."""

PREPARING: Final = (
    "kernels are made ready; they are compiled once for a version of the code, in a minute or two"
)

log = structlog.get_logger("calstream")


class Served(Protocol):
    """What runs in a thread."""

    ready: bool
    turned: float

    @property
    def announcer(self) -> Announcer:
        """Return who says what it is at."""

    def run(self) -> None:
        """Work until told to stop."""


class Stopping:
    """How often this process was told to stop, and by which signal at last."""

    def __init__(self) -> None:
        self.times = 0
        self.number = 0

    def __call__(self) -> int:
        """Return 0 to go on, 1 to finish what is in work, 2 to stop at once."""
        return self.times

    def more(self, number: int = 0, *_: Any) -> None:
        """Note another signal."""
        self.times, self.number = self.times + 1, number

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Count SIGTERM and SIGINT in the block."""
        wanted = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.getsignal(number) for number in wanted}
        for number in wanted:
            signal.signal(number, self.more)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    site: Site,
    names: Sequence[str],
    options: ServiceOptions,
    patience: Patience,
    stopping: Stopping,
    *,
    told: Callable[[str], None] = lambda address: None,
    prepare: Callable[[Callable[[], bool]], None] = lambda going_on: None,
) -> None:
    """Run services until told to stop, or until one of them cannot go on: then all stop.

    Parameters
    ----------
    site : Site
        Bus and store.
    names : sequence of str
        Keys of :data:`streams.service.table.STAGES`, or the associator.
    options : ServiceOptions
        For those with stages; name and stages are filled in.
    patience : Patience
        Of the associator.
    stopping : Stopping
        Told of signals.
    told : callable, optional
        Given the address of metrics and health.
    prepare : callable, optional
        Called before services with stages start: compiles kernels. It is given what tells that it may go on,
        to be called several times a second.

    Raises
    ------
    Exception
        What a service could not go on after.
    """
    registry = CollectorRegistry()
    served = [_made(site, name, options, patience, stopping, registry) for name in names]
    health = HealthServer(registry, lambda: _health(served), lambda: _readiness(served), options.metrics_port)
    errors: list[BaseException] = []

    def life(one: Served) -> None:
        try:
            one.run()
        except BaseException as error:
            errors.append(error)
            stopping.more()

    told(health.address)
    for one in served:
        one.announcer.say(metrics=health.address)
    if set(names) - {ASSOCIATOR}:
        prepare(lambda: _wait(served, stopping))
    threads = []
    for one in served:
        one.announcer.say(sentence="")
        threads.append(threading.Thread(target=life, args=(one,), name=one.announcer.record.service))
        threads[-1].start()
    for thread in threads:
        while thread.is_alive():  # a join without end would keep signals waiting
            thread.join(0.5)
    health.close()
    if errors:
        raise errors[0]


def _made(
    site: Site,
    name: str,
    options: ServiceOptions,
    patience: Patience,
    stopping: Stopping,
    registry: CollectorRegistry,
) -> Any:
    if name == ASSOCIATOR:
        return _associator(site)(site, stopping, patience, registry)
    mine = replace(options, name=group_of(name), stages=STAGES[name])
    return Service(site, mine, stopping, registry)


def _wait(served: Sequence[Any], stopping: Stopping) -> bool:
    """Say what services wait for; tell whether they still have to."""
    for one in served:
        one.turned = time.monotonic()
        one.announcer.say(sentence=PREPARING)
    return not stopping()


def _associator(site: Site) -> Any:
    if not site.address.bus.startswith("kafka:"):
        return AssociatorService
    from streams.associator.faust_service import FaustAssociatorService

    return FaustAssociatorService


def _health(served: Sequence[Any]) -> str:
    stuck = [one for one in served if time.monotonic() - one.turned > STUCK]
    if not stuck:
        return ""
    name = stuck[0].announcer.record.service
    return f"{name} has not gone round for {time.monotonic() - stuck[0].turned:.0f} s; look at its log"


def _readiness(served: Sequence[Any]) -> str:
    waiting = [one for one in served if not one.ready]
    return f"{waiting[0].announcer.record.service} starts its children" if waiting else ""


def failure(error: BaseException) -> str:
    """Return why a service ended, as a sentence."""
    return str(error) if isinstance(error, CalstreamError) else f"{type(error).__name__}: {error}"
