"""The options that say where a pipeline lives, for all commands that need one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.site import Site

BusOption = Annotated[
    str | None,
    typer.Option(
        "--bus",
        metavar="URL",
        help="Bus: embedded:FOLDER or kafka://HOST:PORT; CALSTREAM_BUS unless given.",
        show_default=False,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Product store: a folder, or any URL of fsspec; CALSTREAM_STORE unless given.",
        show_default=False,
    ),
]


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
