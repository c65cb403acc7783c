"""What is still needed of a store: by current products, and by all that is not yet processed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from schemas.associations import Association
from schemas.errors import Unprocessable
from schemas.events import AssociationEvent, Event, ProductEvent, is_current
from streams.associator.drafts import assemble
from streams.associator.memory import remembered
from streams.associator.state import State
from streams.bus import Bus, Message, Position
from streams.deadletters import letters
from streams.envelope import unpack
from streams.site import Site
from streams.stages import next_stage
from streams.store import Store
from streams.topics import (
    ASSOCIATION,
    ASSOCIATOR_STATE,
    ASSOCIATOR_TABLES,
    EVENTS,
    MEMBERS,
    READERS,
    changelog,
)


@dataclass(kw_only=True)
class Usage:
    """What events refer to.

    Attributes
    ----------
    uris, runs : set of str
        Files and run keys that current products, their inputs, or anything unprocessed refer to.
    digests : set of str
        Content digests of what waits for being processed: who has them as input may be in work.
    waiting : set of str
        Ids of events that are not yet processed, dead letters among them.
    copies : dict of str to str
        Every file that came in from outside, with the newest generation that it came in with.
    """

    uris: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    copies: dict[str, str] = field(default_factory=dict)


def usage(site: Site) -> Usage:
    """Return what is needed of a site's store.

    Offsets are looked at before events: what is processed meanwhile counts as waiting, so nothing is missed
    of what it leads to.
    """
    bus = site.bus
    done = _committed(bus, READERS)
    handlers = {(e.handler, m.topic) for m, e in _messages(bus) if e.handler != "builtin"}
    done |= _committed(bus, {name: [topic for n, topic in handlers if n == name] for name, _ in handlers})
    found = Usage()
    current: dict[str, ProductEvent] = {}
    for message, event in _messages(bus):
        if _waits(message, event, done):
            _add_waiting(found, event, site.store)
        if isinstance(event, ProductEvent):
            known = current.get(event.identity)
            if known is None or is_current(event, known):
                current[event.identity] = event
            if not event.run_key:
                uri = event.product.uri
                found.copies[uri] = max(event.generation, found.copies.get(uri, ""))
    for product in current.values():
        _add(found, product, site.store)
    for letter in letters(bus):
        if (event_ := letter.event) is not None:
            _add_waiting(found, event_, site.store)
    _add_associations(found, bus, site.store)
    return found


def _messages(bus: Bus) -> Iterator[tuple[Message, Event]]:
    there = set(bus.topics())
    for topic in (*EVENTS, MEMBERS):
        for message in bus.read(topic) if topic in there else ():
            try:
                yield message, unpack(message)
            except Unprocessable:  # as bytes it refers to nothing
                continue


def _committed(bus: Bus, groups: Mapping[str, Iterable[str]]) -> dict[tuple[str, Position], int]:
    return {
        (group, position): offset
        for group, topics in groups.items()
        for position, offset in bus.committed(group, topics).items()
    }


def _waits(message: Message, event: Event, done: Mapping[tuple[str, Position], int]) -> bool:
    """Tell whether somebody is still to process a message; services are groups of their own name."""
    readers = [name for name, topics in READERS.items() if message.topic in topics]
    if message.topic == MEMBERS:
        pass  # of whatever kind it is
    elif event.handler != "builtin":
        readers = [event.handler]
    elif isinstance(event, AssociationEvent):
        readers = [event.stage]
    elif message.topic != ASSOCIATION and (stage := next_stage(message.topic, event.exp_type)) is not None:
        readers = [stage.name]
    return any(message.offset >= done.get((reader, message.position), 0) for reader in readers)


def _add_waiting(found: Usage, event: Event, store: Store) -> None:
    found.waiting.add(event.id)
    found.digests.update(_add(found, event, store))


def _add(found: Usage, event: Event, store: Store) -> list[str]:
    """Note what an event refers to; return the digests of what is to be processed."""
    if isinstance(event, AssociationEvent):
        return _add_members(found, event, store)
    if not isinstance(event, ProductEvent):
        return []
    found.uris.add(event.product.uri)
    found.runs.add(event.run_key)
    found.uris.update(item.uri for item in event.inputs)
    if event.manifest is not None:
        found.uris.add(event.manifest.uri)
    if event.association is not None:
        _add_members(found, event, store)
    return [event.product.content or event.product.sha256]


def _add_members(found: Usage, event: ProductEvent | AssociationEvent, store: Store) -> list[str]:
    assert event.association is not None
    with store.fetch(event.association) as path:
        association = Association.model_validate_json(path.read_bytes())
    members = [member for product in association.products for member in product.members]
    found.uris.update(member.uri for member in members)
    return [member.digest for member in members]


def _add_associations(found: Usage, bus: Bus, store: Store) -> None:
    """Note the members of what the associator would say now, open or said: one more member, and it will."""
    for state in _states(bus, store):
        for group in state.groups.values():
            members = assemble(state, group).members
            found.uris.update(arrival.uri for _, arrival in members)
            if group.pending != group.said:
                found.digests.update(arrival.digest for _, arrival in members)


def _states(bus: Bus, store: Store) -> Iterator[State]:
    """Yield the state of every program, one at a time: those that are parked too."""

    def load(path: str) -> State:
        return State.model_validate_json(store.read_bytes(path))

    known = remembered(_pieces(bus), load)
    yield from known.states
    awake = {(state.line, state.program) for state in known.states}
    yield from (load(path) for key, path in known.parked.items() if key not in awake)


def _pieces(bus: Bus) -> Iterator[Message]:
    """Yield what the associator remembers, on Kafka from the changelogs of its tables.

    These are read against the order in which they are written, so that nothing refers to what is not read;
    and the last one again, as a program may be parked meanwhile.
    """
    tables = [changelog(name) for name in (*reversed(ASSOCIATOR_TABLES), ASSOCIATOR_TABLES[-1])]
    there = set(bus.topics())
    for topic in (ASSOCIATOR_STATE, *tables):
        if topic in there:
            yield from bus.read(topic)
