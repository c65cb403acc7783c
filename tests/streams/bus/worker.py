"""Processes of the tests of the embedded bus: run by path, spoken to by standard input and output.

``worker.py work FOLDER LEASE``: makes a `ramp` of each `raw`, in transactions, until it is killed.
``worker.py hold FOLDER LEASE``: polls, says so, and commits when it is told to.
``worker.py publish FOLDER FIRST LAST``: publishes numbers, one transaction each ten, on forty keys.
"""

from __future__ import annotations

import os
import sys

from streams.bus import Outgoing, PartitionLost
from streams.bus.embedded import EmbeddedBus


def ramps(batch):
    return [Outgoing(topic="ramp", key=m.key, value=m.value) for m in batch]


def say(*words) -> None:
    print(*words, flush=True)


def work(folder: str, lease: str) -> None:
    consumer = EmbeddedBus(folder, lease=float(lease)).consumer("g", ["raw"])
    say("ready")
    while True:
        batch = consumer.poll(1, 16)
        try:
            consumer.commit(batch, ramps(batch))
        except PartitionLost:
            held = consumer.keep()
            rest = [m for m in batch if held.get(m.position) == m.epoch]
            try:
                consumer.commit(rest, ramps(rest))
            except PartitionLost:
                consumer.rewind()


def hold(folder: str, lease: str) -> None:
    consumer = EmbeddedBus(folder, lease=float(lease)).consumer("g", ["raw"])
    batch = consumer.poll(60)
    say("polled", len(batch))
    for line in sys.stdin:
        if line == "commit\n":
            try:
                consumer.commit(batch, ramps(batch))
                say("committed")
            except PartitionLost as lost:
                say("lost", len(lost.positions))
        elif line == "keep\n":
            say("held", len(consumer.keep()))


def publish(folder: str, first: str, last: str) -> None:
    bus = EmbeddedBus(folder)
    bus.create_topics(["raw", "ramp"])
    numbers = range(int(first), int(last))
    for start in numbers[::10]:
        some = range(start, min(start + 10, numbers.stop))
        bus.publish([Outgoing(topic="raw", key=f"k{i % 40}", value=f"{i:06}".encode()) for i in some])


if __name__ == "__main__":
    {"work": work, "hold": hold, "publish": publish}[sys.argv[1]](*sys.argv[2:])
    os._exit(0)  # nobody says goodbye
