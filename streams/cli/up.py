"""``calstream up``: all services of one machine under one supervisor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption
from streams.cli.serve import (
    DeadlineOption,
    FreeOption,
    GraceOption,
    MemoryOption,
    PromisedOption,
    QuietOption,
    SlotsOption,
)

if TYPE_CHECKING:
    from streams.cli.attendance import Shown
    from streams.service.serving import Stopping
    from streams.site import Address, Site
    from streams.supervisor import Managed, Supervisor

_LOOK = 0.5
"""Seconds between two looks."""
_LONGEST = 30.0
"""Seconds that services get beyond their grace period before they are killed."""


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
    env: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Put CALSTREAM_BUS and CALSTREAM_STORE into this shell file, whatever else is in it; other "
            "commands go on from there once it is sourced.",
            show_default=False,
        ),
    ] = None,
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
    calstream-data here. Ctrl-C lets what is in work be finished; a second one stops at once. With
    --until-idle files are ingested once the services are ready, and the exit code is 1 if anything failed.
    """
    from streams.cli.serve import demand_references
    from streams.service.table import ROAD, group_of
    from streams.site import add_to_environment_file, address
    from streams.supervisor import Managed

    demand_references()
    where = address(bus, store, create=True)
    if env is not None:
        add_to_environment_file(env, where)
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
        managed.append(
            Managed(name="ingest", arguments=("ingest", *paths, *extra), again=watch, last=until_idle)
        )
    raise typer.Exit(_run(where, managed, until_idle=until_idle, grace=grace, env=env))


def _run(where: Address, managed: list[Managed], *, until_idle: bool, grace: float, env: Path | None) -> int:
    from streams.cli.attendance import shown
    from streams.logs import configure
    from streams.service.serving import Stopping
    from streams.site import open_site
    from streams.supervisor import Supervisor

    configure()
    site = open_site(where, begin=True)
    folder = run_folder(where)
    began = time.time()
    stopping = Stopping()
    with stopping.on_signals():
        try:
            with shown(site, folder) as show:
                supervisor = Supervisor(where, managed, folder / "logs", show.complain)
                code = _attended(site, supervisor, stopping, show, (folder, until_idle, grace))
            show.summary(supervisor, began, env)
            return code or int(until_idle and show.failed(supervisor, began))
        finally:
            site.bus.close()


def run_folder(where: Address) -> Path:
    """Return the folder for logs and targets: an embedded bus's own, else that in which a local store is.

    Without either it is ``calstream-data`` here.
    """
    from streams.site import DATA
    from streams.store import local_path

    scheme, _, rest = where.bus.partition(":")
    store = local_path(where.store)
    if scheme == "embedded":
        return Path(rest)
    return DATA.absolute() if store is None else store.parent


def _attended(
    site: Site, supervisor: Supervisor, stopping: Stopping, show: Shown, how: tuple[Path, bool, float]
) -> int:
    """Run everything until told to stop, or idle; return the exit code, 0 if nothing went wrong here."""
    folder, until_idle, grace = how
    supervisor.start()
    try:
        code = _attend(site, supervisor, stopping, show, (folder, until_idle))
    finally:
        if stopping() == 1:
            show.complain("what is in work is finished first; Ctrl-C again stops at once")
        supervisor.stop(stopping, grace + _LONGEST)
    show.last()
    return 128 + stopping.number if until_idle and stopping() else code


def _attend(
    site: Site, supervisor: Supervisor, stopping: Stopping, show: Shown, how: tuple[Path, bool]
) -> int:
    from streams.health import write_targets
    from streams.roster import records

    folder, until_idle = how
    while not stopping():
        supervisor.mend()
        seen = show.look(supervisor)
        supervisor.go_on(seen)
        write_targets(records(site.bus), folder / "targets.json")
        if until_idle and supervisor.done(seen):
            return 0
        if until_idle and (lost := supervisor.hopeless()):
            show.complain(f"{lost.name} ends again and again; {folder / 'logs' / lost.name}.log tells more")
            return 1
        time.sleep(_LOOK)
    return 0
