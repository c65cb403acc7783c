"""``calstream run``: files as far as they go."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from schemas.errors import UsageError
from schemas.naming import LEVELS
from streams.cli.places import DebugOption

if TYPE_CHECKING:
    from streams.run.driver import RunRequest
    from streams.run.report import RunSummary

_CONTEXT: Final = re.compile(r"jwst(_\d{4,}\.pmap|-[a-z]+)")


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Files of any level (uncal, ramp, rate, cal), JWST associations (*_asn.json), or folders of "
            "*_uncal.fits or else *_ramp.fits; with persistence on, also *_persistence.fits of exposures "
            "before (those beside ramps are found).",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the products.")] = Path("."),
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file.")] = "optimal",
    until: Annotated[
        str, typer.Option(metavar="LEVEL", help=f"Last level to make: {', '.join(LEVELS[1:])}.")
    ] = "combined",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STEP.PARAMETER=VALUE",
            help="A parameter, STEP.skip=true, or STEP.override_REFTYPE=FILE; may be given many times.",
        ),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="PMAP", help="CRDS context, for example jwst_1234.pmap.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that other runs made.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write what was done and when, for `calstream report`.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell failures only.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what happens, on standard error.")
    ] = False,
    log_format: Annotated[str, typer.Option(help="Of logs: console or json.")] = "console",
    debug: DebugOption = False,
) -> None:
    """Process files as far as they go, from raw to mosaics.

    Products of all levels come to lie side by side in the folder --out, under their JWST names. A product
    that is there already is up to date if it was made in the same way; else --overwrite is needed. Reference
    files come from CRDS: CRDS_PATH, CRDS_SERVER_URL and CRDS_CONTEXT mean what they mean to users of JWST's
    software.
    """
    _configure_logs(verbose, log_format)
    from streams.run.driver import RunRequest

    request = RunRequest(
        paths=paths,
        out=out,
        recipe=recipe,
        until=_level(until),
        command_line=_command_line(recipe, settings or []),
        context=_context(context),
        overwrite=overwrite,
    )
    raise typer.Exit(_processed(request, record, quiet=quiet, debug=debug))


def _processed(request: RunRequest, record: Path | None, *, quiet: bool, debug: bool) -> int:
    from streams.cli.progress import reporter
    from streams.cli.termination import exit_code
    from streams.run.driver import run

    began = time.time()
    with reporter(quiet=quiet, debug=debug) as shown:
        try:
            summary = run(request, shown)
        except KeyboardInterrupt as stop:
            shown.interrupted(request.out)
            return exit_code(stop)
        shown.finished(summary, request.out)
    if record is not None:
        _write_record(request, summary, record, began)
    return int(summary.failed)


def _write_record(request: RunRequest, summary: RunSummary, path: Path, began: float) -> None:
    from streams.run.record import recorded, write_record

    record = recorded(
        summary,
        recipe=str(request.recipe),
        until=request.until,
        settings=request.command_line,
        span=(began, time.time()),
    )
    write_record(record, path)


def _configure_logs(verbose: bool, log_format: str) -> None:
    from streams.logs import FORMATS, configure

    for known in FORMATS:
        if known == log_format:
            configure(logging.INFO if verbose else logging.WARNING, known)
            return
    raise UsageError(f"--log-format {log_format}: choose one of {', '.join(FORMATS)}")


def _level(until: str) -> str:
    if until not in LEVELS[1:]:
        from processors.options import suggestion

        raise UsageError(f"--until {until}: there is no such level to make; {suggestion(until, LEVELS[1:])}")
    return until


def _context(context: str | None) -> str | None:
    if context is not None and not _CONTEXT.fullmatch(context):
        raise UsageError(f"--context {context}: write it as jwst_1234.pmap or jwst-operational")
    return context


def _command_line(recipe: str, settings: list[str]) -> dict[str, dict[str, Any]]:
    """Return the table of ``--set``, checked against the recipe before any file is opened."""
    import os

    from processors.recipes import command_line, effective
    from processors.registry import STEPS
    from streams.recipes import load_recipe
    from streams.replacements import allowed_packages, resolver

    table = command_line(settings)
    resolve = resolver(allowed_packages(os.environ))
    effective(load_recipe(recipe), STEPS, {}, command_line=table, resolve=resolve)
    return table
