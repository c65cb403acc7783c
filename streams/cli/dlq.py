"""``calstream dlq``: what services could not process, and what is to become of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, opened
from streams.cli.units import plain

if TYPE_CHECKING:
    from streams.bus import Bus
    from streams.deadletters import Letter

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="List, show, retry and drop dead letters: events that a service could not process.",
)

_Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or how they begin.", show_default=False)
]
_Topic = Annotated[
    str,
    typer.Option(metavar="TOPIC", help="Of this topic only: raw, or raw.detector1.dlq.", show_default=False),
]
_Where = Annotated[
    str, typer.Option(metavar="EXPR", help="Events that satisfy this only.", show_default=False)
]
_All = Annotated[bool, typer.Option("--all", help="All that are pending, as far as --topic and --where say.")]


@app.command("list")
def list_letters(
    topic: _Topic = "",
    where: _Where = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Those that were retried or dropped too.")
    ] = False,
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """List the dead letters that are pending."""
    from rich.text import Text

    from streams.cli.console import new_table, standard_output

    with opened(bus, store) as site:
        found = _found(site.bus, topic, where, settled=everything)
    table = new_table("id", "time", "topic", "service", "what", "tries", "state", "why")
    for letter in found:
        said = [letter.said(what) for what in ("time", "service", "attempts", "message")]
        state = letter.settled or "pending"
        row = (letter.id, said[0], letter.topic, said[1], _what(letter), said[2], state, said[3])
        table.add_row(*(Text(plain(text)) for text in row))  # nothing in them is markup
    if found:
        standard_output().print(table)
    pending = sum(not letter.settled for letter in found)
    typer.echo(f"{_letters(pending)} pending")


@app.command()
def show(
    wanted: Annotated[
        str, typer.Argument(metavar="ID", help="Its id, or how that begins.", show_default=False)
    ],
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Show all of a dead letter: why it is one, its headers, the event."""
    import json

    from streams.deadletters import letters, with_id

    with opened(bus, store) as site:
        letter = with_id(letters(site.bus, settled=True), wanted)
    typer.echo(f"{letter.id}: {plain(letter.said('message'))}")
    typer.echo(f"{letter.settled or 'pending'}; {letter.place}")
    typer.echo("\nHeaders")
    for name, text in sorted(letter.message.headers.items()):
        typer.echo(plain(f"  {name}: {text}"))
    typer.echo("\nEvent" if letter.event else "\nBytes, no event")
    if letter.event:
        typer.echo(json.dumps(json.loads(letter.message.value), indent=2, ensure_ascii=False))
    else:
        typer.echo(_escaped(letter.message.value))


@app.command()
def retry(
    ids: _Ids = None,
    everything: _All = False,
    topic: _Topic = "",
    where: _Where = "",
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Publish dead letters on their topic again, with as many tries before them as at first."""
    from streams.deadletters import retry as publish_again

    with opened(bus, store) as site:
        done, left = publish_again(_chosen(site.bus, ids, everything, topic, where), site.bus, site.store)
    for letter in left:
        typer.echo(f"calstream: {letter.id}: {_what(letter)} cannot be retried; drop it", err=True)
    typer.echo(f"{_letters(len(done))} retried")
    raise typer.Exit(int(bool(left and ids)))


@app.command()
def drop(
    ids: _Ids = None,
    everything: _All = False,
    topic: _Topic = "",
    where: _Where = "",
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Count dead letters as settled, without trying again."""
    from streams.deadletters import drop as settle

    with opened(bus, store) as site:
        chosen = _chosen(site.bus, ids, everything, topic, where)
        settle(chosen, site.bus)
    typer.echo(f"{_letters(len(chosen))} dropped")


def _found(bus: Bus, topic: str, where: str, *, settled: bool = False) -> list[Letter]:
    from streams.deadletters import chosen, letters
    from streams.where import where as predicate

    condition = predicate(where) if where else None
    return chosen(letters(bus, settled=settled), topic=topic or None, where=condition)


def _chosen(bus: Bus, ids: list[str] | None, everything: bool, topic: str, where: str) -> list[Letter]:
    """Return the letters that the user means; nobody means all of them by saying nothing."""
    from schemas.errors import UsageError
    from streams.deadletters import with_id

    if bool(ids) == everything:
        raise UsageError("say which dead letters: their ids, or --all (with --topic and --where); not both")
    found = _found(bus, topic, where)
    if everything:
        return found
    return list({letter.place: letter for letter in (with_id(found, one) for one in ids or [])}.values())


def _what(letter: Letter) -> str:
    event = letter.event
    return event.identity if event else f"{len(letter.message.value)} bytes that are no event"


def _escaped(content: bytes, most: int = 2048) -> str:
    """Return bytes as a hexadecimal dump, with the letters that there are beside it."""
    rows = []
    for start in range(0, min(len(content), most), 16):
        part = content[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{start:06x}  {part.hex(' '):47}  {letters}")
    if len(content) > most:
        rows.append(f"... and {len(content) - most} bytes more")
    return "\n".join(rows) or "(empty)"


def _letters(number: int) -> str:
    return "1 dead letter" if number == 1 else f"{number} dead letters"
