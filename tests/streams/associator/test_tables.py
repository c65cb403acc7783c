"""The reducer over tables shared out by partition: crashes between any two writes change nothing."""

from __future__ import annotations

import math
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.recipes import builtin
from schemas.associations import Association
from schemas.errors import Retriable, Unprocessable
from schemas.events import PlanEvent, parse_event
from streams.associator import Associator, Expectation
from streams.associator.tables import TICK, Desks, forwarded, in_order, tick
from streams.bus import Message
from streams.bus.protocol import partition_of
from streams.envelope import pack
from streams.roots import put_by_digest
from streams.topics import ASSOCIATOR_TABLES

from .made import IMAGE, cal, exposure, failure, plan, recipe
from .test_reducer import PATIENCE, histories, last_words, run

PARTITIONS = 3


class Shelf:
    """A store in memory."""

    def __init__(self):
        self.files = {}
        self.broken = False

    def uri(self, path):
        return f"memory:/{path}"

    def put_if_absent(self, path, content):
        if self.broken:
            raise Retriable("the store is not there")
        return self.files.setdefault(path, content) is content

    def read_bytes(self, path):
        return self.files[path]

    def remove(self, path):
        self.files.pop(path, None)

    def demand_writable(self):
        pass

    @contextmanager
    def fetch(self, artifact):
        content = self.files[artifact.uri.removeprefix("memory:/")]
        yield _Path(content)


class _Path:
    def __init__(self, content):
        self.read_bytes = lambda: content


class Worker:
    """What the Faust app does with desks and tables, which may end before any write."""

    def __init__(self, kept=100):
        self.kept = kept
        self.shelf = Shelf()
        self.tables = {name: {} for name in ASSOCIATOR_TABLES}
        self.said = []
        self.letters = []
        self.start()

    def start(self):
        self.desks = Desks(
            self.tables, self.shelf, lambda digest: builtin("optimal"), PATIENCE, PARTITIONS, self.kept
        )
        self.desks.reopen(range(PARTITIONS))

    def event(self, message):
        """Return a message of the reducer's tests as an event, the file of a plan in the store."""
        if not isinstance(message, Expectation):
            return message
        text = message.plan.model_dump_json().encode()
        return PlanEvent(
            line=message.plan.line, name=f"plan-{message.plan.program}", generation=message.generation,
            campaign=message.campaign, recipe=recipe(), keywords={"PROGRAM": message.plan.program},
            plan=put_by_digest(self.shelf, "plans", text, ".json"),
        )  # fmt: skip

    def messages(self, message):
        """Return a message as it stands on the topic members; a tick, on each partition."""
        if isinstance(message, int | float):
            headers = tick(end=message == math.inf)
            return [_message("", b"{}", headers, partition) for partition in range(PARTITIONS)]
        event = self.event(message)
        packed = pack(event)
        source = _message(packed.key, packed.value, packed.headers, 0, packed.topic)
        out = forwarded(source, event)
        return [_message(out.key, out.value, out.headers, partition_of(out.key, PARTITIONS))]

    def work(self, messages, now, budget=math.inf):
        """Work on messages; of what is to be published and written only so many are."""
        outcome = self.desks.take(messages, now)
        if budget < 1:
            return False
        for output in outcome.outputs:
            if output.topic == "association":
                self.said.append(parse_event(output.value))
            else:
                self.letters.append(output)
        for table, changes in in_order(outcome.changes):
            for change in changes:
                budget -= 1
                if budget < 1:
                    return False
                key = change.key.encode()
                if change.value:
                    self.tables[table][key] = change.value
                else:
                    self.tables[table].pop(key, None)
        self.desks.remove(outcome.obsolete)
        return True

    def words(self):
        """Return the last word on each association, as the reducer's tests compare them."""
        return {event.association_id: self._word(event) for event in self.said}

    def _word(self, event):
        text = self.shelf.files[event.association.uri.removeprefix("memory:/")]
        return event.generation, event.campaign, event.completeness, Association.model_validate_json(text)


def test_an_event_under_a_recipe_that_the_store_has_not_stops_no_others():
    worker = Worker()
    foreign = cal(3, keywords={**IMAGE, "PROGRAM": "00042"})
    foreign = foreign.with_(recipe=recipe().model_copy(update={"digest": "f" * 64}))

    def known(digest):
        if digest == "f" * 64:
            raise Unprocessable("there is no such recipe")
        return builtin("optimal")

    worker.desks = Desks(worker.tables, worker.shelf, known, PATIENCE, PARTITIONS)
    worker.desks.reopen(range(PARTITIONS))
    messages = [*worker.messages(foreign), *worker.messages(cal(1)), *worker.messages(math.inf)]
    assert worker.work(messages, 1.0)
    (letter,) = worker.letters
    assert (letter.topic, letter.value) == ("cal.associator.dlq", foreign.to_bytes())
    assert [event.members for event in worker.said] == [1]


def test_headers_of_others_are_not_sent_on():
    event = cal(1)
    packed = pack(event)
    headers = {**packed.headers, **tick(end=True), "long": "x" * 60_000, "traceparent": "x" * 60_000}
    out = forwarded(_message(packed.key, packed.value, headers, 0, packed.topic), event)
    assert out.value == packed.value
    assert out.headers == {n: t for n, t in packed.headers.items() if n != "traceparent"} | {
        "calstream_from": "cal/0/7"
    }


@pytest.mark.parametrize("origin", ["", "x", "nowhere/1/2", "cal/-1/7", "cal/1/" + "9" * 5000])
def test_what_somebody_else_puts_among_the_members_goes_to_its_dead_letters(origin):
    worker = Worker()
    assert worker.work([_message("k", b"no event", {"calstream_from": origin}, 1)], 1.0)
    (letter,) = worker.letters
    assert (letter.topic, letter.headers["dlq.topic"]) == ("members.associator.dlq", "members")
    assert (letter.headers["dlq.partition"], letter.headers["dlq.offset"]) == ("1", "7")


def _message(key, value, headers, partition, topic="members"):
    return Message(
        topic=topic, key=key, value=value, headers=headers, partition=partition, offset=7, timestamp=0.0
    )  # fmt: skip


def expected(messages):
    """Return the last words of the reducer alone."""
    return {
        key: (word.generation, word.campaign, word.completeness, word.association)
        for key, word in last_words(run(messages)).items()
    }


steps = st.tuples(st.integers(1, 5), st.none() | st.integers(0, 6))
"""How many messages are worked on together, and after how many writes it dies, if it does."""


@settings(max_examples=100, deadline=None)
@given(histories(), st.lists(steps, max_size=20), st.integers(0, 8))
def test_whenever_it_dies_the_last_words_are_those_of_the_reducer(orders, fates, kept):
    worker = Worker(kept)
    rest = [one for message in orders[0] for one in worker.messages(message)]
    now = 0.0
    while rest:
        now += 1
        size, budget = fates.pop() if fates else (3, None)
        if worker.work(rest[:size], now, math.inf if budget is None else budget):
            rest = rest[size:]
        else:
            worker.start()
    worker.work(worker.messages(math.inf), now)
    assert worker.words() == expected([*orders[1], math.inf])


@settings(max_examples=50, deadline=None)
@given(histories())
def test_without_a_death_it_says_what_the_reducer_says_and_nothing_twice(orders):
    worker = Worker()
    messages = [message for message in orders[0] if not isinstance(message, float)]
    for now, message in enumerate(messages, 1):
        worker.work(worker.messages(message), float(now))
    said = [(e.association_id, e.generation, e.completeness) for e in run(messages, Associator(PATIENCE))]
    assert [(e.association_id, e.generation, e.completeness) for e in worker.said] == said


def test_each_entry_is_on_its_programs_partition():
    worker = Worker()
    for program in range(20):
        keywords = {**IMAGE, "PROGRAM": f"{program:05}"}
        (message,) = worker.messages(cal(1, keywords=keywords))
        assert worker.work([message], 1.0)
        mine = [key for table in worker.tables.values() for key in table if f'"{program:05}"'.encode() in key]
        assert len(mine) == 2
        assert {worker.desks.partition_of(key) for key in mine} == {message.partition}


def test_other_partitions_are_left_alone_when_some_are_taken_over():
    worker = Worker()
    for program in range(20):
        worker.work(worker.messages(cal(1, keywords={**IMAGE, "PROGRAM": f"{program:05}"})), 1.0)
    every = worker.desks.open
    parts = []
    for partition in range(PARTITIONS):
        worker.desks.reopen([partition])
        parts.append(worker.desks.open)
    assert (sum(parts), every, min(parts) > 0) == (20, 20, True)


def test_it_knows_where_the_clock_matters_after_a_restart():
    worker = Worker()
    (message,) = worker.messages(cal(1))
    worker.work([message], 100.0)
    worker.start()
    assert worker.desks.due(100.0 + PATIENCE.quiet - 1) == []
    assert worker.desks.due(100.0 + PATIENCE.quiet) == [message.partition]
    assert worker.desks.waiting() == [message.partition]
    clock = [one for one in worker.messages(0.0) if one.partition == message.partition]
    assert clock[0].headers[TICK] == "due"
    worker.work(clock, 100.0 + PATIENCE.quiet)
    assert [event.completeness for event in worker.said] == ["unknown"]
    assert worker.desks.waiting() == []


def test_a_store_that_is_gone_changes_nothing_and_the_same_works_later():
    worker = Worker()
    messages = [one for m in (plan([1, 2]), cal(1), failure(2)) for one in worker.messages(m)]
    worker.shelf.broken = True
    with pytest.raises(Retriable):
        worker.work(messages, 1.0)
    worker.shelf.broken = False
    assert worker.work(messages, 2.0)
    assert [event.members for event in worker.said] == [1]


def test_what_it_cannot_take_goes_to_the_dead_letters_as_it_was():
    worker = Worker()
    good, bad = worker.messages(cal(1))[0], worker.messages(cal(2))[0]
    bad = _message(bad.key, b"no event", bad.headers, bad.partition)
    assert worker.work([bad, good], 1.0)
    (letter,) = worker.letters
    assert (letter.topic, letter.value) == ("cal.associator.dlq", b"no event")
    assert (letter.headers["dlq.topic"], letter.headers["dlq.offset"]) == ("cal", "7")
    assert worker.desks.open == 1
    assert any(exposure(1).encode() in key for key in worker.tables["exposures"])
