"""Which events are replayed: of each identity the current product, if it satisfies the conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from schemas.errors import Unprocessable, UsageError
from schemas.events import Event, ProductEvent, is_current
from streams.bus import Bus
from streams.current import events_of
from streams.envelope import unpack
from streams.topics import ASSOCIATION, EVENTS

TOPICS: Final = ("raw", "ramp", "rate", "cal")
"""What can be replayed."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What an event must satisfy.

    Attributes
    ----------
    where : callable, optional
        ``where(event)`` tells whether it is meant.
    since, until : float
        Bounds on when it was published, seconds since 1970; the first is included, the second is not.
    line : str, optional
        The line that it is on; any when absent.
    """

    where: Callable[[Event], bool] | None = None
    since: float = -math.inf
    until: float = math.inf
    line: str | None = None

    def hold(self, event: Event, time: float) -> bool:
        """Tell whether an event that was published at a time is meant."""
        return (
            self.since <= time < self.until
            and (self.line is None or event.line == self.line)
            and (self.where is None or self.where(event))
        )


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was chosen of a topic.

    Attributes
    ----------
    topic : str
        The topic.
    events : tuple of ProductEvent
        By identity.
    newest : str
        The largest generation on the bus; empty if there is none.
    """

    topic: str
    events: tuple[ProductEvent, ...]
    newest: str = ""


def choose(bus: Bus, topic: str, conditions: Conditions) -> Selection:
    """Return the events of a topic that conditions choose.

    What was superseded is never chosen, whatever the conditions say: replayed, it would become current.

    Parameters
    ----------
    bus : Bus
        With the topic on it.
    topic : str
        One of `TOPICS`.
    conditions : Conditions
        What they must satisfy.

    Raises
    ------
    UsageError
        If the topic cannot be replayed.
    """
    demand_replayable(topic)
    newest = max((event.generation for event in events_of(bus, EVENTS)), default="")
    current: dict[str, tuple[ProductEvent, float]] = {}
    for message in bus.read(topic):
        try:
            event = unpack(message)
        except Unprocessable:  # it lies in the dead letters
            continue
        if isinstance(event, ProductEvent):
            known = current.get(event.identity)
            if known is None or is_current(event, known[0]):
                current[event.identity] = event, message.timestamp
    chosen = (event for _, (event, time) in sorted(current.items()) if conditions.hold(event, time))
    return Selection(topic=topic, events=tuple(chosen), newest=newest)


def demand_replayable(topic: str) -> None:
    """Refuse a topic that cannot be replayed, and say what to replay instead."""
    if topic in TOPICS:
        return
    if topic in (ASSOCIATION, "combined"):
        raise UsageError(
            f"{topic} cannot be replayed, associations are made anew when their members come again; replay "
            "cal: nothing is computed again but what is made of the associations"
        )
    raise UsageError(f"{topic} cannot be replayed; choose one of {', '.join(TOPICS)}")
