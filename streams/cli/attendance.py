"""What `calstream up` shows: the pipeline on a terminal, elsewhere a line for each event; then a summary."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from schemas.errors import CalstreamError
from schemas.events import AssociationEvent, Event, FailureEvent, PlanEvent, ProductEvent, parse_event
from schemas.naming import LEVELS
from streams.cli.units import clock, counted, plain, span
from streams.topics import ASSOCIATION, FAILURES, PLAN

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from streams.bus import Message, Position
    from streams.overview import Overview
    from streams.site import Site
    from streams.supervisor import Supervisor

_ORDER: Final = (PLAN, *LEVELS[:-1], ASSOCIATION, LEVELS[-1], FAILURES)
_OVERLAP: Final = 5.0
"""Seconds that are read again at each look: a transaction's messages are older than its end."""
_LASTING: Final = 5.0
"""Seconds after which it is told what a service waits for."""
_KEY: Final = 128
"""Characters of a key that are shown."""
_NAMED: Final = 5
"""So many failures are named at the end."""


class Shown:
    """A line for each event on standard output; what went wrong on standard error.

    Parameters
    ----------
    site : Site
        Bus and store.
    folder : Path
        Where logs are.
    """

    def __init__(self, site: Site, folder: Path) -> None:
        from streams.cli.top import Watch

        self._site = site
        self._folder = folder
        self._watch = Watch(site.bus)
        self._began = time.time()
        self._since = self._began
        self._failure = ""
        self._waits: dict[str, float] = {}
        self._told: set[tuple[str, int, int]] = set()
        self._ends: dict[str, Mapping[Position, int]] = {}
        self._letters = self._letters_now = self._watch.look().dead_letters

    def look(self, supervisor: Supervisor) -> Overview:
        """Look at the pipeline, show it, and return what was seen of it."""
        seen = self._watch.look()
        try:
            self.draw(supervisor.completed(seen), self._watch.failure)
            failure = self._watch.failure
        except CalstreamError as error:
            failure = str(error)
        if failure and failure != self._failure:
            self.complain(failure)
        self._failure = failure
        self._letters_now = seen.dead_letters
        return seen

    def last(self) -> None:
        """Tell of what came while everything was stopped."""
        self._letters_now = self._watch.look().dead_letters
        self.tell()

    def draw(self, seen: Overview, failure: str) -> None:
        """Show the pipeline: tell of every event that is new, and of what services wait for."""
        self.tell()
        waiting = {one.record.sentence for one in seen.services if one.live} - {""}
        self._waits = {sentence: self._waits.get(sentence, seen.time) for sentence in waiting}
        for sentence, since in self._waits.items():
            if seen.time - since >= _LASTING:
                self.complain(sentence)
                self._waits[sentence] = inf

    def tell(self) -> None:
        """Tell of every event that is new, in order of time."""
        begin = max(self._since - _OVERLAP, self._began)
        self._since = max(self._since, time.time())
        new: list[Message] = []
        seen: set[tuple[str, int, int]] = set()
        for topic in _ORDER:
            ends = self._site.bus.offsets_at(topic, float("inf"))
            if self._ends.get(topic) == ends:
                seen.update(place for place in self._told if place[0] == topic)
                continue
            self._ends[topic] = ends
            for message in self._site.bus.read(topic, begin):
                place = (topic, message.partition, message.offset)
                seen.add(place)
                if place not in self._told:
                    new.append(message)
        self._told = seen  # what is older is never read again
        for message in sorted(new, key=lambda one: (one.timestamp, _ORDER.index(one.topic))):
            print(line_of(message), flush=True)

    def complain(self, sentence: str) -> None:
        """Tell of what is wrong, or to be known."""
        print(f"calstream: {sentence}", file=sys.stderr, flush=True)

    def failed(self, supervisor: Supervisor, began: float) -> bool:
        """Tell whether anything has gone wrong since a time."""
        failures = any(True for _ in self._site.bus.read(FAILURES, began))
        return failures or self._letters_now > self._letters or bool(supervisor.failed())

    def summary(self, supervisor: Supervisor, began: float, env: Path | None) -> None:
        """Tell what came in and out since a time, what failed, where all is, and what to type next."""
        counts: Counter[str] = Counter()
        failures: list[FailureEvent] = []
        for topic in _ORDER:
            for message in self._site.bus.read(topic, began):
                event = _event(message)
                counts[topic] += isinstance(event, ProductEvent)
                failures += [event] if isinstance(event, FailureEvent) else []
        for failure in failures[:_NAMED]:
            self.complain(_failure(failure))
        if len(failures) > _NAMED:
            self.complain(f"and {len(failures) - _NAMED} more failures; `calstream dlq list` names them")
        told = " ".join(failure.message for failure in failures)
        for one in supervisor.failed():
            for sentence in supervisor.complaints(one):
                if sentence not in told:
                    self.complain(f"{one.name}: {sentence}")
        made = ", ".join(f"{counts[level]} {level}" for level in LEVELS[1:] if counts[level]) or "nothing"
        wrong = counted(len(failures), "failure") if failures else "no failures"
        took = span(time.time() - began)
        self._say(f"{counted(counts[LEVELS[0]], 'exposure')} in; {made} out; {wrong}; in {took}")
        self._say(f"products in {self._site.address.store}")
        for label, line in zip(("next:", "     ", "     "), _next(self._site, env), strict=False):
            self._say(f"{label} {line}")

    def _say(self, sentence: str) -> None:
        print(sentence, flush=True)


class Drawn(Shown):
    """The same, live on a terminal."""

    def __init__(self, site: Site, folder: Path, console: Console, live: Live) -> None:
        super().__init__(site, folder)
        self._console = console
        self._live = live

    def draw(self, seen: Overview, failure: str) -> None:
        """Draw the pipeline as it is now."""
        from streams.cli.picture import picture

        self._live.update(picture(seen, failure=failure), refresh=True)

    def tell(self) -> None:
        """Tell nothing: it is in the picture."""

    def complain(self, sentence: str) -> None:
        """Tell it above the picture."""
        from rich.text import Text

        self._console.print(Text(f"calstream: {sentence}", style="red"))


@contextmanager
def shown(site: Site, folder: Path) -> Iterator[Shown]:
    """Give what fits standard output, after the lines that say where all is.

    Parameters
    ----------
    site : Site
        Bus and store.
    folder : Path
        Where logs are.
    """
    typer.echo(f"bus   {site.address.bus}\nstore {site.address.store}\nlogs  {folder / 'logs'}")
    if not sys.stdout.isatty():
        yield Shown(site, folder)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield Drawn(site, folder, console, live)


def line_of(message: Message) -> str:
    """Return an event as a line of text: when, what, whose, and what came of it."""
    return plain(f"{clock(message.timestamp)}  {message.topic:11}  {_news(message)}")


def _news(message: Message) -> str:
    event = _event(message)
    if event is None:
        return f"{message.key[:_KEY]}: no event; `calstream dlq list` tells more"
    if isinstance(event, FailureEvent):
        return _failure(event)
    if isinstance(event, AssociationEvent):
        return f"{event.name}  {counted(event.members, 'member')}, {event.completeness}"
    if isinstance(event, PlanEvent):
        return f"program {event.program}"
    done = event.outcome if isinstance(event, ProductEvent) and event.stage else "arrived"
    return f"{event.name}  {done}"


def _event(message: Message) -> Event | None:
    try:
        return parse_event(message.value)
    except CalstreamError:
        return None


def _failure(event: FailureEvent) -> str:
    about = "" if event.name in event.message else f"{event.name}: "
    return f"{about}{event.message} ({event.stage})"


def _next(site: Site, env: Path | None) -> list[str]:
    """Return what to type to go on from here, line by line."""
    import os
    import shlex

    from streams.site import address

    commands = "calstream export --out products, calstream status, calstream trace NAME"
    if env is not None:
        path = os.path.relpath(env)  # the shell looks for a bare name in PATH
        return [f". {shlex.quote(path if os.sep in path else f'./{path}')}", commands]
    if address(None, None, create=True) == site.address:  # other commands find it by themselves
        return [commands]
    said = (f"{name}={shlex.quote(value)}" for name, value in site.address.environment().items())
    return [f"export {' '.join(said)}", commands]
