"""What the associator needs of a store on Kafka: what waits for it, and what its tables refer to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from processors.recipes import builtin
from streams.associator.drafts import Patience
from streams.associator.tables import Desks, forwarded, in_order, tick
from streams.bus import Message, Outgoing
from streams.bus.memory import MemoryBus
from streams.bus.protocol import partition_of
from streams.envelope import pack, unpack
from streams.site import Address, Site
from streams.store import Store
from streams.topics import ASSOCIATOR_TABLES, MEMBERS, changelog, every_topic
from streams.usage import usage
from tests.streams.associator.made import IMAGE, cal

PROGRAMS = (f"{number:05}" for number in range(1, 1000))
OTHER = {
    **IMAGE,
    "PROGRAM": next(name for name in PROGRAMS if partition_of(name) == partition_of(IMAGE["PROGRAM"])),
}
"""Of another program on the same partition."""


@pytest.fixture
def site(tmp_path) -> Site:
    bus = MemoryBus()
    bus.create_topics(every_topic())
    return Site(bus=bus, store=Store(tmp_path / "store"), address=Address(bus="memory:", store="there"))


def forward(site, *events) -> list[Message]:
    """Publish products and send them on to the reducer, which has not read them yet; return what it reads."""
    site.bus.publish([pack(event) for event in events])
    ids = {event.id for event in events}
    told = [message for message in site.bus.read("cal") if unpack(message).id in ids]
    site.bus.publish([forwarded(message, unpack(message)) for message in told])
    through(site, "cal")
    return [message for message in site.bus.read(MEMBERS) if unpack(message).id in ids]


def through(site, topic) -> None:
    """Let the associator be through with a topic."""
    consumer = site.bus.consumer("associator", [topic])
    consumer.commit(consumer.poll(0, 1000))
    consumer.close()


def reduce(site, *batches) -> None:
    """Let the associator say what follows from messages, and write it into its changelogs."""
    tables = {name: {} for name in ASSOCIATOR_TABLES}
    desks = Desks(tables, site.store, lambda _: builtin("optimal"), Patience(), kept=0)
    for messages in batches:
        for table, changes in in_order(desks.take(messages, 0.0).changes):
            site.bus.publish(
                [Outgoing(topic=changelog(table), key=one.key, value=one.value) for one in changes]
            )
    through(site, MEMBERS)


def test_what_was_forwarded_and_is_not_reduced_yet_is_needed(site):
    old, new = cal(1, born=1), cal(1, born=2)
    forward(site, old, new)
    found = usage(site)
    assert {old.product.uri, new.product.uri} <= found.uris
    assert {old.id, new.id} <= found.waiting
    assert {old.product.content, new.product.content} <= found.digests
    through(site, MEMBERS)
    found = usage(site)
    assert old.product.uri not in found.uris
    assert new.product.uri in found.uris
    assert not found.waiting


def test_members_of_open_associations_are_needed(site):
    old, other, new = cal(1, born=1), cal(1, keywords=OTHER), cal(1, born=2)
    reduce(site, forward(site, old, other))
    forward(site, new)
    through(site, MEMBERS)
    found = usage(site)
    assert {old.product.uri, other.product.uri} <= found.uris
    assert {old.product.content, other.product.content} <= found.digests
    assert not found.waiting


def test_members_of_programs_that_are_parked_are_needed(site):
    old, other, new = cal(1, born=1), cal(1, keywords=OTHER), cal(1, born=2)
    (first,) = forward(site, old)
    said = replace(first, value=b"{}", headers=tick(end=True))
    reduce(site, [first, said], forward(site, other))
    assert site.store.names("associator") != []
    forward(site, new)
    through(site, MEMBERS)
    found = usage(site)
    assert {old.product.uri, other.product.uri} <= found.uris
    assert old.product.content not in found.digests
