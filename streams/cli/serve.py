"""``calstream serve``: services in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import UsageError
from streams.cli.places import BusOption, DebugOption, StoreOption

if TYPE_CHECKING:
    from streams.service.options import ServiceOptions

SlotsOption = Annotated[
    int, typer.Option(min=1, help="Children that compute side by side, for each service.")
]
DeadlineOption = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="How long a run may compute before it is killed.")
]
GraceOption = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="How long work may go on after SIGTERM.")
]
MemoryOption = Annotated[
    float, typer.Option(min=0.25, metavar="GIB", help="A child that holds more after a run is replaced.")
]
FreeOption = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="FRACTION", help="Of the store's disk that must be free for work to begin."
    ),
]
QuietOption = Annotated[
    float,
    typer.Option(
        min=0, metavar="SECONDS", help="Without a plan an association goes out after so much quiet."
    ),
]
PromisedOption = Annotated[
    float,
    typer.Option(min=0, metavar="SECONDS", help="How long members that a plan promises are waited for."),
]


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="SERVICE",
            help="detector1, ramp_fit, image2, image3, associator; detector1+ramp_fit stores no ramp.",
            show_default=False,
        ),
    ],
    bus: BusOption = None,
    store: StoreOption = None,
    slots: SlotsOption = 1,
    deadline: DeadlineOption = 3600.0,
    grace: GraceOption = 30.0,
    memory: MemoryOption = 4.0,
    free: FreeOption = 0.1,
    quiet_period: QuietOption = 600.0,
    association_deadline: PromisedOption = 86400.0,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of /metrics, /healthz, /readyz; 0 for any.")
    ] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
    log_format: Annotated[str, typer.Option(help="Of logs: console or json.")] = "console",
    debug: DebugOption = False,
) -> None:
    """Run services until SIGTERM or Ctrl-C.

    What is in work then is finished within the grace period; a second signal stops at once, and what was in
    work is done by others.
    """
    from streams.service.options import ServiceOptions
    from streams.service.slot import Limits

    options = ServiceOptions(
        name="",
        stages=(),
        slots=slots,
        limits=Limits(deadline=deadline, memory=int(memory * 2**30)),
        grace=grace,
        free=free,
        step_packages=_allowed(),
        warm=True,
        metrics_port=metrics_port,
        log_level=logging.INFO if verbose else logging.WARNING,
        log_format=log_format,
    )
    _serve(tuple(names), bus, store, options, (quiet_period, association_deadline))


def _serve(
    names: tuple[str, ...],
    bus: str | None,
    store: str | None,
    options: ServiceOptions,
    waits: tuple[float, float],
) -> None:
    from streams.associator.drafts import Patience
    from streams.kernel_cache import use_kernel_cache
    from streams.logs import configure
    from streams.service.serving import Stopping, serve
    from streams.service.table import ASSOCIATOR, demand_services
    from streams.site import address, open_site
    from streams.supervisor import end_with_supervisor

    demand_services(names)
    if options.log_format not in ("console", "json"):
        raise UsageError(f"--log-format {options.log_format}: choose console or json")
    stopping = Stopping()
    with stopping.on_signals():
        end_with_supervisor()
        configure(options.log_level, "json" if options.log_format == "json" else "console")
        if set(names) - {ASSOCIATOR}:
            demand_references()
            use_kernel_cache()
        site = open_site(address(bus, store))
        patience = Patience(quiet=waits[0], deadline=waits[1])
        try:
            serve(site, names, options, patience, stopping, told=_told, prepare=_compile_kernels)
        finally:
            site.bus.close()


def _allowed() -> tuple[str, ...]:
    import os

    from streams.replacements import allowed_packages

    return allowed_packages(os.environ)


def demand_references() -> None:
    """Refuse to start without a CRDS cache: every event would fail for the same reason."""
    import os

    if not (os.environ.get("CRDS_PATH") or os.environ.get("CRDS_PATH_SINGLE")):
        raise UsageError(
            "CRDS_PATH is not set; export CRDS_PATH=FOLDER with the folder of a CRDS cache, and "
            "CRDS_SERVER_URL=https://jwst-crds.stsci.edu to have it filled as needed"
        )


def _compile_kernels(going_on: Callable[[], bool]) -> None:
    """Compile in another process: a compiler that has worked keeps a quarter of a gigabyte."""
    import subprocess
    import sys

    compiler = subprocess.Popen([sys.executable, "-P", "-m", "streams.warm"])
    while compiler.poll() is None:
        if not going_on():
            compiler.terminate()
        with suppress(subprocess.TimeoutExpired):
            compiler.wait(0.2)


def _told(address: str) -> None:
    typer.echo(f"metrics and health at http://{address}")
