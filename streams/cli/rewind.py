"""``calstream rewind``: a stopped service reads again what it has read."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, opened


def command(
    service: Annotated[
        str, typer.Argument(help="detector1, ramp_fit, image2, associator, ...", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="earliest, a time (2026-11-24T06:30, UTC), or an age (2h, 3d).",
            show_default=False,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what it would read again; move nothing.")
    ] = False,
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Move a stopped service back, so that it takes again what was published since then.

    What it has done already it finds done. To redo work under another recipe, use replay.
    """
    from streams.cli.console import new_table, standard_output
    from streams.rewind import demand_stopped, move_back, rewound
    from streams.times import moment

    when = -math.inf if to == "earliest" else moment(to)
    with opened(bus, store) as site:
        rewind = rewound(site.bus, service, when)
        demand_stopped(site.bus, rewind.service)
        if not dry_run:
            move_back(site.bus, rewind)
        table = new_table("topic", "messages again")
        for topic, number in rewind.again.items():
            table.add_row(topic, str(number))
        standard_output().print(table)
        total = sum(rewind.again.values())
        said = "would read" if dry_run else "will read"
        typer.echo(f"{service} {said} {total} message{'' if total == 1 else 's'} again")
