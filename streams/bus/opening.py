"""A bus by its URL."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Final

from schemas.errors import UsageError
from streams.bus.protocol import PARTITIONS, Bus


def open_bus(url: str, partitions: int | None = None) -> Bus:
    """Return the bus that a URL names; importing its client is left to this moment.

    Parameters
    ----------
    url : str
        ``memory:``, which is a new one at each call, ``embedded:DIR``, or ``kafka://HOST:PORT[,HOST:PORT]``.
    partitions : int, optional
        Of every topic; when absent as many as the topics have that are there, for the first 12.

    Raises
    ------
    UsageError
        If it names none.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme in _OPENERS:
        return _OPENERS[scheme](rest, partitions)
    known = ", ".join(_SPELLINGS)
    near = difflib.get_close_matches(scheme, _OPENERS, n=1)
    guess = f"did you mean {near[0]}:{rest}?" if near else f"choose from {known}"
    if not colon and "/" in url:
        guess = f"did you mean embedded:{url}?"
    raise UsageError(f"there is no bus {url!r}; {guess}")


def _memory(rest: str, partitions: int | None) -> Bus:
    from streams.bus.memory import MemoryBus

    if rest:
        raise UsageError(f"a bus in memory has no address, so memory:{rest} is none; write memory:")
    return MemoryBus(partitions=partitions or PARTITIONS)


def _embedded(rest: str, partitions: int | None) -> Bus:
    from streams.bus.embedded import EmbeddedBus

    if not rest:
        raise UsageError("embedded: needs a folder; write embedded:DIR")
    return EmbeddedBus(rest, partitions=partitions)


def _kafka(rest: str, partitions: int | None) -> Bus:
    from streams.bus.kafka import KafkaBus

    return KafkaBus(f"kafka:{rest}", partitions=partitions)


_OPENERS: Final[Mapping[str, Callable[[str, int | None], Bus]]] = {
    "memory": _memory,
    "embedded": _embedded,
    "kafka": _kafka,
}
_SPELLINGS: Final = ("memory:", "embedded:DIR", "kafka://HOST:PORT")
