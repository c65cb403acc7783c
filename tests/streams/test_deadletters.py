"""Dead letters: what they say, and that each is retried once."""

from __future__ import annotations

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from schemas.canonical import digest
from schemas.errors import UsageError
from schemas.events import Artifact, ProductEvent, RecipeReference
from streams import marks
from streams.bus import Outgoing
from streams.bus.memory import MemoryBus
from streams.deadletters import chosen, dead_letter, dead_letter_topics, drop, letters, retry, with_id
from streams.envelope import pack
from streams.store import Store
from streams.topics import DEAD_LETTER_BYTES, TOPICS
from tests.streams.bus.brokers import cluster, empty_bus

SENTENCE = "jw01_nrca1: all 4 pixels\nare saturated \ud800\x00; look at the raw data"


def raw(name, detector="NRCA1"):
    return ProductEvent(
        topic="raw", name=name, suffix="uncal", generation="0" * 26, keywords={"DETECTOR": detector},
        recipe=RecipeReference(name="optimal", digest=digest("optimal")),
        product=Artifact(uri=f"memory:/{name}", size=1, sha256=digest(name), content=digest(name)),
    )  # fmt: skip


@pytest.fixture
def bus():
    made = MemoryBus()
    made.create_topics([*TOPICS, *dead_letter_topics("detector1", ["raw"])])
    return made


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def bury(bus, *events, value=None, service="detector1"):
    """Publish events, or bytes that are none, and bury them as a service does."""
    consumer = bus.consumer(service, ["raw"])
    outgoing = [pack(event) for event in events]
    if value is not None:
        outgoing.append(Outgoing(topic="raw", key="bytes", value=value))
    bus.publish(outgoing)
    messages = consumer.poll(0)
    consumer.commit(messages, [dead_letter(m, service, "Unprocessable", SENTENCE, 3) for m in messages])
    consumer.close()
    return messages


def test_a_letter_has_the_original_bytes_and_says_why(bus):
    (message,) = bury(bus, raw("one"))
    (letter,) = letters(bus)
    assert letter.message.topic == "raw.detector1.dlq"
    assert (letter.message.value, letter.message.key) == (message.value, "one")
    assert letter.original().headers == message.headers
    assert letter.event == raw("one")
    found = {what: letter.said(what) for what in ("topic", "partition", "offset", "service", "attempts")}
    assert found == {
        "topic": "raw", "partition": str(message.partition), "offset": str(message.offset),
        "service": "detector1", "attempts": "3",
    }  # fmt: skip
    assert letter.said("message") == "jw01_nrca1: all 4 pixels are saturated ??; look at the raw data"
    assert letter.said("time").endswith("Z")


def test_a_retried_letter_is_published_as_it_was_and_is_no_longer_pending(bus, store):
    (message,) = bury(bus, raw("one"))
    for _ in range(3):
        marks.begin(store, raw("one").id)
        marks.note_failure(store, raw("one").id, "no light")
    marks.begin(store, raw("two").id)
    done, left = retry(list(letters(bus)), bus, store)
    assert (len(done), left) == (1, [])
    again = list(bus.read("raw"))[-1]
    assert (again.value, again.key, again.headers) == (message.value, message.key, message.headers)
    assert list(letters(bus)) == []
    assert [letter.settled for letter in letters(bus, settled=True)] == ["retried"]
    assert list(marks.all_marks(store)) == [raw("two").id]


def test_what_fails_again_is_another_letter(bus, store):
    bury(bus, raw("one"))
    retry(list(letters(bus)), bus, store)
    bury(bus)
    (letter,) = letters(bus)
    assert sum(name.startswith("dlq.") for name in letter.message.headers) == 8
    assert not any(name.startswith("dlq.") for name in letter.original().headers)
    assert len({found.id for found in letters(bus, settled=True)}) == 2


def test_a_retry_that_cannot_be_published_leaves_everything_pending(bus, store, monkeypatch):
    bury(bus, raw("one"), raw("two"))
    monkeypatch.setattr("streams.deadletters.SETTLED", "nowhere")
    with pytest.raises(UsageError, match="nowhere"):
        retry(list(letters(bus)), bus, store)
    monkeypatch.undo()
    assert len(list(bus.read("raw"))) == 2
    assert len(list(letters(bus))) == 2


def test_bytes_that_are_no_event_are_left_by_retry_and_can_be_dropped(bus, store):
    bury(bus, raw("one"), value=b"\x00\xffnot json")
    odd = next(letter for letter in letters(bus) if letter.event is None)
    assert odd.message.value == b"\x00\xffnot json"
    done, left = retry(list(letters(bus)), bus, store)
    assert [letter.message.key for letter in done] == ["one"]
    assert left == [odd]
    drop(left, bus)
    assert list(letters(bus)) == []
    assert sorted(letter.settled for letter in letters(bus, settled=True)) == ["dropped", "retried"]


def test_letters_are_chosen_by_topic_and_expression(bus):
    bus.create_topics(dead_letter_topics("other", ["raw"]))
    bury(bus, raw("one"), raw("two", "NRCA3"), value=b"none")
    bury(bus, service="other")
    every = list(letters(bus))
    assert len(every) == 6
    assert len(chosen(every, topic="raw")) == 6
    assert len(chosen(every, topic="raw.other.dlq")) == 3
    found = chosen(every, topic="raw.other.dlq", where=lambda e: e.keywords.get("DETECTOR") == "NRCA3")
    assert [letter.message.key for letter in found] == ["two"]


def test_a_letter_is_found_by_the_beginning_of_its_id(bus):
    bury(bus, raw("one"), raw("two"))
    every = list(letters(bus))
    assert with_id(every, every[1].id[:6].upper()) == every[1]
    with pytest.raises(UsageError, match="no dead letter 'zzzz'"):
        with_id(every, "zzzz")
    same = [every[0], every[0]]
    with pytest.raises(UsageError, match="2 dead letters"):
        with_id(same, every[0].id)


def test_many_letters_are_retried_each_once(bus, store):
    bury(bus, *(raw(f"exposure-{i:03}") for i in range(64)))
    done, _ = retry(list(letters(bus)), bus, store)
    assert len(done) == 64
    assert len(list(bus.read("raw"))) == 128
    assert {m.value for m in list(bus.read("raw"))[:64]} == {m.value for m in list(bus.read("raw"))[64:]}


def test_whatever_a_topic_takes_has_a_letter_that_its_topic_takes():
    bus = empty_bus()
    bus.create_topics(["raw", *dead_letter_topics("detector1", ["raw"])])
    servers = cluster().bootstrap.split(",")
    with KafkaAdminClient(bootstrap_servers=servers) as admin:  # as a topic was that somebody else has made
        option = {"compression.type": "producer"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "raw", option)])
    packed = KafkaProducer(bootstrap_servers=servers, compression_type="gzip", max_request_size=2**24)
    packed.send("raw", key=b"a", value=bytes(10_000_000)).get(60)
    packed.send("raw", key=b"k" * 20_000, value=b"", headers=[("h", b"y" * 20_000)]).get(60)
    packed.send("raw", key=b"b", value=b"", headers=[(f"h{n}", b"") for n in range(2000)]).get(60)
    packed.close()
    every = list(bus.read("raw"))
    bus.publish([dead_letter(m, "detector1", "Unprocessable", "s" * 5000, 1) for m in every])
    found = {letter.message.key[0]: letter for letter in letters(bus)}
    assert found.keys() == {"a", "b", "k"}
    assert len(found["a"].message.value) == DEAD_LETTER_BYTES
    assert found["a"].said("size") == "10000000"
    assert [found[key].said("size") for key in "bk"] == ["", ""]
    assert not retry([found["a"]], bus, None)[0]
    bus.close()
