"""The associator as a service: what it looks at for its metrics must not end it."""

from __future__ import annotations

import threading
import time

import pytest

from processors.recipes import builtin
from schemas.errors import Retriable
from schemas.events import RecipeReference
from schemas.records import ServiceRecord
from streams.associator.service import AssociatorService
from streams.bus.memory import MemoryBus
from streams.envelope import pack
from streams.recipes import freeze
from streams.service import behind
from streams.site import Address, Site
from streams.store import Store
from streams.topics import SERVICES, TOPICS

from .made import cal


@pytest.fixture
def site(tmp_path):
    bus = MemoryBus()
    bus.create_topics(TOPICS)
    store = tmp_path / "store"
    return Site(bus=bus, store=Store(store), address=Address(bus="memory:", store=str(store)))


def test_a_look_at_the_lag_that_fails_is_left_out_and_changes_nothing(site, monkeypatch):
    fails, looks, errors, stop = [True], [], [], threading.Event()
    lag = MemoryBus.lag

    def look(bus, group, topics):
        looks.append(bool(fails))
        if fails:
            raise Retriable("the brokers do not answer; check them")
        return lag(bus, group, topics)

    def live():
        try:
            AssociatorService(site, lambda: int(stop.is_set())).run()
        except Exception as error:
            errors.append(error)

    def until(holds):
        end = time.monotonic() + 60
        while not holds() and thread.is_alive():
            assert time.monotonic() < end
            time.sleep(0.02)

    monkeypatch.setattr(MemoryBus, "lag", look)
    monkeypatch.setattr(behind, "INTERVAL", 0.05)
    thread = threading.Thread(target=live)
    thread.start()
    until(lambda: looks.count(True) > 1)
    reference = RecipeReference(name="optimal", digest=freeze(builtin("optimal"), site.store))
    site.bus.publish([pack(cal(1).with_(recipe=reference))])
    until(lambda: list(site.bus.read("association")))
    fails.clear()
    until(lambda: False in looks)
    stop.set()
    thread.join(60)
    assert errors == []
    assert len(list(site.bus.read("association"))) == 1
    records = [ServiceRecord.model_validate_json(m.value) for m in site.bus.read(SERVICES) if m.value]
    assert {record.state for record in records} == {"ready", "stopped"}
    assert {record.sentence for record in records} == {""}
