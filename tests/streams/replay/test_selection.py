"""Which events are replayed."""

from __future__ import annotations

import pytest

from schemas.canonical import digest
from schemas.errors import UsageError
from schemas.events import Artifact, ProductEvent, RecipeReference
from streams.bus import Outgoing
from streams.bus.memory import MemoryBus
from streams.envelope import pack
from streams.replay import Conditions, choose
from streams.topics import TOPICS
from streams.where import where


def rate(name, born=1, detector="NRCA1", line="main", topic="rate"):
    what = f"{name}-{born}"
    return ProductEvent(
        topic=topic, line=line, name=name, suffix="rate", generation=f"{born:026d}",
        keywords={"DETECTOR": detector}, recipe=RecipeReference(name="optimal", digest=digest("optimal")),
        product=Artifact(uri=f"memory:/{what}", size=1, sha256=digest(what), content=digest(what)),
        run_key=digest(what),
    )  # fmt: skip


@pytest.fixture
def bus():
    made = MemoryBus()
    made.create_topics(TOPICS)
    return made


def say(bus, *events):
    bus.publish([pack(event) for event in events])


def names(bus, **conditions):
    return [(e.line, e.name, int(e.generation)) for e in choose(bus, "rate", Conditions(**conditions)).events]


def test_the_current_product_of_each_identity_in_whatever_order_they_came(bus):
    say(bus, rate("one", 3), rate("one", 2), rate("two"), rate("one", line="test"))
    assert names(bus) == [("main", "one", 3), ("main", "two", 1), ("test", "one", 1)]


def test_what_was_superseded_is_never_chosen(bus):
    say(bus, rate("one", 1, "NRCA1"), rate("one", 2, "NRCA3"))
    assert names(bus, where=where("detector == 'NRCA1'")) == []
    assert names(bus, where=where("generation < '00000000000000000000000002'")) == []


def test_conditions_all_hold(bus):
    say(bus, rate("one"), rate("two", detector="NRCA3"), rate("one", line="test"))
    assert names(bus, where=where("detector == 'NRCA1'"), line="test") == [("test", "one", 1)]
    assert names(bus, line="nowhere") == []


def test_the_time_is_that_of_publishing(bus):
    say(bus, rate("one"))
    (message,) = bus.read("rate")
    assert len(names(bus, since=message.timestamp)) == 1
    assert names(bus, until=message.timestamp) == []
    assert names(bus, since=message.timestamp + 1) == []


def test_the_newest_generation_is_that_of_the_whole_bus(bus):
    assert choose(bus, "rate", Conditions()).newest == ""
    say(bus, rate("one", 1), rate("other", 77, topic="combined"))
    assert int(choose(bus, "rate", Conditions()).newest) == 77


def test_bytes_that_are_no_event_are_passed_over(bus):
    bus.publish([Outgoing(topic="rate", key="x", value=b"\xff")])
    say(bus, rate("one"))
    assert len(names(bus)) == 1


@pytest.mark.parametrize(
    ("topic", "hint"), [("combined", "replay cal"), ("failures", "raw, ramp, rate, cal")]
)
def test_topics_that_cannot_be_replayed(bus, topic, hint):
    with pytest.raises(UsageError, match=hint):
        choose(bus, topic, Conditions())
