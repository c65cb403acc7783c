"""What a service says of itself while it starts and works."""

from __future__ import annotations

import time

import pytest

from schemas.associations import Association, AssociationProduct, Member
from schemas.canonical import digest
from schemas.errors import Retriable
from schemas.events import AssociationEvent, RecipeReference, next_generation
from schemas.records import ServiceRecord
from streams.bus.memory import MemoryBus, MemoryConsumer
from streams.envelope import pack
from streams.recipes import freeze
from streams.roots import put_association
from streams.service import behind
from streams.service.loop import Service
from streams.service.options import ServiceOptions
from streams.service.slot import Slot
from streams.topics import SERVICES

from .support import RECIPE, TO_RAMP, events, publish, running, set_environment, site_at, until

PRODUCT = "jw01234-o001_t001_nircam_clear-f200w"


@pytest.fixture
def site(tmp_path, monkeypatch):
    set_environment(monkeypatch, tmp_path)
    monkeypatch.setenv("CALSTREAM_TEST_SLEEP", "2")
    return site_at(tmp_path)


def records(site):
    return [ServiceRecord.model_validate_json(m.value) for m in site.bus.read(SERVICES) if m.value]


def test_it_goes_on_saying_that_it_starts_while_its_children_take_long(site, monkeypatch):
    monkeypatch.setattr(Slot, "start", lambda slot: None)  # a child that is never ready
    said = []
    options = ServiceOptions(name="to_ramp", stages=(TO_RAMP,))
    service = Service(site, options, lambda: int(len(said) >= 3))
    service.announcer.record = service.announcer.record.model_copy(update={"interval": 0.0})
    publish = service.announcer.publish
    monkeypatch.setattr(service.announcer, "publish", lambda: (said.append(1), publish()))
    monkeypatch.setattr(service, "_listen", lambda pause: time.sleep(0.01))
    service._await_children()
    assert [record.state for record in records(site)] == ["starting"] * 3


def test_of_an_association_it_names_the_product_and_not_the_key(site):
    member = Member(expname="a_cal.fits", identity="main/a/cal", digest=digest("a"), uri="x")
    association = Association(
        asn_type="image3", program="01234", products=(AssociationProduct(name=PRODUCT, members=(member,)),)
    )
    event = AssociationEvent(
        name=PRODUCT, suffix="asn", generation=next_generation(time.time()), stage="to_combined",
        recipe=RecipeReference(name=RECIPE.name, digest=freeze(RECIPE, site.store)), members=1,
        association=put_association(site.store, association), association_id="0" * 32,
        keywords={"EXP_TYPE": "NRC_IMAGE", "PROGRAM": "01234"},
    )  # fmt: skip
    with running(site, name="to_combined", stages=("tests.streams.service.stages:TO_COMBINED",)):
        site.bus.publish([pack(event)])
        works = until(lambda: [work for record in records(site) for work in record.in_work])
    assert {work.name for work in works} == {PRODUCT}


def test_a_look_at_the_lag_that_fails_is_left_out_and_changes_nothing(site, monkeypatch):
    fails, looks, rewinds = [True], [], []
    lag, rewind = MemoryBus.lag, MemoryConsumer.rewind

    def look(bus, group, topics):
        looks.append(bool(fails))
        if fails:
            raise Retriable("the brokers do not answer; check them")
        return lag(bus, group, topics)

    monkeypatch.setattr(MemoryBus, "lag", look)
    monkeypatch.setattr(MemoryConsumer, "rewind", lambda consumer: rewinds.append(1) or rewind(consumer))
    monkeypatch.setattr(behind, "INTERVAL", 0.05)
    publish(site, "plain_1")
    with running(site) as service:
        until(lambda: looks.count(True) > 2 or not service.thread.is_alive())
        until(lambda: events(site, "ramp") or not service.thread.is_alive())
        fails.clear()
        until(lambda: False in looks or not service.thread.is_alive())
    assert {record.state for record in records(site)} == {"starting", "ready", "stopping", "stopped"}
    assert {record.sentence for record in records(site)} == {""}
    assert rewinds == []
