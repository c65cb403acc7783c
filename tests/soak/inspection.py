"""Whether everything was done, once, and nothing is left over."""

from __future__ import annotations

from collections import Counter

from schemas.events import parse_event
from streams.store import Store
from streams.topics import is_dead_letters
from tests.soak.downlink import DITHERS

TOPICS = ("raw", "ramp", "rate", "cal", "combined")


def expected(exposures):
    """Return how many events each topic is to have in the end."""
    return {topic: exposures // DITHERS if topic == "combined" else exposures for topic in TOPICS}


def faults(bus, store, exposures):
    """Return what is wrong, as sentences; none when all is right."""
    found = list(_wrong_events(bus, store, exposures))
    runs = sum(len(store.names(f"runs/{start}")) for start in store.names("runs"))
    wanted = sum(number for topic, number in expected(exposures).items() if topic != "raw")
    if runs != wanted:
        found.append(f"{runs} runs in the store, {wanted} expected")
    found += [
        f"{len(store.names(left))} left in {left}" for left in ("attempts", "incoming") if store.names(left)
    ]
    return found


def _wrong_events(bus, store: Store, exposures):
    for topic, number in expected(exposures).items():
        events = [parse_event(message.value) for message in bus.read(topic)]
        again = [name for name, times in Counter(event.identity for event in events).items() if times > 1]
        if len(events) != number or again:
            yield f"{topic}: {len(events)} events, {number} expected; more than once: {again[:3]}"
        for event in events:
            if event.outcome != "complete":
                yield f"{topic}: {event.name} was {event.outcome}"
            if topic == "combined" and event.input_count != DITHERS:
                yield f"{event.name} is made of {event.input_count} exposures"
            with store.fetch(event.product):  # its size is what the event says
                pass
    for topic in ("failures", *filter(is_dead_letters, bus.topics())):
        if number := sum(1 for _ in bus.read(topic)):
            yield f"{number} messages on {topic}"
