"""A pipeline to take files in."""

from __future__ import annotations

import pytest

from streams.bus.memory import MemoryBus
from streams.current import events_of
from streams.site import Address, Site
from streams.store import Store
from streams.topics import TOPICS
from tests.streams.arrivals import arrive, simulated

__all__ = ["arrive", "simulated"]


@pytest.fixture
def site(tmp_path) -> Site:
    bus = MemoryBus()
    bus.create_topics(TOPICS)
    return Site(
        bus=bus,
        store=Store(tmp_path / "store"),
        address=Address(bus="memory:", store=str(tmp_path / "store")),
    )


@pytest.fixture
def events(site):
    """Return the events of a topic."""
    return lambda topic: list(events_of(site.bus, [topic]))


@pytest.fixture
def notes():
    """Hear what ingest tells."""

    class Heard(list):
        def planned(self, plans):
            pass

        def watching(self, folders):
            pass

        def taken(self, note):
            self.append(note)

    return Heard()
