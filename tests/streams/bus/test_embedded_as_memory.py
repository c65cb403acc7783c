"""Whatever is done in whatever order, the embedded bus answers as the one in memory."""

from __future__ import annotations

import shutil
import tempfile

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.bus import Message, PartitionLost
from streams.bus.embedded import EmbeddedBus
from streams.bus.memory import MemoryBus

from .made import said

TOPICS = ("raw", "ramp")


def seen(messages: list[Message]) -> list[tuple]:
    return [(m.topic, m.partition, m.offset, m.key, m.value, dict(m.headers)) for m in messages]


class BothBuses(RuleBasedStateMachine):
    """Two buses, the same members on each, and what those have polled."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.buses = (MemoryBus(), EmbeddedBus(self.folder, lease=3600))
        self.members: list[tuple] = []
        self.polled: list[tuple[list[Message], list[Message]]] = []
        self.count = 0

    @initialize()
    def create(self) -> None:
        for bus in self.buses:
            bus.create_topics(TOPICS)

    @rule(topic=st.sampled_from(TOPICS), keys=st.lists(st.integers(0, 15), max_size=20))
    def publish(self, topic, keys) -> None:
        self.count += 1
        for bus in self.buses:
            bus.publish([said(topic, f"k{key}", f"{self.count}.{i}") for i, key in enumerate(keys)])

    @rule(group=st.sampled_from("gh"), topics=st.sampled_from([TOPICS, TOPICS[:1]]))
    def join(self, group, topics) -> None:
        if len(self.members) < 5:
            self.members.append(tuple(bus.consumer(group, topics) for bus in self.buses))
            self.polled.append(([], []))

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def leave(self, data) -> None:
        index = data.draw(st.integers(0, len(self.members) - 1))
        self.polled.pop(index)
        for member in self.members.pop(index):
            member.close()

    @precondition(lambda self: self.members)
    @rule(data=st.data(), limit=st.integers(1, 20))
    def poll(self, data, limit) -> None:
        index = data.draw(st.integers(0, len(self.members) - 1))
        ours, theirs = (member.poll(0, limit) for member in self.members[index])
        assert seen(ours) == seen(theirs)
        for known, new in zip(self.polled[index], (ours, theirs), strict=True):
            known.extend(new)

    @precondition(lambda self: any(known for known, _ in self.polled))
    @rule(data=st.data())
    def commit(self, data) -> None:
        busy = [i for i, (known, _) in enumerate(self.polled) if known]
        index = data.draw(st.sampled_from(busy))
        chosen = data.draw(st.sets(st.integers(0, len(self.polled[index][0]) - 1), max_size=30))
        results = []
        for member, known in zip(self.members[index], self.polled[index], strict=True):
            batch = [known[i] for i in sorted(chosen)]
            try:
                member.commit(batch, [said("ramp", m.key, "made") for m in batch if m.topic == "raw"])
                results.append(None)
            except PartitionLost as lost:
                results.append(lost.positions)
        assert results[0] == results[1]

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def rewind(self, data) -> None:
        for member in data.draw(st.sampled_from(self.members)):
            member.rewind()

    @invariant()
    def the_same_is_seen_from_outside(self) -> None:
        if not self.buses[1].topics():
            return
        for group in "gh":
            ours, theirs = (bus.committed(group, TOPICS) for bus in self.buses)
            assert ours == theirs
            ours, theirs = (bus.lag(group, TOPICS) for bus in self.buses)
            assert ours == theirs
            ours, theirs = ([m.positions for m in bus.members(group)] for bus in self.buses)
            assert ours == theirs

    def teardown(self) -> None:
        if self.buses[1].topics():
            for topic in TOPICS:
                ours, theirs = (seen(list(bus.read(topic))) for bus in self.buses)
                assert ours == theirs
        for bus in self.buses:
            bus.close()
        shutil.rmtree(self.folder)


def test_the_embedded_bus_answers_as_the_one_in_memory():
    BothBuses.TestCase.settings = settings(
        max_examples=25,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    BothBuses.TestCase("runTest").runTest()
