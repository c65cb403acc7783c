"""``calstream up``: all services of one machine under one supervisor."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.serve import (
    DeadlineOption,
    FreeOption,
    GraceOption,
    MemoryOption,
    PromisedOption,
    QuietOption,
    SlotsOption,
)
from streams.cli.there import BusOption, DebugOption, StoreOption

if TYPE_CHECKING:
    from streams.overview import Overview
    from streams.site import Address, Site
    from streams.supervisor import Managed, Supervisor


def command(
    bus: BusOption = None,
    store: StoreOption = None,
    ingest: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Also ingest this file or folder.", show_default=False),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on watching what is ingested.")] = False,
    every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Pause between the files that are ingested.")
    ] = 0.0,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Stop when there is nothing left to do.")
    ] = False,
    fuse: Annotated[
        bool, typer.Option("--fuse", help="Go from raw to rate in one service that stores no ramp.")
    ] = False,
    slots: SlotsOption = 1,
    deadline: DeadlineOption = 3600.0,
    grace: GraceOption = 30.0,
    memory: MemoryOption = 4.0,
    free: FreeOption = 0.1,
    quiet_period: QuietOption = 600.0,
    association_deadline: PromisedOption = 86400.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Services log what happens.")] = False,
    debug: DebugOption = False,
) -> None:
    """Run all services of this machine, and start anew what ends by mistake.

    Without --bus and --store, and the variables CALSTREAM_BUS and CALSTREAM_STORE, all is kept in the folder
    calstream-data here. Ctrl-C lets what is in work be finished; a second one stops at once. The exit code is
    1 if --until-idle ends with failures.
    """
    from streams.service.table import ROAD, group_of
    from streams.site import address
    from streams.supervisor import Managed

    where = address(bus, store, create=True)
    shared = [
        f"--slots={slots}", f"--deadline={deadline}", f"--grace={grace}", f"--memory={memory}",
        f"--free={free}", f"--quiet-period={quiet_period}", f"--association-deadline={association_deadline}",
        *(["--verbose"] if verbose else []),
    ]  # fmt: skip
    road = [("detector1+ramp_fit" if fuse and name == "detector1" else name) for name in ROAD]
    managed = [Managed(name=name, arguments=("serve", name, *shared), group=group_of(name)) for name in road]
    if ingest:
        extra = ["--watch"] if watch else [f"--every={every}"]
        paths = [str(path) for path in ingest]
        managed.append(Managed(name="ingest", arguments=("ingest", *paths, *extra), again=watch))
    raise typer.Exit(_run(where, managed, until_idle=until_idle, grace=grace))


def _run(where: Address, managed: list[Managed], *, until_idle: bool, grace: float) -> int:
    from streams.logs import configure
    from streams.service.serving import Stopping
    from streams.site import open_site
    from streams.supervisor import Supervisor, last_line

    configure()
    site = open_site(where)
    folder = run_folder(where)
    typer.echo(f"bus {where.bus}\nstore {where.store}\nlogs {folder / 'logs'}")
    supervisor = Supervisor(where, managed, folder / "logs")
    stopping = Stopping()
    with stopping.on_signals():
        supervisor.start()
        try:
            failures = _attend(site, supervisor, stopping, folder, until_idle=until_idle)
        finally:
            supervisor.stop(stopping, grace + 30)
            site.bus.close()
    for one in supervisor.failed():
        said = last_line(folder / "logs" / f"{one.name}.log")
        typer.echo(f"calstream: {one.name} failed: {said}", err=True)
    return int(until_idle and (failures or bool(supervisor.failed())))


def run_folder(where: Address) -> Path:
    """Return the folder for logs and targets: beside an embedded bus, else ``calstream-data`` here."""
    from streams.site import DATA

    scheme, _, rest = where.bus.partition(":")
    return Path(rest) if scheme == "embedded" else DATA.absolute()


def _attend(site: Site, supervisor: Supervisor, stopping: Any, folder: Path, *, until_idle: bool) -> bool:
    """Keep everything running, and show it, until told to stop or idle; tell whether there were failures."""
    from streams.cli.top import Watch
    from streams.health import write_targets
    from streams.roster import records

    watch = Watch(site.bus)
    before = watch.look()
    seen = before
    with _shown(site) as show:
        while not stopping():
            supervisor.mend()
            seen = watch.look()
            show(seen, watch.failure)
            write_targets(records(site.bus), folder / "targets.json")
            if until_idle and supervisor.done(seen):
                break
            time.sleep(0.5)
    return seen.failures > before.failures or seen.dead_letters > before.dead_letters


@contextmanager
def _shown(site: Site) -> Iterator[Any]:
    """Show the pipeline: live on a terminal, line by line elsewhere."""
    if not sys.stdout.isatty():
        yield _Lines(site)
        return
    from rich.console import Console
    from rich.live import Live

    from streams.cli.picture import picture

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        yield lambda seen, failure: live.update(
            picture(seen, site.address.bus, failure=failure), refresh=True
        )


class _Lines:
    """Tells of every event as it comes."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._since = time.time()
        self._told: set[tuple[str, int, int]] = set()

    def __call__(self, seen: Overview, failure: str) -> None:
        from streams.topics import EVENTS

        if failure:
            typer.echo(failure, err=True)
        for topic in EVENTS:
            for message in self._site.bus.read(topic, self._since - 5):
                place = (topic, message.partition, message.offset)
                if message.timestamp >= self._since - 5 and place not in self._told:
                    self._told.add(place)
                    typer.echo(line_of(topic, message.value))
        self._since = max(self._since, seen.time)


def line_of(topic: str, value: bytes) -> str:
    """Return an event as a line of text."""
    from schemas.errors import CalstreamError
    from schemas.events import FailureEvent, ProductEvent, parse_event

    try:
        event = parse_event(value)
    except CalstreamError as error:
        return f"{topic}: {error}"
    if isinstance(event, FailureEvent):
        return f"{'failed':12}{event.name}: {event.message}"
    outcome = event.outcome if isinstance(event, ProductEvent) and event.stage else ""
    return f"{topic:12}{event.name} {outcome}".rstrip()
