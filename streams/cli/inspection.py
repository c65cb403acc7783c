"""``calstream inspect``: what a file is, and how it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.places import DebugOption

if TYPE_CHECKING:
    from rich.console import Console

    from schemas.meta import Provenance, StepRecord
    from streams.cli.contents import Description


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Products, ours or anybody's (FITS), catalogues (*.ecsv), associations (*.json).",
            show_default=False,
        ),
    ],
    keywords: Annotated[bool, typer.Option("--keywords", help="Show all keywords of the headers.")] = False,
    debug: DebugOption = False,
) -> None:
    """Tell what a product is and how it was made.

    Its kind, arrays, keywords and data quality; for what calstream made also the steps with their options and
    reference files, the run and its inputs.
    """
    from schemas.errors import CalstreamError
    from streams.cli.console import standard_output
    from streams.cli.contents import described

    console = standard_output()
    failures: list[CalstreamError] = []
    for file in files:
        try:
            _show(described(file, everything=keywords), console)
        except CalstreamError as error:
            failures.append(error)
    for failure in failures[1:]:
        typer.echo(f"calstream: {failure}", err=True)
    if failures:
        raise failures[0]


def _show(found: Description, console: Console) -> None:
    from rich.text import Text

    from streams.cli.console import new_table

    console.print(Text(str(found.path), style="bold"))
    console.print(f"  {found.kind}", markup=False)
    for title, headings, rows in found.sections:
        table = new_table(*headings, title=title)
        table.show_header = any(headings)
        for row in rows:
            table.add_row(*(Text(str(value)) for value in row))
        console.print()
        console.print(table)
    if found.provenance is not None:
        _show_provenance(found.provenance, console)
    console.print()


def _show_provenance(provenance: Provenance, console: Console) -> None:
    from rich.text import Text

    from streams.cli.console import new_table

    if not provenance.steps and not provenance.run:
        console.print("\nNo CALSTREAM extension: calstream did not make it.")
        return
    table = new_table(
        "step", "outcome", "options (*: not the default)", "references", title="How it was made"
    )
    times = Counter(record.step for record in provenance.steps)
    for record in provenance.steps:
        step = f"{record.step}\n{record.implementation}" if _worth_telling(record, times) else record.step
        outcome = f"{record.outcome}: {record.reason}" if record.reason else record.outcome
        options = "\n".join(_option(name, value, record.origins) for name, value in record.options.items())
        references = "\n".join(
            f"{kind}: {file}" for kind, found in record.references.items() for file in _files(found)
        )
        table.add_row(*(Text(text) for text in (step, outcome, options, references)))
    console.print()
    console.print(table)
    _show_run(provenance.run, console)


def _worth_telling(record: StepRecord, times: Counter[str]) -> bool:
    """Tell whether the function matters: it is not the built-in one, or the step is there more than once."""
    ours = record.implementation.startswith("processors.") and record.implementation.endswith(
        f":{record.step}"
    )
    return bool(record.implementation) and (not ours or times[record.step] > 1)


def _files(reference: Mapping[str, str]) -> list[str]:
    """Return name and beginning of the digest of each file; a mosaic's inputs may have had several."""
    names, digests = (reference.get(key, "").split(", ") for key in ("name", "digest"))
    return [f"{name} {digest[:12]}" for name, digest in zip_longest(names, digests, fillvalue="")]


def _option(name: str, value: Any, origins: Any) -> str:
    return f"{name} = {value}" + (f" * {origins[name]}" if name in origins else "")


def _show_run(run: Any, console: Console) -> None:
    from rich.text import Text

    from schemas.quality import told
    from streams.cli.console import new_table

    table = new_table("", "", title="Its run")
    table.show_header = False
    for name, value in run.items():
        if name == "quality":
            continue
        if name == "inputs":
            for item in value:
                said = f"{item.get('role', '')}: {item.get('product', '')} {item.get('digest', '')[:12]}"
                table.add_row("input", Text(said))
        else:
            table.add_row(str(name).replace("_", " "), Text(str(value)))
    console.print()
    console.print(table)
    if figures := told(run.get("quality", {})):
        table = new_table("", "", "how it is measured", title="Quality of its exposure")
        for row in figures:
            table.add_row(*(Text(text) for text in row))
        console.print()
        console.print(table)
