"""Where a pipeline lives: its bus and its store, as options, environment or the folder at hand say."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import UsageError, explained
from streams.bus import Bus, Topic
from streams.store import Store
from streams.topics import TOPICS, every_topic

BUS: Final = "CALSTREAM_BUS"
STORE: Final = "CALSTREAM_STORE"
DATA: Final = Path("calstream-data")
"""Folder in which `calstream up` begins where nothing is said."""

_HEARSAY: Final = 2.0
"""Seconds for which one of several brokers may not know yet what was created on another."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where bus and store are.

    Attributes
    ----------
    bus, store : str
        URLs.
    """

    bus: str
    store: str

    def environment(self) -> dict[str, str]:
        """Return the variables that lead other commands here."""
        return {BUS: self.bus, STORE: self.store}


@dataclass(frozen=True, kw_only=True)
class Site:
    """An open bus with all topics, and a store.

    Attributes
    ----------
    bus : Bus
        Events.
    store : Store
        Products, manifests, recipes.
    address : Address
        Where they are.
    """

    bus: Bus
    store: Store
    address: Address


def address(
    bus: str | None, store: str | None, *, create: bool = False, environ: Mapping[str, str] = os.environ
) -> Address:
    """Return where bus and store are.

    Parameters
    ----------
    bus, store : str, optional
        As given on the command line; CALSTREAM_BUS and CALSTREAM_STORE when absent, else ``calstream-data``
        in the current folder.
    create : bool, optional
        Whether ``calstream-data`` may be new.

    Raises
    ------
    UsageError
        If nothing says where.
    """
    here = DATA.absolute()
    default = create or here.is_dir()
    bus = bus or environ.get(BUS) or (f"embedded:{here / 'bus'}" if default else None)
    store = store or environ.get(STORE) or (str(here / "store") if default else None)
    for name, option, found in ((BUS, "--bus", bus), (STORE, "--store", store)):
        if found is None:
            raise UsageError(
                f"nothing says where the {option[2:]} is: there is no folder {DATA} here; give {option}, or "
                f"set {name}, or start one with `calstream up`"
            )
    assert bus is not None
    assert store is not None
    return Address(bus=_absolute(bus), store=_absolute(store))


def add_to_environment_file(path: Path, where: Address) -> None:
    """Put the variables that lead to a pipeline into a shell file, and leave all else in it as it is.

    Raises
    ------
    CalstreamError
        If it cannot be written.
    """
    names = tuple(f"export {name}=" for name in where.environment())
    with explained(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if not line.startswith(names)]
        own = [f"export {name}={shlex.quote(value)}" for name, value in where.environment().items()]
        path.write_text("\n".join([*kept, *own]) + "\n")


def _absolute(url: str) -> str:
    """Return a URL that means the same in every folder."""
    scheme, colon, rest = url.partition(":")
    if scheme == "embedded" and rest:
        return f"embedded:{Path(rest).absolute()}"
    return url if colon else str(Path(url).absolute())


def open_site(where: Address, *, begin: bool = False) -> Site:
    """Open a bus and a store, and check the topics.

    Parameters
    ----------
    where : Address
        Of both.
    begin : bool, optional
        Whether a Kafka that has no topic of ours gets them; a bus in a folder always gets what it lacks.

    Raises
    ------
    UsageError
        If topics are not there, or are not as they must be.
    """
    from streams.bus.opening import open_bus

    bus = open_bus(where.bus)
    try:
        prepare_topics(bus, where.bus, begin=begin)
        return Site(bus=bus, store=Store(where.store), address=where)
    except BaseException:
        bus.close()
        raise


def prepare_topics(bus: Bus, url: str, *, begin: bool = False) -> None:
    """Make sure that all topics are there and as they must be, as :func:`open_site` does."""
    if not url.startswith("kafka:"):
        bus.create_topics(TOPICS)
        return
    every = every_topic()
    missing = _missing(bus, every)
    deadline = time.monotonic() + _HEARSAY
    while missing and not begin and time.monotonic() < deadline:
        time.sleep(0.2)
        missing = _missing(bus, every)
    if missing and not (begin and len(missing) == len(every)):
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise UsageError(
            f"{len(missing)} of {len(every)} topics are not on {url} ({some}); "
            f"run `calstream topics create --bus {url}`"
        )
    bus.create_topics(every)


def _missing(bus: Bus, every: Iterable[Topic]) -> list[str]:
    there = set(bus.topics())
    return [topic.name for topic in every if topic.name not in there]
