"""Buses to test, and what their tests share.

A bus joins the contract by one more entry of `FACTORIES`. Nothing here relies on a member having its
partitions the moment it joined, on offsets without gaps, or on a first poll that finds all there is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streams.bus import PARTITIONS, Bus, Consumer, Message, Outgoing, Position
from streams.bus.embedded import EmbeddedBus
from streams.bus.memory import MemoryBus
from tests.streams.bus.brokers import empty_bus

DEADLINE = 60.0


@dataclass(frozen=True)
class Factory:
    """Makes a bus in an empty folder; `lacks` says why it skips what it cannot do."""

    make: Callable[[Path], Bus]
    lacks: Mapping[str, str] = field(default_factory=dict)

    def demand(self, what: str) -> None:
        if what in self.lacks:
            pytest.skip(self.lacks[what])


_KAFKA_LACKS = {
    "a clock of our own": "messages are put in order of their times, whoever's clock that was",
    "polls in order": "what has come from the brokers first is theirs to say",
}

FACTORIES: dict[str, Factory] = {
    "memory": Factory(lambda folder: MemoryBus()),
    "embedded": Factory(EmbeddedBus),
    "kafka": Factory(lambda folder: empty_bus(1, lease=DEADLINE), lacks=_KAFKA_LACKS),
}
if os.environ.get("CALSTREAM_CHAOS"):
    FACTORIES["kafka-3"] = Factory(lambda folder: empty_bus(3, lease=DEADLINE), lacks=_KAFKA_LACKS)


def said(topic: str, key: str, text: str) -> Outgoing:
    return Outgoing(topic=topic, key=key, value=text.encode(), headers={"ce_id": text})


def positions(*topics: str) -> set[Position]:
    return {(topic, partition) for topic in topics for partition in range(PARTITIONS)}


def take(consumer: Consumer, count: int, limit: int = 64) -> list[Message]:
    """Poll until `count` messages have come, and once more: there must not be any other."""
    found: list[Message] = []
    deadline = time.monotonic() + DEADLINE
    while len(found) < count and time.monotonic() < deadline:
        batch = consumer.poll(1, limit)
        assert len(batch) <= limit
        found += batch
    found += consumer.poll(0.05, limit)
    assert len(found) == count, f"{len(found)} messages instead of {count}"
    return found


def settle(consumers: Iterable[Consumer], wanted: Iterable[Position]) -> list[set[Position]]:
    """Let members keep up until they share all of `wanted`, each partition with one of them."""
    members, everything = list(consumers), set(wanted)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        held = [set(member.keep()) for member in members]
        if sum(map(len, held)) == len(everything) and set().union(*held) == everything:
            return held
        time.sleep(0.01)
    raise AssertionError(f"they never shared all: {held}")


def values(messages: Iterable[Message]) -> list[bytes]:
    return [message.value for message in messages]
