"""Moving a stopped service back, so that it reads again what it has read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from processors.options import suggestion
from schemas.errors import UsageError
from streams.bus import Bus, Position
from streams.topics import READERS


@dataclass(frozen=True, kw_only=True)
class Rewind:
    """Where a service is to go on.

    Attributes
    ----------
    service : str
        Name of its consumer group.
    offsets : mapping of Position to int
        Where to go back; partitions that have nothing to be read again are not in it.
    again : mapping of str to int
        By topic, how many messages it will read again.
    """

    service: str
    offsets: Mapping[Position, int]
    again: Mapping[str, int]


def rewound(bus: Bus, service: str, to: float) -> Rewind:
    """Return what going back to a time means for a service; nothing is moved.

    A partition where it has not come as far stays where it is: nothing is ever passed over.

    Parameters
    ----------
    bus : Bus
        With its topics.
    service : str
        Which service.
    to : float
        Seconds since 1970; what was published at that time or later comes again. Minus infinity for all.

    Raises
    ------
    UsageError
        If there is no such service.
    """
    group = service.partition("+")[0]  # a fused service is in the group of its first part
    if group not in READERS:
        raise UsageError(f"there is no service {group!r}; {suggestion(group, READERS)}")
    topics = READERS[group]
    committed = bus.committed(group, topics)
    again = Counter(dict.fromkeys(topics, 0))
    offsets: dict[Position, int] = {}
    for topic in topics:
        for position, offset in bus.offsets_at(topic, to).items():
            if offset < committed.get(position, 0):
                offsets[position] = offset
                again[topic] += bus.count({position: offset}, {position: committed[position]})
    return Rewind(service=group, offsets=offsets, again=again)


def move_back(bus: Bus, rewind: Rewind) -> None:
    """Move a service.

    Raises
    ------
    UsageError
        If it runs.
    """
    demand_stopped(bus, rewind.service)
    if rewind.offsets:
        bus.move(rewind.service, rewind.offsets)


def demand_stopped(bus: Bus, service: str) -> None:
    """Refuse a service that has living members."""
    if living := bus.members(service):
        processes = "1 process that runs" if len(living) == 1 else f"{len(living)} processes that run"
        raise UsageError(f"service {service} has {processes}; stop it first, then rewind it")
