"""A pipeline at one moment, as text: topics with what waits on them, and services with what they are at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from streams.cli.units import clock, counted, number, rate, span
from streams.overview import Overview, Reading, busy
from streams.roster import Service
from streams.topics import LOOKS_ON, READERS

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES: Final = {
    "ready": "green",
    "watching": "green",
    "starting": "cyan",
    "stopping": "cyan",
    "waiting": "yellow",
    "stale": "yellow",
    "dead": "red",
    "not running": "red",
    "ended": "red",
    "stopped": "dim",
}
"""Colours of states."""

_RIGHT: Final = {"all", "lag", "rate", "in work", "oldest", "failed", "ETA", "since"}
_WIDTHS: Final = {
    "read by": 10, "all": 4, "lag": 4, "rate": 8, "oldest": 7, "failed": 6, "ETA": 7, "service": 10,
    "state": 8, "pid": 7, "since": 7,
}  # fmt: skip
"""Columns that keep their place whatever is in them."""


def picture(overview: Overview, where: str = "", *, failure: str = "") -> RenderableType:
    """Return a look at a pipeline, for 80 columns and more.

    Parameters
    ----------
    overview : Overview
        The look.
    where : str, optional
        URL of the bus.
    failure : str, optional
        Why there is no newer look.
    """
    return Group(
        _title(overview, where),
        Text(f"✗ {failure}", style="red") if failure else verdict(overview),
        Text(),
        topics_table(overview),
        Text(),
        services_table(overview),
    )


def topics_table(overview: Overview) -> Table:
    """Return topics, who reads them, and what waits there."""
    table = _table("topic", "read by", "all", "lag", "rate", "in work", "oldest", "failed", "ETA")
    running = {service.group for service in overview.services if service.live}
    for row in overview.readings:
        if (row.group, row.topic) in LOOKS_ON and not row.dead_letters:
            continue  # a terminal has 24 lines
        table.add_row(*_topic_row(row, row.group in running))
    return table


def services_table(overview: Overview) -> Table:
    """Return the services with what they are at, like ones in one line; then those that are missed."""
    table = _table("service", "state", "pid", "since", "at")
    alike: dict[tuple[str, str, str], list[Service]] = {}
    for service in overview.services:
        key = service.record.service, service.state, service.record.sentence
        alike.setdefault(key, []).append(service)
    for (name, state, sentence), those in alike.items():
        table.add_row(
            Text(name),
            Text(state, style=STYLES.get(state, "")),
            Text(str(those[0].record.pid) + (f" +{len(those) - 1}" if len(those) > 1 else ""), style="dim"),
            Text(span(overview.time - those[0].record.started), style="dim"),
            _at(those, sentence, overview.time),
        )
    there = {service.group for service in overview.services}
    for row in overview.readings:
        if row.lag and row.group in READERS and row.group not in there:
            there.add(row.group)
            table.add_row(Text(row.group), Text("not running", style=STYLES["not running"]))
    return table


def verdict(overview: Overview) -> Text:
    """Return what there is to do in a line, with what went wrong."""
    reason = busy(overview)
    said = Text(reason or "idle: all is done", style="" if reason else "green")
    wrong = []
    if overview.failures:
        recent = f", {overview.recent_failures} in the last minute" if overview.recent_failures else ""
        wrong.append(f"{counted(overview.failures, 'failure')}{recent}")
    if overview.dead_letters:
        wrong.append(f"{counted(overview.dead_letters, 'dead letter')} (calstream dlq list)")
    if wrong:
        said.append("\n").append("; ".join(wrong), style="red")
    return said


def facts(overview: Overview) -> dict[str, Any]:
    """Return a look as a tree for JSON; times in seconds, rates in messages a second."""
    reason = busy(overview)
    return {
        "time": overview.time,
        "idle": not reason,
        "reason": reason,
        "topics": [
            {**{name: getattr(row, name) for name in Reading.__dataclass_fields__}, "eta": row.eta}
            for row in overview.readings
        ],
        "services": [
            {**service.record.model_dump(mode="json"), "state": service.state, "live": service.live}
            for service in overview.services
        ],
        "in_work": overview.in_work,
        "associations_open": overview.open,
        "failures": overview.failures,
        "dead_letters": overview.dead_letters,
    }


def _title(overview: Overview, where: str) -> Text:
    title = Text("calstream", style="bold", no_wrap=True, overflow="ellipsis")
    title.append(f"  {clock(overview.time)} UTC", style="dim")
    return title.append(f"  {where}" if where else "", style="dim")


def _topic_row(row: Reading, running: bool) -> Iterable[Text]:
    lag = "" if not row.group else number(row.lag)
    lag_style = "dim" if not row.lag else "yellow" if running else "red"
    done = row.rate if row.group else row.arriving
    return (
        Text(row.topic),
        Text(row.group, style="" if running else "dim"),
        Text(number(row.messages), style="" if row.messages else "dim"),
        Text(lag, style=lag_style),
        Text(rate(done)),
        Text(str(row.in_work or ""), style="cyan"),
        Text(span(row.oldest)),
        Text(str(row.dead_letters or ""), style="red"),
        Text(span(row.eta)),
    )


def _at(those: Sequence[Service], sentence: str, now: float) -> Text:
    live = [service for service in those if service.live]
    if not live:
        heard = max(service.record.time for service in those)
        return Text(sentence if those[0].state == "stopped" else f"silent for {span(now - heard)}", "dim")
    works = [work for service in live for work in service.record.in_work]
    open_ = sum(service.record.open for service in live)
    said = Text(sentence)
    if works:
        first = min(works, key=lambda work: work.since)
        more = f" +{len(works) - 1}" if len(works) > 1 else ""
        said.append("; " if sentence else "").append(f"{first.name} {span(now - first.since)}{more}", "cyan")
    if open_:
        said.append("; " if said.plain else "").append(f"{counted(open_, 'association')} open")
    return said


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for heading in headings:
        last = heading == "at"
        table.add_column(
            heading,
            justify="right" if heading in _RIGHT else "left",
            no_wrap=not last,
            overflow="fold",
            min_width=_WIDTHS.get(heading),
        )
    return table
