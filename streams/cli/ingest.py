"""``calstream ingest``: files into the pipeline, once or as they come."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, opened

if TYPE_CHECKING:
    from streams.ingest.report import Taken


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Folders of *_uncal.fits (at any depth), files of any level (uncal, ramp, rate, cal), "
            "persistence histories (*_persistence.fits; those beside ramps are found), or JWST associations "
            "(*_asn.json).",
            show_default=False,
        ),
    ],
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on with every new file, once it is complete, until stopped.")
    ] = False,
    line: Annotated[
        list[str] | None,
        typer.Option(
            "--line",
            metavar="NAME",
            help="Publish on this line only; may be given many times. All active lines unless given.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        bool | None,
        typer.Option(
            "--plan/--no-plan",
            help="Say first which exposures are to come, so that what is made of several of them is made as "
            "soon as all are there. Yes, unless --watch is given.",
            show_default=False,
        ),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Leave the files where they are; only below the folders in CALSTREAM_IN_PLACE_ROOTS.",
        ),
    ] = False,
    every: Annotated[
        float,
        typer.Option(
            min=0.0, metavar="SECONDS", help="Pause from one file to the next, as a downlink brings them."
        ),
    ] = 0.0,
    bus: BusOption = None,
    store: StoreOption = None,
    settle: Annotated[
        float,
        typer.Option(min=0.0, metavar="SECONDS", help="How long a watched file must not have changed."),
    ] = 2.0,
    poll: Annotated[
        bool,
        typer.Option("--poll", help="Look at the folders again and again; for network file systems."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell failures only.")] = False,
    debug: DebugOption = False,
) -> None:
    """Publish exposures for the running services, or for those that are started later.

    Files are checked and copied into the store. The same file again is harmless; other bytes under the same
    name are a new generation. What cannot be processed is refused with its reason, and the rest goes on: then
    the exit code is 1. One that watches is ended by Ctrl-C or SIGTERM, with exit code 0.
    """
    from streams.ingest.session import IngestRequest, ingest, ingest_and_watch
    from streams.ingest.watching import Pace
    from streams.logs import quiet_unless_configured
    from streams.supervisor import end_with_supervisor

    end_with_supervisor()
    quiet_unless_configured()
    shown = Shown(quiet=quiet)
    request = IngestRequest(
        paths=paths,
        lines=tuple(line or ()),
        plan=not watch if plan is None else plan,
        in_place=in_place,
        every=every,
    )
    with opened(bus, store) as site:
        if not watch:
            ingest(request, site, shown)
            shown.finished()
            raise typer.Exit(int(shown.failed))
        try:
            ingest_and_watch(request, site, shown, Pace(settle=settle, patience=5 * settle, polling=poll))
        except KeyboardInterrupt:
            shown.finished()


class Shown:
    """A line for each file on standard output; what was refused on standard error.

    Parameters
    ----------
    quiet : bool
        Whether only that is told.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._began = time.time()
        self._counts: Counter[str] = Counter()
        self._terminal = sys.stdout.isatty()

    @property
    def failed(self) -> bool:
        """Tell whether a file was not taken."""
        return bool(self._counts["refused"] + self._counts["waiting"])

    def planned(self, plans: int) -> None:
        """Tell how many plans were published."""
        if plans:
            self._say(f"{plans} {'plan' if plans == 1 else 'plans'} of what is to come")

    def taken(self, note: Taken) -> None:
        """Tell what came of a file."""
        self._counts[note.outcome] += 1
        if note.sentence:
            wait = "; it is tried again" if note.outcome == "waiting" else ""
            print(f"calstream: {note.sentence}{wait}", file=sys.stderr, flush=True)
            return
        if note.outcome == "not needed":
            self._say(f"{note.product}: {note.remark}")
            return
        how = f"on {', '.join(note.lines)}" if note.lines else "nothing to publish"
        new = ", a new generation" if note.renewed else ""
        what = f"; {note.remark}" if note.remark else ""
        self._say(f"{note.product}: {note.outcome} ({how}{new}){what}", note.outcome)

    def watching(self, folders: int) -> None:
        """Tell that new files are waited for."""
        self._say(f"watching {folders} {'path' if folders == 1 else 'paths'}; Ctrl-C ends it")

    def finished(self) -> None:
        """Tell how many files there were of each outcome."""
        found = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self._counts.items()))
        self._say(f"{found or 'nothing taken'}, in {time.time() - self._began:.1f} s")

    def _say(self, line: str, outcome: str = "") -> None:
        if self._quiet:
            return
        if not self._terminal:
            print(line, flush=True)
            return
        from rich.console import Console
        from rich.text import Text

        mark, style = {"published": ("✓ ", "green"), "known": ("= ", "cyan")}.get(outcome, ("", ""))
        Console(highlight=False).print(Text(f"{mark}{line}", style=style))
