"""The timeline of a run: which stage worked on which product, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streams.run.record import RecordedStage, RunRecord

_STEPS: Final = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    3600,
    7200,
    14400,
    43200,
    86400,
)
_TICKS: Final = 6


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
        Per cent of the whole run.
    seconds : float
        How long it took.
    start : float
        Seconds after the run's begin.
    """

    stage: str
    outcome: str
    sentence: str
    kind: int
    left: float
    width: float
    seconds: float
    start: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """A product's bars."""

    name: str
    bars: Sequence[WorkBar]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage in the legend: its colour's number, and the time that was spent in it."""

    name: str
    kind: int
    seconds: float
    runs: int


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark of the time axis, and where it is in per cent."""

    label: str
    left: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What a page shows of a run's record.

    Attributes
    ----------
    rows : sequence of Row
        Products in the order in which they were begun.
    stages : sequence of Stage
        The legend.
    ticks : sequence of Tick
        The time axis.
    """

    rows: Sequence[Row]
    stages: Sequence[Stage]
    ticks: Sequence[Tick]


def timeline(record: RunRecord) -> Timeline:
    """Return the timeline of a run."""
    works = sorted((work for work in record.stages if work.ended > 0), key=lambda work: work.began)
    span = max(record.seconds, 1e-3)
    kinds = {name: kind for kind, name in enumerate(dict.fromkeys(work.stage for work in works))}
    rows: dict[str, list[WorkBar]] = {}
    for work in works:
        rows.setdefault(work.name, []).append(_bar(work, record.began, span, kinds[work.stage]))
    names = sorted(
        rows, key=lambda name: (_is_combined(name), rows[name][0].start if _is_combined(name) else 0, name)
    )
    return Timeline(
        rows=[Row(name=name, bars=rows[name]) for name in names],
        stages=[_stage(name, kind, works) for name, kind in kinds.items()],
        ticks=_ticks(span),
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


def _bar(work: RecordedStage, began: float, span: float, kind: int) -> WorkBar:
    seconds = work.ended - work.began
    return WorkBar(
        stage=work.stage,
        outcome=work.outcome,
        sentence=work.sentence,
        kind=kind,
        left=100 * (work.began - began) / span,
        width=100 * seconds / span,
        seconds=seconds,
        start=work.began - began,
    )


def _is_combined(name: str) -> bool:
    return "-" in name


def _stage(name: str, kind: int, works: Sequence[RecordedStage]) -> Stage:
    own = [work for work in works if work.stage == name]
    return Stage(name=name, kind=kind, seconds=sum(work.ended - work.began for work in own), runs=len(own))


def _ticks(span: float) -> list[Tick]:
    step = next((step for step in _STEPS if span / step <= _TICKS), _STEPS[-1])
    unit, name = (1, "s") if span < 180 else (60, "min") if span < 10800 else (3600, "h")
    return [
        Tick(label=f"{i * step / unit:g} {name}", left=100 * i * step / span)
        for i in range(int(span / step) + 1)
    ]
