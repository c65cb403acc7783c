"""``calstream top``: a pipeline as it goes on."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import CalstreamError, UsageError
from streams.cli.places import BusOption, DebugOption, bus_there

if TYPE_CHECKING:
    from streams.bus import Bus
    from streams.overview import Overview


class Watch:
    """Looks at a pipeline again and again, and works out rates from the looks of the last minute.

    Parameters
    ----------
    bus : Bus
        Of the pipeline.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._past: deque[Overview] = deque()
        self.failure = ""

    def look(self) -> Overview:
        """Return a new look; while the bus cannot be read the last one, `failure` saying why.

        Raises
        ------
        CalstreamError
            If the first look fails.
        """
        from streams.overview import WINDOW, look

        try:
            seen = look(self._bus, past=self._past)
            self.failure = ""
        except CalstreamError as error:
            if not self._past:
                raise
            self.failure = str(error)
            return self._past[-1]
        self._past.append(seen)
        while len(self._past) > 1 and self._past[1].time < seen.time - WINDOW:
            self._past.popleft()
        return seen


def command(
    bus: BusOption = None,
    interval: Annotated[
        float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="Time between two looks.")
    ] = 1.0,
    debug: DebugOption = False,
) -> None:
    """Show a pipeline live, until Ctrl-C.

    What `calstream status` shows, refreshed every second.
    """
    from rich.console import Console
    from rich.live import Live

    from streams.cli.picture import picture

    if not sys.stdout.isatty():
        raise UsageError("calstream top draws on a terminal; here `calstream status` or `--json` serves you")
    there, url = bus_there(bus)
    watch, console = Watch(there), Console(highlight=False)
    seen = watch.look()
    try:
        with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                live.update(picture(seen, url, failure=watch.failure), refresh=True)
                time.sleep(interval)
                seen = watch.look()
    except KeyboardInterrupt as stop:
        if type(stop) is not KeyboardInterrupt:  # SIGTERM, which has an exit code of its own
            raise
    finally:
        there.close()
    console.print(picture(seen, url, failure=watch.failure))
