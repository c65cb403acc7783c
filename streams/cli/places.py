"""Where a pipeline lives: the options that say it, for all commands, and how it is opened."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.bus import Bus
    from streams.site import Site

BusOption = Annotated[
    str | None,
    typer.Option(
        "--bus",
        metavar="URL",
        help="The bus: embedded:DIR or kafka://HOST:PORT. [default: $CALSTREAM_BUS, else ./calstream-data]",
        show_default=False,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The store of products. [default: $CALSTREAM_STORE, else ./calstream-data]",
        show_default=False,
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]


@contextmanager
def opened(bus: str | None, store: str | None) -> Iterator[Site]:
    """Give the pipeline that the options, the environment or the folder at hand mean.

    Parameters
    ----------
    bus, store : str, optional
        As given on the command line.
    """
    from streams.site import address, open_site

    site = open_site(address(bus, store))
    try:
        yield site
    finally:
        site.bus.close()


def bus_there(url: str | None) -> tuple[Bus, str]:
    """Open the bus of a pipeline that is there; return it with its URL.

    Raises
    ------
    UsageError
        If nothing says where it is, or nothing is there.
    """
    from streams.site import address

    where = address(url, "none")  # the store is not looked at
    return _opened(where.bus), where.bus


def site_there(bus: str | None, store: str | None) -> Site:
    """Open bus and store of a pipeline that is there.

    Raises
    ------
    UsageError
        If nothing says where they are, or nothing is there.
    """
    from streams.site import Site, address
    from streams.store import Store

    where = address(bus, store)
    return Site(bus=_opened(where.bus), store=Store(where.store), address=where)


def _opened(url: str) -> Bus:
    from streams.bus.opening import open_bus
    from streams.site import prepare_topics

    scheme, _, rest = url.partition(":")
    nothing = UsageError(f"there is no pipeline at {url}; start one with `calstream up --bus {url}`")
    if scheme == "embedded" and not Path(rest).is_dir():
        raise nothing  # who only looks makes no folder
    bus = open_bus(url)
    if "raw" not in bus.topics():
        raise nothing
    prepare_topics(bus, url)
    return bus
