"""``calstream report``: the page of a folder of products."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import UsageError

if TYPE_CHECKING:
    from streams.report import Check


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that `calstream run` wrote to.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page.", show_default="DIR/index.html")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What `calstream run --record` wrote.",
            show_default=False,
        ),
    ] = None,
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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Write one self-contained HTML page on a folder of products.

    Mosaics with their catalogues and coverage, how everything was made, the timeline of the run, and for
    simulated exposures the recovered against the true fluxes, positions and errors.
    """
    from streams.report import ReportRequest, write_report

    if check and truth is None:
        raise UsageError("--check needs a simulation's truth: name its folder with --truth DIR")
    page = out or folder / "index.html"
    checks = write_report(ReportRequest(folder=folder, out=page, truth=truth, record=record))
    for found in checks:
        typer.echo(_line(found))
    typer.echo(f"page: {page}")
    if check:
        _demand(checks, truth)


def _line(check: Check) -> str:
    return f"{'✓' if check.passed else '✗'} {check.name}: {check.sentence}"


def _demand(checks: list[Check], truth: Path | None) -> None:
    if not any(check.name.startswith("Fluxes") for check in checks):
        typer.echo(f"calstream: no mosaic with a catalogue could be compared with {truth}", err=True)
        raise typer.Exit(1)
    if failed := [check.name for check in checks if not check.passed]:
        typer.echo(f"calstream: not good enough: {', '.join(failed)}; see the figures above", err=True)
        raise typer.Exit(1)
