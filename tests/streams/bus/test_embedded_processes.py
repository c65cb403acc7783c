"""The embedded bus among processes that die, stop and come back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.bus import PartitionLost
from streams.bus.embedded import EmbeddedBus, wakeup
from streams.bus.embedded.processes import Process, this_process

from .made import DEADLINE, positions, said, settle, take, values

WORKER = Path(__file__).with_name("worker.py")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    begun: list[subprocess.Popen[str]] = []

    def starter(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(WORKER), *map(str, arguments)]
        begun.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=WORKER.parents[3]
            )
        )
        return begun[-1]

    yield starter
    for process in begun:
        process.kill()
        process.communicate()


def ask(process: subprocess.Popen[str], question: str) -> str:
    print(question, file=process.stdin, flush=True)
    return process.stdout.readline()


def made(folder: Path, **options: float) -> EmbeddedBus:
    bus = EmbeddedBus(folder, **options)
    bus.create_topics(["raw", "ramp"])
    return bus


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_killed_at_random_moments_under_load_everything_is_done_once_and_in_order(tmp_path, start):
    bus, chance, total = made(tmp_path), random.Random(4), 6000
    publishers = [start("publish", tmp_path, i * 2000, (i + 1) * 2000) for i in range(3)]
    workers = [start("work", tmp_path, 600) for _ in range(3)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for _ in range(12):
        time.sleep(chance.uniform(0, 0.1))
        index = chance.randrange(3)
        workers[index].kill()
        workers[index] = start("work", tmp_path, 600)
        if chance.random() < 0.7:  # else it may be killed while it joins
            workers[index].stdout.readline()
    assert [p.wait() for p in publishers] == [0, 0, 0]
    until(lambda: bus.lag("g", ["raw"]) == {"raw": 0})
    found = list(bus.read("ramp"))
    assert sorted(values(found)) == [f"{i:06}".encode() for i in range(total)]
    assert {m.key for m in found} == {f"k{i}" for i in range(40)}
    for name in range(3):
        mine = [m for m in found if int(m.value) // 2000 == name]
        for key in range(40):
            texts = values(m for m in mine if m.key == f"k{key}")
            assert texts == sorted(texts)
    bus.close()


def test_several_processes_make_a_new_bus_at_once(tmp_path, start):
    publishers = [start("publish", tmp_path / "new", i * 10, (i + 1) * 10) for i in range(5)]
    assert [process.wait() for process in publishers] == [0] * 5
    found = EmbeddedBus(tmp_path / "new").read("raw")
    assert sorted(values(found)) == [f"{i:06}".encode() for i in range(50)]


def test_a_killed_publisher_leaves_whole_transactions(tmp_path, start):
    bus, chance = made(tmp_path), random.Random(1)
    for _ in range(5):
        before = len(list(bus.read("raw")))
        publisher = start("publish", tmp_path, 0, 1_000_000)
        until(lambda before=before: len(list(bus.read("raw"))) > before)
        time.sleep(chance.uniform(0, 0.05))
        publisher.kill()
        publisher.wait()
        assert len(list(bus.read("raw"))) % 10 == 0
    ends = bus.offsets_at("raw", float("inf"))
    assert sum(ends.values()) == len(list(bus.read("raw")))


def test_the_lease_of_a_dead_process_falls_at_once(tmp_path, start):
    bus = made(tmp_path, lease=3600)
    bus.publish([said("raw", f"k{i}", "x") for i in range(30)])
    holder = start("hold", tmp_path, 3600)
    assert holder.stdout.readline() == "polled 30\n"
    (member,) = bus.members("g")
    assert member.positions == positions("raw")
    other = bus.consumer("g", ["raw"])
    assert len(other.keep()) == 6
    holder.kill()  # and nobody waits for it: the supervisor may be slow to notice
    assert len(take(other, 30)) == 30
    assert len(bus.members("g")) == 1
    other.close()
    assert bus.members("g") == []


def test_the_dead_do_not_keep_offsets_from_moving(tmp_path, start):
    bus = made(tmp_path, lease=3600)
    bus.publish([said("raw", "a", "x")])
    holder = start("hold", tmp_path, 3600)
    assert holder.stdout.readline() == "polled 1\n"
    holder.kill()
    holder.wait()
    bus.move("g", bus.offsets_at("raw", float("inf")))
    assert bus.lag("g", ["raw"]) == {"raw": 0}


def test_who_was_stopped_past_its_lease_commits_nothing_and_finds_its_way_back(tmp_path, start):
    bus = made(tmp_path, lease=0.5)
    bus.publish([said("raw", f"k{i}", f"{i:02}") for i in range(30)])
    holder = start("hold", tmp_path, 0.5)
    assert holder.stdout.readline() == "polled 30\n"
    os.kill(holder.pid, signal.SIGSTOP)
    until(lambda: bus.members("g") == [])
    other = bus.consumer("g", ["raw"])
    batch = take(other, 30)
    os.kill(holder.pid, signal.SIGCONT)
    assert ask(holder, "commit").startswith("lost ")
    assert list(bus.read("ramp")) == []
    until(lambda: [ask(holder, "keep"), len(other.keep())] == ["held 6\n", 6])
    assert ask(holder, "commit").startswith("lost ")
    kept = [m for m in batch if other.keep().get(m.position) == m.epoch]
    assert kept
    other.commit(kept)
    assert bus.lag("g", ["raw"]) == {"raw": 30 - len(kept)}


def test_a_lease_that_ran_out_is_lost_even_if_nobody_came(tmp_path, monkeypatch):
    bus = made(tmp_path, lease=10)
    bus.publish([said("raw", "a", "1")])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 1)
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 9)
    consumer.commit(batch[:0], [said("ramp", "a", "renewed")])
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 18)
    assert len(bus.members("g")) == 1
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 40)
    with pytest.raises(PartitionLost):
        consumer.commit(batch)
    assert bus.members("g") == []
    assert set(consumer.keep()) == positions("raw")
    consumer.commit(take(consumer, 1))
    assert len(bus.members("g")) == 1


def test_a_clock_that_is_set_back_takes_no_lease_away(tmp_path, monkeypatch):
    bus = made(tmp_path, lease=10)
    consumer = bus.consumer("g", ["raw"])
    clock = time.time
    for step in (-1e6, 1e6):
        monkeypatch.setattr(time, "time", lambda step=step: clock() + step)
        bus.publish([said("raw", "a", "1")])
        consumer.commit(take(consumer, 1))
    assert len(bus.members("g")) == 1


def test_members_from_before_the_machine_was_started_again_are_dead(tmp_path):
    bus = made(tmp_path, lease=3600)
    consumer = bus.consumer("g", ["raw"])
    with bus.database.writing() as db:
        db.execute("UPDATE member SET boot = 'another'")
    assert bus.members("g") == []
    assert set(consumer.keep()) == positions("raw")
    with bus.database.writing() as db:
        db.execute("UPDATE member SET renewed = renewed + 1e6, expires = expires + 1e6")
    assert bus.members("g") == []


def test_a_process_is_told_from_others_of_its_number(start, tmp_path):
    here = this_process()
    assert not here.gone()
    assert here.started > 0
    worker = start("hold", tmp_path, 1)
    assert not Process(here.boot, here.namespace, os.getppid(), 0).gone() or here.started
    assert Process(here.boot, here.namespace, worker.pid, here.started).gone()
    assert not Process(here.boot, "that of a container", 2**22 + 1, 1).gone()
    assert Process(here.boot, here.namespace, 2**22 + 1, 1).gone()


def test_a_publisher_wakes_a_waiting_process_by_itself(tmp_path, start, monkeypatch):
    bus = made(tmp_path, lease=3600)
    monkeypatch.setattr("streams.bus.embedded.consumer.LONGEST_SLEEP", 3600)
    consumer = bus.consumer("g", ["raw"])
    assert consumer.poll(0) == []
    start("publish", tmp_path, 0, 10)
    begin = time.monotonic()
    assert consumer.poll(DEADLINE)
    assert time.monotonic() - begin < DEADLINE / 2


def test_without_a_bell_a_waiting_process_looks_by_itself(tmp_path, start, monkeypatch):
    monkeypatch.setattr(wakeup, "_LONGEST_PATH", 0)
    bus = made(tmp_path)
    consumer = bus.consumer("g", ["raw"])
    start("publish", tmp_path, 0, 10)
    assert len(take(consumer, 10)) == 10


def test_bells_of_the_dead_are_taken_away(tmp_path, start):
    bus = made(tmp_path, lease=3600)
    bus.publish([said("raw", "a", "x")])
    holder = start("hold", tmp_path, 3600)
    holder.stdout.readline()
    with bus.database.reading() as db:
        (bell,) = db.execute("SELECT bell FROM member").fetchone()
    assert os.path.exists(bell)
    holder.kill()
    holder.wait()
    bus.members("g")
    assert not os.path.exists(bell)


def test_a_bus_goes_to_forked_processes_but_its_consumers_do_not(tmp_path):
    bus = made(tmp_path)
    consumer = bus.consumer("g", ["raw"])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            bus.publish([said("raw", "a", "from the child")])
            consumer.poll(0)
        except Exception as error:
            code = 0 if "make another one" in str(error) else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert values(take(consumer, 1)) == [b"from the child"]
    settle([consumer], positions("raw"))
