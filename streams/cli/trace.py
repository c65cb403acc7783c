"""``calstream trace``: the road of an exposure, event by event."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, site_there

if TYPE_CHECKING:
    from rich.text import Text

    from streams.trace import Trace

_STYLES: Final = {
    "complete": "green",
    "cached": "cyan",
    "partial": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "dead letter": "red",
}
_HEADINGS: Final = ("time", "level", "stage", "outcome", "took", "run key", "generation")


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An exposure or a product: jw01234001001_02101_00001_nrca1.")
    ],
    line: Annotated[str | None, typer.Option(metavar="LINE", help="Only this line of work.")] = None,
    bus: BusOption = None,
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: everything, as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Show every event of an exposure and of what it went into, in order of time.

    Associations that it is a member of and products made from it are followed to the end of the road;
    failures and dead letters are there too.
    """
    from streams.cli.console import standard_output
    from streams.trace import trace

    site = site_there(bus, store)
    found = trace(site.bus, site.store, name, line)
    site.bus.close()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    console = standard_output()
    for shown in _lines(found):
        console.print(shown, no_wrap=len(shown.plain) <= console.width, soft_wrap=False)


def _lines(found: list[Trace]) -> Iterator[Text]:
    from rich.text import Text

    from schemas.quality import told
    from streams.cli.units import date

    cells = [_cells(one) for one in found]
    widths = [max(len(row[i]) for row in (_HEADINGS, *cells)) for i in range(len(_HEADINGS))]
    yield Text(_joined(_HEADINGS, widths), style="bold")
    several = len({one.line for one in found if one.line}) > 1
    pairs = zip(found, cells, strict=True)
    for (day, name, line), rows in groupby(pairs, key=lambda row: _whose(row[0], several)):
        yield Text(f"{name}{f' on {line}' if line else ''}", style="bold cyan").append(
            f"  {date(day * 86400.0)} UTC", style="not bold dim"
        )
        for one, texts in rows:
            yield _coloured(one, texts, widths)
            if one.sentence:
                yield Text(f"  {one.sentence}", style=_STYLES.get(one.outcome, ""))
            if one.quality and (figures := told(one.quality)):
                yield Text(f"  {', '.join(f'{label} {value}' for label, value, _ in figures)}", style="dim")


def _whose(one: Trace, several: bool) -> tuple[int, str, str]:
    return int(one.time // 86400), one.name, one.line if several else ""


def _cells(one: Trace) -> tuple[str, ...]:
    from streams.cli.units import clock, span

    topic = one.topic.partition(".")[0]
    return (
        clock(one.time, fraction=True),
        topic,
        one.stage,
        one.outcome,
        span(one.seconds),
        one.run_key[:8],
        one.generation[-8:],
    )


def _joined(texts: Iterable[str], widths: list[int]) -> str:
    return " ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()


def _coloured(one: Trace, texts: tuple[str, ...], widths: list[int]) -> Text:
    from rich.text import Text

    row = Text()
    for heading, text, width in zip(_HEADINGS, texts, widths, strict=True):
        dim = heading in ("time", "run key", "generation")
        style = _STYLES.get(one.outcome, "") if heading == "outcome" else "dim" if dim else ""
        row.append(text, style=style).append(" " * (width - len(text) + 1))
    row.rstrip()
    return row
