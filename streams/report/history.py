"""What happened to the products of a page, and when: as a run's record or a pipeline's bus tells it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from schemas.errors import CalstreamError, Unprocessable
from schemas.events import AssociationEvent, Event, FailureEvent, ProductEvent, parse_event
from schemas.manifests import Manifest
from schemas.naming import LEVELS
from streams.bus import Bus, Message
from streams.run.record import RunRecord
from streams.site import Site
from streams.topics import ASSOCIATION, FAILURES

_PLACES: Final = (*LEVELS[:-1], ASSOCIATION, LEVELS[-1], FAILURES)
_NOBODY: Final = "00000"
"""The program of what could not be read."""
_AGAIN: Final = "{} published again by a replay"
_JITTER: Final = 0.05
"""Seconds by which a run may seem to begin before what it was made from was published."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One stage's work on one product.

    Attributes
    ----------
    stage, name : str
        Which.
    outcome : str
        ``complete``, ``up to date``, ``refused`` or ``failed``.
    sentence : str
        Of a failure.
    waited : float
        Seconds from when its input was there to its begin; 0 where nobody waits.
    began, ended : float
        Seconds since 1970.
    """

    stage: str
    name: str
    outcome: str
    sentence: str = ""
    waited: float = 0.0
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What takes no time.

    Attributes
    ----------
    kind : str
        ``arrived``, ``associated``, ``hit`` (had been computed before), ``replayed`` or ``published``.
    name : str
        Whose.
    sentence : str
        What happened.
    time : float
        Seconds since 1970.
    """

    kind: str
    name: str
    sentence: str
    time: float


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened.

    Attributes
    ----------
    origin : str
        ``run`` for a run's record, ``bus`` for a pipeline's events.
    recipe : str
        Names of the recipes.
    began, ended : float
        Of all, seconds since 1970.
    works : sequence of Work
        In the order in which they ended.
    moments : sequence of Moment
        In order.
    """

    origin: str
    recipe: str
    began: float
    ended: float
    works: Sequence[Work]
    moments: Sequence[Moment] = ()

    @property
    def seconds(self) -> float:
        """Return how long it took from begin to end."""
        return self.ended - self.began


def of_record(record: RunRecord) -> History:
    """Return what a run's record tells."""
    return History(
        origin="run",
        recipe=record.recipe,
        began=record.began,
        ended=record.ended,
        works=[
            Work(
                stage=work.stage,
                name=work.name,
                outcome=work.outcome,
                sentence=work.sentence,
                began=work.began,
                ended=work.ended,
            )
            for work in record.stages
            if work.ended > 0
        ],
    )


def of_bus(site: Site, names: Collection[str], line: str, since: float = float("-inf")) -> History | None:
    """Return what a pipeline's events tell of some products and of all others of their programs, if anything.

    Parameters
    ----------
    site : Site
        Bus, and the store with the manifests, which say when a run began.
    names : collection of str
        Exposures and combined products.
    line : str
        Of this line only.
    since : float, optional
        What was published before, seconds since 1970, is left out.
    """
    found = [(message.timestamp, event) for message, event in _events(site.bus, since) if event.line == line]
    programs = {event.program for _, event in found if event.name in names}
    if not programs:
        return None
    tale = _Tale(site)
    lost = [one for one in found if isinstance(one[1], FailureEvent) and one[1].program == _NOBODY]
    told = [one for one in found if one[1].program in programs]
    times = [time for time, _ in told]
    first, last = min(times), max(times)
    told += [one for one in lost if one[1].program not in programs and first <= one[0] <= last]
    for time, event in sorted(told, key=lambda one: one[0]):
        tale.add(time, event)
    return tale.history(sorted({event.recipe.name for _, event in told}))


def _events(bus: Bus, since: float) -> Iterable[tuple[Message, Event]]:
    there = set(bus.topics())
    for topic in _PLACES:
        for message in bus.read(topic, since) if topic in there else ():
            try:
                yield message, parse_event(message.value)
            except Unprocessable:  # it lies in the dead letters, too
                continue


@dataclass
class _Tale:
    """Puts events, in order of time, together with the runs that their manifests tell of."""

    site: Site
    works: list[Work] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    runs: set[str] = field(default_factory=set)
    there: dict[tuple[str, str], float] = field(default_factory=dict)  # when an exposure's last event came
    associations: dict[str, float] = field(default_factory=dict)

    def add(self, time: float, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, ProductEvent):
            self._product(time, event)
            self.there[event.name, event.generation] = time
        elif isinstance(event, AssociationEvent):
            self.associations[event.association.sha256] = time
            count = f"{event.members} member{'' if event.members == 1 else 's'}"
            self._note("associated", time, event, f"associated: {count}, {event.completeness}")
        elif isinstance(event, FailureEvent):
            work = Work(
                stage=event.stage, name=event.name, outcome="failed", sentence=event.message,
                began=time, ended=time,
            )  # fmt: skip
            self.works.append(work)

    def history(self, recipes: Sequence[str]) -> History:
        """Return the whole."""
        times = [work.began - work.waited for work in self.works] + [one.time for one in self.moments]
        ends = [work.ended for work in self.works] + [one.time for one in self.moments]
        return History(
            origin="bus",
            recipe=", ".join(recipes),
            began=min(times),
            ended=max(ends),
            works=self.works,
            moments=self.moments,
        )

    def _product(self, time: float, event: ProductEvent) -> None:
        if not event.stage:
            kind = "replayed" if event.campaign else "arrived"
            self._note(kind, time, event, "arrived" if kind == "arrived" else _AGAIN.format(event.topic))
            return
        input_there = self._input(event)
        span = None if event.run_key in self.runs else _span(event, self.site)
        self.runs.add(event.run_key)
        if input_there is None and event.campaign:
            self._note("replayed", time, event, _AGAIN.format(event.topic))
        elif event.outcome == "complete" and span and (input_there or 0.0) <= span[0] + _JITTER:
            waited = 0.0 if input_there is None else max(0.0, span[0] - input_there)
            work = Work(
                stage=event.stage, name=event.name, outcome="complete",
                waited=waited, began=span[0], ended=span[1],
            )  # fmt: skip
            self.works.append(work)
        elif event.outcome == "cached":
            self._note("hit", time, event, f"{event.stage}: had been computed before")
        else:  # nothing tells when it was computed
            self._note("published", time, event, f"{event.topic} was published")

    def _input(self, event: ProductEvent) -> float | None:
        if event.association is not None:
            return self.associations.get(event.association.sha256)
        return self.there.get((event.name, event.generation))

    def _note(self, kind: str, time: float, event: Event, sentence: str) -> None:
        self.moments.append(Moment(kind=kind, name=event.name, sentence=sentence, time=time))


def _span(event: ProductEvent, site: Site) -> tuple[float, float] | None:
    """Return when a run began and ended, or None where its manifest does not tell."""
    if event.manifest is None:
        return None
    try:
        with site.store.fetch(event.manifest) as path:
            timing = Manifest.model_validate(json.loads(path.read_bytes())).timing
    except (CalstreamError, ValidationError, ValueError):  # pruned, or of a service of the user's own
        return None
    return _times(timing)


def _times(timing: Mapping[str, object]) -> tuple[float, float] | None:
    try:
        began = datetime.fromisoformat(str(timing["started"])).timestamp()
        return began, began + float(str(timing["seconds"]))
    except (KeyError, ValueError):
        return None
