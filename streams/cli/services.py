"""``calstream services``: every process of a pipeline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streams.cli.places import BusOption, DebugOption, bus_there

if TYPE_CHECKING:
    from streams.roster import Service


def command(bus: BusOption = None, debug: DebugOption = False) -> None:
    """List the services: where they run, since when, what they are at.

    One that ended without a word is `dead`; one that has kept silent for three of its intervals is `stale`.
    """
    from rich.text import Text

    from streams.cli.console import new_table, standard_output
    from streams.cli.picture import STYLES
    from streams.cli.units import span
    from streams.overview import by_road
    from streams.roster import services

    there, url = bus_there(bus)
    now = time.time()
    found = by_road(services(there, now))
    there.close()
    console = standard_output()
    if not found:
        console.print(f"no service has run on {url} for a day; `calstream up` starts them", markup=False)
        return
    several = len({service.record.host for service in found}) > 1
    table = new_table("service", "state", *(("host",) if several else ()), "pid", "since", "metrics", "at")
    for service in found:
        record, style = service.record, STYLES.get(service.state, "")
        table.add_row(
            Text(record.service),
            Text(service.state, style=style),
            *((Text(record.host),) if several else ()),
            Text(str(record.pid)),
            Text(span(now - record.started)),
            Text(record.metrics.removeprefix("127.0.0.1")),
            Text(_at(service, now)),
        )
    console.print(table)


def _at(service: Service, now: float) -> str:
    """Return what it is at, each thing on a line of its own."""
    from streams.cli.units import counted, span

    record = service.record
    if service.lost:
        return f"silent for {span(now - record.time)}"
    works = [
        f"{'' if work.stage == record.service else f'{work.stage} '}{work.name}, {span(now - work.since)}"
        for work in record.in_work
    ]
    open_ = [f"{counted(record.open, 'association')} open"] if record.open else []
    return "\n".join([*([record.sentence] if record.sentence else []), *works, *open_])
