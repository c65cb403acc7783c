"""Which products are current: worked out from events alone, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.errors import Unprocessable
from schemas.events import Event, ProductEvent, is_current
from schemas.naming import LEVELS
from streams.bus import Bus
from streams.envelope import unpack


def current_products(events: Iterable[Event]) -> dict[str, ProductEvent]:
    """Return the current product of every identity.

    Parameters
    ----------
    events : iterable of Event
        Those that are no products do not count.
    """
    current: dict[str, ProductEvent] = {}
    for event in events:
        if isinstance(event, ProductEvent):
            known = current.get(event.identity)
            if known is None or is_current(event, known):
                current[event.identity] = event
    return current


def events_of(bus: Bus, topics: Iterable[str] = LEVELS, since: float = float("-inf")) -> Iterator[Event]:
    """Yield the events of topics that are there, in order of their publishing; what is none is left out.

    Topics that were never made count as empty.
    """
    there = set(bus.topics())
    for topic in topics:
        if topic in there:
            for message in bus.read(topic, since):
                try:
                    yield unpack(message)
                except Unprocessable:  # it lies in the dead letters, too
                    continue
