"""What `calstream ingest` does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.ingest.deposit import allowed_roots, demand_allowed
from streams.ingest.finding import Finder
from streams.ingest.intake import Intake, IntakeOptions
from streams.ingest.presence import Presence
from streams.ingest.report import Listener
from streams.ingest.watching import Pace, Watcher
from streams.site import Site


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What the user asks of `calstream ingest`.

    Attributes
    ----------
    paths : sequence of Path
        Files and folders.
    lines : tuple of str
        On which they are published; all active ones when empty.
    plan : bool
        Whether a plan of what is there is published first.
    in_place : bool
        Whether the files stay where they are.
    interval : float
        Seconds between two records of the service.
    """

    paths: Sequence[Path]
    lines: tuple[str, ...] = ()
    plan: bool = True
    in_place: bool = False
    interval: float = 5.0


def ingest(request: IngestRequest, site: Site, listener: Listener) -> None:
    """Take in what is there."""
    intake = _intake(request, site)
    with Presence(site.bus, request.interval):
        files = Finder(site.store).files(request.paths)
        if request.plan:
            listener.planned(intake.plan(files))
        for path in files:
            for note in intake.take(path):
                listener.taken(note)


def ingest_and_watch(
    request: IngestRequest,
    site: Site,
    listener: Listener,
    pace: Pace | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Take in what is there, and what comes, until stopped.

    Parameters
    ----------
    request : IngestRequest
        What is asked.
    site : Site
        Bus and store.
    listener : Listener
        Told of each file.
    pace : Pace, optional
        How long to wait for files.
    stop : Event, optional
        Ends it when set; so does Ctrl-C.
    """
    intake = _intake(request, site)
    finder = Finder(site.store)
    watcher = Watcher(request.paths, finder, intake.take, listener.taken, pace)
    with Presence(site.bus, request.interval):
        if request.plan:
            listener.planned(intake.plan(finder.files(request.paths)))
        watcher.turn()
        listener.watching(len(request.paths))
        watcher.run(stop)


def _intake(request: IngestRequest, site: Site) -> Intake:
    roots = allowed_roots() if request.in_place else None
    if roots is not None:
        demand_allowed(request.paths, roots)
    return Intake(site, IntakeOptions(lines=request.lines, in_place=roots))
