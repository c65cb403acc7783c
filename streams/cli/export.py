"""``calstream export``: the current products into a folder."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, opened


def command(
    out: Annotated[Path, typer.Option(help="Folder for the products.")] = Path("."),
    where: Annotated[
        str,
        typer.Option(
            metavar="EXPR",
            help="Which, for example \"detector == 'NRCA1' and filter in ('F200W', 'F115W')\".",
            show_default=False,
        ),
    ] = "",
    level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL", help="Of this level only; all that was made unless given.", show_default=False
        ),
    ] = "",
    line: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Of this line only. Unless given, main's products lie right in the folder, those of every "
            "other line in a folder in it.",
            show_default=False,
        ),
    ] = "",
    link: Annotated[
        bool,
        typer.Option("--link", help="Link the files of a local store instead of copying; do not edit them."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of other runs.")] = False,
    bus: BusOption = None,
    store: StoreOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell failures only.")] = False,
    debug: DebugOption = False,
) -> None:
    """Put the current products under their JWST names into a folder, while services run or not.

    A file that is there already and has the same bytes is left as it is; one that another run made is refused
    unless --overwrite is given, the others go on, and the exit code is 1.
    """
    from streams.export import ExportRequest, export

    request = ExportRequest(
        out=out, expression=where, level=level, line=line, overwrite=overwrite, linked=link
    )
    counts: Counter[str] = Counter()
    with opened(bus, store) as site:
        for done in export(request, site):
            counts[done.outcome] += 1
            if done.sentence:
                print(f"calstream: {done.sentence}", file=sys.stderr, flush=True)
            elif not quiet:
                print(f"{done.path}: {done.outcome}", flush=True)
    if not quiet:
        tally = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
        print(tally or "no current product is meant by that")
    raise typer.Exit(int(counts["refused"] > 0))
