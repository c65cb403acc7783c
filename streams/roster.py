"""Which services there are, as they say themselves on the bus, and whether that still holds."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from schemas.records import ServiceRecord
from streams.bus import Bus
from streams.topics import SERVICES

MISSED: Final = 3
"""So many of its intervals a service may keep silent before what it said counts as stale."""

_MEMORY: Final = 24 * 3600.0
_RECENT: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Service:
    """A process of a service, as others see it.

    Attributes
    ----------
    record : ServiceRecord
        What it said last.
    lost : str
        ``dead`` when its process is gone, ``stale`` when it keeps silent, else empty.
    """

    record: ServiceRecord
    lost: str = ""

    @property
    def state(self) -> str:
        """Return its state, or what has become of it."""
        return self.lost or self.record.state

    @property
    def live(self) -> bool:
        """Tell whether it runs."""
        return not self.lost and self.record.state != "stopped"

    @property
    def group(self) -> str:
        """Return its consumer group: of a fused service, that of its first stage."""
        return self.record.service.partition("+")[0]


def process_runs(pid: int) -> bool:
    """Tell whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def services(
    bus: Bus,
    now: float | None = None,
    *,
    host: str | None = None,
    runs: Callable[[int], bool] = process_runs,
) -> list[Service]:
    """Return the services of the last day by name and start.

    Those that have ended are left out when another process of the service runs; after ten minutes only if
    they died.

    Parameters
    ----------
    bus : Bus
        Where they say what they are at.
    now : float, optional
        Seconds since 1970.
    host : str, optional
        This machine, whose processes can be looked up.
    runs : callable, optional
        ``runs(pid)`` tells whether a process of this machine is there.
    """
    time_ = time.time() if now is None else now
    here = socket.gethostname() if host is None else host
    found = [Service(record=record, lost=_lost(record, time_, here, runs)) for record in _records(bus, time_)]
    found.sort(key=lambda service: (service.record.service, service.record.started, service.record.instance))
    return [service for service in found if _matters(service, found, time_)]


def records(bus: Bus, now: float | None = None) -> list[ServiceRecord]:
    """Return what the running services say, for whoever scrapes their metrics."""
    return [service.record for service in services(bus, now) if service.live]


def _records(bus: Bus, now: float) -> Iterable[ServiceRecord]:
    last: dict[str, bytes] = {}
    for message in bus.read(SERVICES, now - _MEMORY):
        last[message.key] = message.value
    for value in last.values():
        if value:
            try:
                yield ServiceRecord.model_validate_json(value)
            except ValidationError:  # a later version's
                continue


def _lost(record: ServiceRecord, now: float, host: str, runs: Callable[[int], bool]) -> str:
    if record.state == "stopped":
        return ""
    if record.host == host and not runs(record.pid):
        return "dead"
    return "stale" if now - record.time > MISSED * record.interval else ""


def _matters(service: Service, every: list[Service], now: float) -> bool:
    if service.live:
        return True
    others = [other for other in every if other.group == service.group and other is not service]
    if any(other.live for other in others):
        return bool(service.lost) and now - service.record.time < _RECENT
    return all(other.record.time < service.record.time for other in others)
