"""What every bus must do with groups: sharing, epochs, what is lost, who stands by."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from streams.bus import PartitionLost

from .made import positions, said, settle, take, values


def sixty(bus):
    bus.publish([said("raw", f"key-{i}", f"{i}") for i in range(60)])


def test_members_share_partitions_and_a_leaver_s_go_to_the_others(bus):
    sixty(bus)
    one, two = bus.consumer("g", ["raw"]), bus.consumer("g", ["raw"])
    held = settle([one, two], positions("raw"))
    every = list(bus.read("raw"))
    mine = take(one, sum(m.position in held[0] for m in every))
    yours = take(two, sum(m.position in held[1] for m in every))
    assert mine
    assert yours
    one.commit(mine)
    two.close()
    settle([one], positions("raw"))
    assert {m.key for m in take(one, len(yours))} == {m.key for m in yours}


def test_everybody_has_the_same_share_or_one_more(bus):
    members = []
    for count in range(1, 6):
        members.append(bus.consumer("g", ["raw"]))
        shares = [len(held) for held in settle(members, positions("raw"))]
        assert max(shares) - min(shares) <= 1, count
    while len(members) > 1:
        members.pop(1).close()
        shares = [len(held) for held in settle(members, positions("raw"))]
        assert max(shares) - min(shares) <= 1, members


def test_more_members_than_partitions_do_no_harm(bus):
    members = [bus.consumer("g", ["raw"]) for _ in range(14)]
    shares = Counter(len(held) for held in settle(members, positions("raw")))
    assert shares == {1: 12, 0: 2}


def test_one_number_of_all_topics_is_with_one_member(bus):
    members = [bus.consumer("g", ["raw", "ramp"]) for _ in range(3)]
    for held in settle(members, positions("raw", "ramp")):
        assert {p for topic, p in held if topic == "raw"} == {p for topic, p in held if topic == "ramp"}


def test_members_that_read_other_topics_get_only_those(bus):
    one, two = bus.consumer("g", ["raw"]), bus.consumer("g", ["raw", "ramp"])
    held = settle([one, two], positions("raw", "ramp"))
    assert held[0] < positions("raw")
    assert positions("ramp") < held[1]


def test_who_stays_keeps_what_it_keeps(bus, factory):
    factory.demand("partitions that stay")
    sixty(bus)
    one = bus.consumer("g", ["raw"])
    before = dict(one.keep())
    batch = take(one, 60)
    two = bus.consumer("g", ["raw"])
    settle([one, two], positions("raw"))
    after = one.keep()
    assert len(after) == 6
    assert all(before[at] == epoch for at, epoch in after.items())
    assert one.poll(0.05) == []
    one.commit([m for m in batch if m.position in after])


def test_messages_carry_the_epoch_that_keep_tells(bus):
    sixty(bus)
    one = bus.consumer("g", ["raw"])
    batch = take(one, 60)
    held = one.keep()
    assert all(held[m.position] == m.epoch for m in batch)


def test_a_partition_that_changed_hands_cannot_be_committed(bus):
    sixty(bus)
    one = bus.consumer("g", ["raw"])
    batch = take(one, 60)
    two = bus.consumer("g", ["raw"])
    _, yours = settle([one, two], positions("raw"))
    gone = {m.position for m in batch if m.position in yours}
    with pytest.raises(PartitionLost, match="changed hands") as lost:
        one.commit(batch, [said("ramp", "a", "late")])
    assert lost.value.positions >= gone
    assert list(bus.read("ramp")) == []
    assert bus.lag("g", ["raw"]) == {"raw": 60}


def test_what_was_not_lost_is_committed_afterwards(bus, factory):
    factory.demand("partitions that stay")
    sixty(bus)
    one = bus.consumer("g", ["raw"])
    batch = take(one, 60)
    two = bus.consumer("g", ["raw"])
    _, yours = settle([one, two], positions("raw"))
    with pytest.raises(PartitionLost) as lost:
        one.commit(batch)
    assert lost.value.positions == {m.position for m in batch} & yours
    rest = [m for m in batch if m.position not in lost.value.positions]
    one.commit(rest, [said("ramp", m.key, m.key) for m in rest])
    assert bus.lag("g", ["raw"]) == {"raw": 60 - len(rest)}
    theirs = take(two, 60 - len(rest))
    two.commit(theirs, [said("ramp", m.key, m.key) for m in theirs])
    assert sorted(values(bus.read("ramp"))) == sorted(m.key.encode() for m in batch)


def test_a_partition_that_comes_back_has_another_epoch(bus):
    sixty(bus)
    one = bus.consumer("g", ["raw"])
    batch = take(one, 60)
    two = bus.consumer("g", ["raw"])
    _, yours = settle([one, two], positions("raw"))
    two.close()
    settle([one], positions("raw"))
    away = [m for m in batch if m.position in yours]
    assert all(one.keep()[m.position] != m.epoch for m in away)
    with pytest.raises(PartitionLost):
        one.commit(away)
    again = [m for m in take(one, len(away)) if m.position in yours]
    one.commit(again)
    assert bus.lag("g", ["raw"])["raw"] <= 60 - len(again)


def test_one_member_at_a_time_holds_all_of_an_exclusive_group(bus):
    sixty(bus)
    one = bus.consumer("g", ["raw", "ramp"], exclusive=True)
    settle([one], positions("raw", "ramp"))
    two = bus.consumer("g", ["raw", "ramp"], exclusive=True)
    first, second = settle([one, two], positions("raw", "ramp"))
    assert (first, second) == (positions("raw", "ramp"), set())
    assert two.poll(0.05) == []
    batch = take(one, 60)
    one.commit(batch[:0] + [m for m in batch if m.partition == batch[0].partition])
    left = bus.lag("g", ["raw"])["raw"]
    one.close()
    assert settle([two], positions("raw", "ramp")) == [positions("raw", "ramp")]
    two.commit(take(two, left))


def test_one_who_stands_by_takes_over_while_it_waits(bus):
    bus.publish([said("raw", "a", "1")])
    one = bus.consumer("g", ["raw"], exclusive=True)
    settle([one], positions("raw"))
    two = bus.consumer("g", ["raw"], exclusive=True)
    timer = threading.Timer(0.1, one.close)
    begin = time.monotonic()
    timer.start()
    assert values(two.poll(60)) == [b"1"]
    assert time.monotonic() - begin < 30, "it slept to the end"
    timer.join()


def test_others_see_the_members_and_what_they_hold(bus):
    assert bus.members("g") == []
    one, two = bus.consumer("g", ["raw"]), bus.consumer("g", ["raw"])
    held = settle([one, two], positions("raw"))
    seen = bus.members("g")
    assert {member.positions for member in seen} == {frozenset(some) for some in held}
    assert len({member.name for member in seen}) == 2
    two.close()
    settle([one], positions("raw"))
    (left,) = bus.members("g")
    assert left.positions == positions("raw")
    assert left.name in {member.name for member in seen}


def test_who_has_left_holds_nothing(bus):
    sixty(bus)
    one = bus.consumer("g", ["raw"])
    batch = take(one, 60)
    one.close()
    one.close()
    assert one.poll(0) == []
    assert dict(one.keep()) == {}
    with pytest.raises(PartitionLost):
        one.commit(batch, [said("ramp", "a", "late")])
    assert list(bus.read("ramp")) == []


def test_threads_with_consumers_of_their_own_do_everything_once(bus):
    done = threading.Event()

    def work() -> None:
        consumer = bus.consumer("g", ["raw"])
        while not done.is_set():
            batch = consumer.poll(0.1, 8)
            try:
                consumer.commit(batch, [said("ramp", m.key, m.value.decode()) for m in batch])
            except PartitionLost:
                consumer.rewind()
        consumer.close()

    def publish(name: str) -> None:
        for i in range(50):
            bus.publish([said("raw", f"{name}{i % 10}", f"{name}{i:02}")])

    workers = [threading.Thread(target=work) for _ in range(3)]
    publishers = [threading.Thread(target=publish, args=(name,)) for name in "xyz"]
    for thread in workers + publishers:
        thread.start()
    for thread in publishers:
        thread.join()
    watching = bus.consumer("watch", ["ramp"])
    take(watching, 150)
    done.set()
    for thread in workers:
        thread.join()
    made = list(bus.read("ramp"))
    assert sorted(values(made)) == sorted(values(bus.read("raw")))
    for key in {m.key for m in made}:
        texts = [m.value for m in made if m.key == key]
        assert texts == sorted(texts)
