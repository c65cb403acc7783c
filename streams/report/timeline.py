"""The timeline of a page: which stage worked on which product, when, and how long it had waited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from streams.report.history import History, Moment, Work

ROWS: Final = 120
"""More products are not drawn: a page is to be looked at."""

_STEPS: Final = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400,
)  # fmt: skip
_TICKS: Final = 6
_LABELS: Final = {
    "arrived": "arrived",
    "associated": "associated",
    "hit": "had been computed before",
    "replayed": "published again by a replay",
    "published": "published; nothing tells when it was computed",
}


@dataclass(frozen=True, kw_only=True)
class WorkBar:
    """One stage's work on one product.

    Attributes
    ----------
    stage, outcome, sentence : str
        What was done.
    kind : int
        Number of the stage in the order of the road, from 0; its colour.
    left, width : float
        Per cent of the whole.
    wait_left, wait_width : float
        Where it waited for its turn, per cent of the whole.
    seconds, waited : float
        How long it took, and had waited.
    start : float
        Seconds after the begin of the whole.
    """

    stage: str
    outcome: str
    sentence: str
    kind: int
    left: float
    width: float
    wait_left: float
    wait_width: float
    seconds: float
    waited: float
    start: float


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What took no time: its kind, what it was, and where it is in per cent."""

    kind: str
    sentence: str
    left: float
    start: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """A product's bars and marks."""

    name: str
    bars: Sequence[WorkBar]
    marks: Sequence[Mark]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage in the legend.

    Attributes
    ----------
    name : str
        Which.
    kind : int
        Of its colour.
    runs, failures : int
        How often it worked, and failed.
    seconds : float
        That were spent in it, in all.
    typical : float
        Seconds that a run took, in the median.
    waited, longest : float
        Seconds that its inputs had waited, in the median and at most.
    """

    name: str
    kind: int
    runs: int
    failures: int
    seconds: float
    typical: float
    waited: float
    longest: float


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark of the time axis, and where it is in per cent."""

    label: str
    left: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What a page shows of a history.

    Attributes
    ----------
    rows : sequence of Row
        Exposures by name, then combined products in the order in which they were begun.
    hidden : int
        Products that are left out.
    stages : sequence of Stage
        The legend of the bars.
    marks : sequence of (str, str)
        Kinds of marks that there are, with what they mean.
    waits : bool
        Whether it is known how long works had waited.
    ticks : sequence of Tick
        The time axis.
    """

    rows: Sequence[Row]
    hidden: int
    stages: Sequence[Stage]
    marks: Sequence[tuple[str, str]]
    waits: bool
    ticks: Sequence[Tick]


def timeline(history: History) -> Timeline:
    """Return the timeline of a history."""
    scale = _Scale(history)
    works = sorted(history.works, key=lambda work: work.began)
    kinds = {name: kind for kind, name in enumerate(dict.fromkeys(work.stage for work in works))}
    bars: dict[str, list[WorkBar]] = {}
    for work in works:
        bars.setdefault(work.name, []).append(scale.bar(work, kinds[work.stage]))
    marks: dict[str, list[Mark]] = {}
    for moment in history.moments:
        marks.setdefault(moment.name, []).append(scale.mark(moment))
    rows = [
        Row(name=name, bars=bars.get(name, ()), marks=marks.get(name, ()))
        for name in dict.fromkeys((*bars, *marks))
    ]
    exposures = sorted((row for row in rows if not _is_combined(row.name)), key=lambda row: row.name)
    combined = sorted((row for row in rows if _is_combined(row.name)), key=_first)
    room = max(0, ROWS - len(combined))
    seen = {moment.kind for moment in history.moments}
    return Timeline(
        rows=[*exposures[:room], *combined[:ROWS]],
        hidden=max(0, len(exposures) - room) + max(0, len(combined) - ROWS),
        stages=[_stage(name, kind, works) for name, kind in kinds.items()],
        marks=[(kind, label) for kind, label in _LABELS.items() if kind in seen],
        waits=history.origin == "bus",
        ticks=_ticks(scale.span),
    )


def duration(seconds: float) -> str:
    """Return a time for people: ``0.8 s``, ``34 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class _Scale:
    """From times to per cent of the whole."""

    def __init__(self, history: History) -> None:
        self.began = history.began
        self.span = max(history.seconds, 1e-3)

    def share(self, seconds: float) -> float:
        return 100 * seconds / self.span

    def bar(self, work: Work, kind: int) -> WorkBar:
        start, seconds = work.began - self.began, work.ended - work.began
        return WorkBar(
            stage=work.stage,
            outcome=work.outcome,
            sentence=work.sentence,
            kind=kind,
            left=self.share(start),
            width=self.share(seconds),
            wait_left=self.share(start - work.waited),
            wait_width=self.share(work.waited),
            seconds=seconds,
            waited=work.waited,
            start=start,
        )

    def mark(self, moment: Moment) -> Mark:
        start = moment.time - self.began
        return Mark(kind=moment.kind, sentence=moment.sentence, left=self.share(start), start=start)


def _is_combined(name: str) -> bool:
    return "-" in name


def _first(row: Row) -> float:
    return min([bar.start for bar in row.bars] + [mark.start for mark in row.marks])


def _stage(name: str, kind: int, works: Sequence[Work]) -> Stage:
    own = [work for work in works if work.stage == name]
    took = [work.ended - work.began for work in own]
    waits = [work.waited for work in own]
    return Stage(
        name=name,
        kind=kind,
        runs=len(own),
        failures=sum(work.outcome == "failed" for work in own),
        seconds=sum(took),
        typical=median(took),
        waited=median(waits),
        longest=max(waits),
    )


def _ticks(span: float) -> list[Tick]:
    step = next((step for step in _STEPS if span / step <= _TICKS), _STEPS[-1])
    unit, name = (1, "s") if span < 180 else (60, "min") if span < 10800 else (3600, "h")
    return [
        Tick(label=f"{i * step / unit:g} {name}", left=100 * i * step / span)
        for i in range(int(span / step) + 1)
    ]
