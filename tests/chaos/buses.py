"""Buses that services are killed on; one more entry of `FACTORIES` joins all tests here."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from streams.bus.embedded import EmbeddedBus
from streams.bus.embedded.database import NAME
from streams.bus.kafka import KafkaBus
from tests.chaos.points import Point
from tests.streams.bus.brokers import cluster, demand_kafka, empty_bus


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A kind of bus.

    Attributes
    ----------
    url : callable
        The URL of an empty one, which may live in an empty folder.
    points : mapping of str to Point
        Where a parent can be killed within it.
    shorten : callable
        Makes leases of so many seconds, for what this process opens from now on.
    demand : callable
        Skips a test where there is no such bus.
    naming : callable
        Variables by which a process has the same name at each start.
    lease : float
        The shortest one that a living member keeps on a busy machine, seconds.
    held : callable
        Tells whether a process has all others wait for it at this moment.
    """

    url: Callable[[Path], str]
    points: Mapping[str, Point]
    shorten: Callable[[float], None]
    demand: Callable[[], None] = lambda: None
    naming: Callable[[str], Mapping[str, str]] = lambda name: {}
    lease: float = 1.0
    held: Callable[[Path], bool] = lambda folder: False


def _shorten_embedded(lease: float) -> None:
    EmbeddedBus.__init__.__kwdefaults__["lease"] = lease


def _held_embedded(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "bus" / NAME, timeout=0)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


def _shorten_kafka(lease: float) -> None:
    KafkaBus.__init__.__kwdefaults__["lease"] = lease


def _empty_kafka(nodes: int) -> str:
    empty_bus(nodes).close()
    return f"kafka://{cluster(nodes).bootstrap}"


_EMBEDDED = "streams.bus.embedded.consumer:EmbeddedConsumer"
_MEMBER = "streams.bus.kafka.member:KafkaMember"
_PRODUCER = "kafka:KafkaProducer"


def _in_embedded(function: str) -> Point:
    return Point(f"streams.bus.embedded.{function}", "after", inside=f"{_EMBEDDED}.commit")


def _in_kafka(function: str) -> Point:
    return Point(function, "after", inside=f"{_MEMBER}.commit")


def _kafka(nodes: int) -> Factory:
    return Factory(
        url=lambda folder: _empty_kafka(nodes),
        points={
            "polled": Point(f"{_MEMBER}.poll", "after"),
            "begin": Point(f"{_MEMBER}.commit", "before"),
            "begun": _in_kafka(f"{_PRODUCER}.begin_transaction"),
            "send": _in_kafka("streams.bus.kafka.transactions:_send"),
            "sent": _in_kafka(f"{_PRODUCER}.flush"),
            "offsets": _in_kafka(f"{_PRODUCER}.send_offsets_to_transaction"),
            "commit": _in_kafka(f"{_PRODUCER}.commit_transaction"),
            "committed": Point(f"{_MEMBER}.commit", "after"),
        },
        shorten=_shorten_kafka,
        demand=demand_kafka,
        naming=lambda name: {"CALSTREAM_KAFKA_MEMBER": name},
        lease=3.0,
    )


FACTORIES = {
    "embedded": Factory(
        url=lambda folder: f"embedded:{folder / 'bus'}",
        points={
            "polled": Point(f"{_EMBEDDED}.poll", "after"),
            "begin": Point(f"{_EMBEDDED}.commit", "before"),
            "offsets": _in_embedded("groups:Groups.mark"),
            "send": _in_embedded("log:_insert"),
            "sent": _in_embedded("log:Log.append"),
            "committed": Point(f"{_EMBEDDED}.commit", "after"),
        },
        shorten=_shorten_embedded,
        held=_held_embedded,
    ),
    "kafka": _kafka(1),
    "kafka-3": _kafka(3),
}
"""By the name of the parameter `bus`; the last is of three brokers."""
NODES: Mapping[str, int] = {"kafka": 1, "kafka-3": 3}
