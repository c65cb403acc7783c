"""``calstream status``: one look at a pipeline."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams.cli.places import BusOption, DebugOption, bus_there


def command(
    bus: BusOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: everything, as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Show a pipeline at this moment: what waits, how fast it goes, what is wrong.

    For each topic and the service that reads it: messages (all), those that wait (lag), messages a second, in
    work, how long the oldest one waits, dead letters, and when the lag is gone at this rate. No service needs
    to run.
    """
    from streams.cli.console import standard_output
    from streams.cli.picture import facts, picture
    from streams.overview import look

    there, url = bus_there(bus)
    overview = look(there)
    there.close()
    if as_json:
        typer.echo(json.dumps(facts(overview), indent=2))
    else:
        standard_output().print(picture(overview, url))
