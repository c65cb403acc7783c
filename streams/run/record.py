"""A run's record: what a run did and when, as a JSON file for whoever shows it later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from schemas.errors import Unprocessable, explained
from schemas.events import Frozen
from streams.run.report import RunSummary

VERSION: Final = 1
"""Grows when a record changes in a way that a reader must know of."""


class RecordedStage(Frozen):
    """One stage's work on one product.

    Attributes
    ----------
    stage, name : str
        Which; the stage is empty for an input that could not be opened.
    outcome : str
        ``complete``, ``up to date``, ``refused`` or ``failed``.
    sentence : str
        Of a failure.
    began, ended : float
        Seconds since 1970; 0 where nothing was begun.
    run_key : str
        Of what was published; empty after a failure.
    """

    stage: str
    name: str
    outcome: str
    sentence: str = ""
    began: float = 0.0
    ended: float = 0.0
    run_key: str = ""


class RecordedEnding(Frozen):
    """Where an input's road ended, and why.

    Attributes
    ----------
    name, level, reason : str
        As in :class:`streams.run.report.Ending`.
    failed : bool
        Whether that is a failure.
    """

    name: str
    level: str
    reason: str
    failed: bool = False


class RunRecord(Frozen):
    """What a run was asked to do, and did.

    Attributes
    ----------
    version : int
        Of this form of record.
    software : str
        Version of calstream.
    recipe, until : str
        What was asked for.
    settings : mapping
        Parameters given on the command line, by step.
    began, ended : float
        Of the whole run, seconds since 1970.
    stages : tuple of RecordedStage
        In the order in which they ended.
    endings : tuple of RecordedEnding
        One for each input and association.
    """

    version: int = VERSION
    software: str
    recipe: str
    until: str
    settings: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    began: float
    ended: float
    stages: tuple[RecordedStage, ...] = ()
    endings: tuple[RecordedEnding, ...] = ()

    @property
    def seconds(self) -> float:
        """Return how long the run took."""
        return self.ended - self.began


def recorded(
    summary: RunSummary, *, recipe: str, until: str, settings: Mapping[str, Any], span: tuple[float, float]
) -> RunRecord:
    """Return the record of a run.

    Parameters
    ----------
    summary : RunSummary
        What it did.
    recipe, until : str
        What was asked for.
    settings : mapping
        Parameters of the command line, by step.
    span : tuple of float
        When it began and ended, seconds since 1970.
    """
    return RunRecord(
        software=metadata.version("calstream"),
        recipe=recipe,
        until=until,
        settings=settings,
        began=span[0],
        ended=span[1],
        stages=tuple(
            RecordedStage(
                stage=note.stage,
                name=note.name,
                outcome=note.outcome,
                sentence=note.sentence,
                began=note.begun,
                ended=note.ended,
                run_key=note.event.run_key if note.event else "",
            )
            for note in summary.notes
        ),
        endings=tuple(
            RecordedEnding(name=e.name, level=e.level, reason=e.reason, failed=e.failed)
            for e in summary.endings
        ),
    )


def write_record(record: RunRecord, path: Path) -> None:
    """Write a record as JSON, at once or not at all.

    Raises
    ------
    Unprocessable
        If the file cannot be written.
    Retriable
        If the disk is full.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with explained(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(record.model_dump_json(indent=1) + "\n")
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_record(path: Path) -> RunRecord:
    """Read a record.

    Raises
    ------
    Unprocessable
        If the file is not there, or is no record of a run.
    """
    with explained(path, "read"):
        content = path.read_bytes()
    try:
        return RunRecord.model_validate(json.loads(content))
    except (ValidationError, ValueError):
        raise Unprocessable(
            f"{path}: is no record of a run; give the file that `calstream run --record` wrote"
        ) from None
