"""``calstream report``: the page of a folder of products."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import UsageError
from streams.cli.places import BusOption, DebugOption, StoreOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.report import Check
    from streams.site import Site


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder that `calstream run` or `calstream export` wrote to.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page.", show_default="DIR/index.html")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What `calstream run --record` wrote, for the timeline.",
            show_default=False,
        ),
    ] = None,
    bus: BusOption = None,
    store: StoreOption = None,
    line: Annotated[
        str, typer.Option(metavar="NAME", help="Line of work whose events are the timeline.")
    ] = "main",
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="The timeline begins at this time (UTC), or so long ago: 2h, 3d.",
            show_default=False,
        ),
    ] = "",
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder truth/ of a simulation.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Fail if fluxes or errors are too far from the truth."),
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Write one self-contained HTML page on a folder of products.

    Mosaics with their catalogues and coverage, how everything was made, and for simulated exposures the
    recovered against the true fluxes, positions and errors. The timeline is that of --record, or else every
    event on the bus, if --bus or CALSTREAM_BUS names one.
    """
    from streams.report import ReportRequest, write_report
    from streams.times import moment

    if check and truth is None:
        raise UsageError("--check needs a simulation's truth: name its folder with --truth DIR")
    if record is not None and bus is not None:
        raise UsageError("--record and --bus: choose which of them the timeline is of")
    page = out or folder / "index.html"
    begin = moment(since) if since else float("-inf")
    with _pipeline(bus, store, record) as site:
        checks = write_report(
            ReportRequest(
                folder=folder, out=page, truth=truth, record=record, site=site,
                timeline=bus is not None, line=line, since=begin,
            )
        )  # fmt: skip
    for found in checks:
        typer.echo(_line(found))
    typer.echo(f"page: {page}")
    if check:
        _demand(checks, truth)


@contextmanager
def _pipeline(bus: str | None, store: str | None, record: Path | None) -> Iterator[Site | None]:
    """Give the pipeline of the timeline; None where a run's record is asked for, or nothing names a bus."""
    import os

    from streams.cli.places import site_there
    from streams.site import BUS

    if record is not None or not (bus or os.environ.get(BUS)):
        yield None
        return
    site = site_there(bus, store)
    try:
        yield site
    finally:
        site.bus.close()


def _line(check: Check) -> str:
    return f"{'✓' if check.passed else '✗'} {check.name}: {check.sentence}"


def _demand(checks: list[Check], truth: Path | None) -> None:
    if not any(check.name.startswith("Fluxes") for check in checks):
        typer.echo(f"calstream: no mosaic with a catalogue could be compared with {truth}", err=True)
        raise typer.Exit(1)
    if failed := [check.name for check in checks if not check.passed]:
        typer.echo(f"calstream: not good enough: {', '.join(failed)}; see the figures above", err=True)
        raise typer.Exit(1)
