"""``calstream topics``: what is on the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.places import BusOption, DebugOption, bus_there

if TYPE_CHECKING:
    from streams.bus import Bus

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, invoke_without_command=True
)


@app.callback()
def command(context: typer.Context, bus: BusOption = None, debug: DebugOption = False) -> None:
    """List the topics: how many messages, how long they are kept, who reads them."""
    if context.invoked_subcommand is not None:
        return
    from rich.text import Text

    from streams.cli.console import new_table, standard_output

    there, _ = bus_there(bus)
    table = new_table("topic", "partitions", "messages", "kept", "read by", "lag")
    for column in (1, 2, 5):
        table.columns[column].justify = "right"
    for row in _rows(there):
        table.add_row(*(Text(cell) for cell in row))
    there.close()
    standard_output().print(table)


@app.command()
def create(
    bus: BusOption = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of each topic, for good; by default as many as there are, at first 12.",
            show_default=False,
        ),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Make all topics that are not there, with their partitions and retention, and check the others.

    So many processes of a service work side by side as there are partitions. Events are kept for ever: what
    is current is known from them. Where Kafka would remove what must be kept, it is told to keep it.
    """
    from streams.bus.opening import open_bus
    from streams.site import address
    from streams.topics import every_topic

    url = address(bus, "none", create=True).bus
    made = open_bus(url, partitions)
    try:
        before = set(made.topics())
        mended = _mended(made)
        made.create_topics(every_topic())
        every = [topic.name for topic in every_topic()]
        number = len(made.offsets_at(every[0], float("inf")))
    finally:
        made.close()
    new = len(set(every) - before)
    typer.echo(f"{new} topics made, {len(every) - new} were there, with {number} partitions each, on {url}")
    if mended:
        typer.echo(f"set as they must be: {', '.join(mended)}")


def _mended(bus: Bus) -> list[str]:
    """Let Kafka keep topics as they must be kept; return those that it had not."""
    from streams.topics import every_topic

    mend = getattr(bus, "mend_topics", None)
    return [] if mend is None else sorted(mend(every_topic()))


def _rows(bus: Bus) -> list[tuple[str, ...]]:
    from streams.topics import EVENTS, READERS, TOPICS

    order = [topic.name for topic in TOPICS]
    names = sorted(bus.topics(), key=lambda name: (order.index(name) if name in order else len(order), name))
    rows: list[tuple[str, ...]] = []
    for name in names:
        firsts, ends = bus.offsets_at(name, float("-inf")), bus.offsets_at(name, float("inf"))
        groups = [group for group, wanted in READERS.items() if name in wanted]
        lags = [str(bus.lag(group, [name])[name]) for group in groups]
        messages = "" if _kept(name) == _LAST else str(bus.count(firsts, ends))
        readers = ", ".join(groups) or ("" if name not in EVENTS else "nobody")
        rows.append((name, str(len(ends)), messages, _kept(name), readers, ", ".join(lags)))
    return rows


_LAST = "last of each key"


def _kept(name: str) -> str:
    from streams.cli.units import span
    from streams.topics import every_topic, is_dead_letters

    known = next((topic for topic in every_topic() if topic.name == name), None)
    if known is None and not is_dead_letters(name):
        return ""  # somebody else's
    if known is not None and known.compacted:
        return _LAST
    return "for ever" if known is None or known.retention is None else span(known.retention)
