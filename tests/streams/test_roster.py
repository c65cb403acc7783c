"""Which services there are: alive, silent, dead, replaced."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from streams.bus import Outgoing
from streams.bus.memory import MemoryBus
from streams.roster import Service, process_runs, records, services
from streams.topics import SERVICES
from tests.streams.pipeline import Pipeline


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline.on(MemoryBus(), tmp_path)


def states(pipeline: Pipeline, now: float | None = None) -> list[tuple[str, str, str]]:
    found = services(pipeline.bus, now)
    return [(service.record.service, service.record.instance, service.state) for service in found]


def test_the_last_word_of_each_process_counts(pipeline: Pipeline) -> None:
    pipeline.record("image2", "starting")
    pipeline.record("image2", "ready")
    pipeline.record("image2", "waiting", instance="two")
    assert states(pipeline) == [("image2", "one", "ready"), ("image2", "two", "waiting")]
    assert len(records(pipeline.bus)) == 2


def test_a_process_of_this_machine_that_is_gone_is_dead(pipeline: Pipeline) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    pipeline.record("image2", pid=ended.pid)
    pipeline.record("image3", pid=ended.pid, host="elsewhere")
    assert states(pipeline) == [("image2", "one", "dead"), ("image3", "one", "ready")]


def test_silence_for_three_intervals_is_stale(pipeline: Pipeline) -> None:
    pipeline.record("image2", interval=2.0, host="elsewhere")
    assert states(pipeline, time.time() + 5.5) == [("image2", "one", "ready")]
    assert states(pipeline, time.time() + 6.5) == [("image2", "one", "stale")]
    assert records(pipeline.bus, time.time() + 6.5) == []


def test_who_said_that_it_stopped_is_neither(pipeline: Pipeline) -> None:
    pipeline.record("image2", "stopped", pid=2**22 + 1)
    assert states(pipeline, time.time() + 1000) == [("image2", "one", "stopped")]


def test_the_dead_are_shown_for_ten_minutes_beside_the_living(pipeline: Pipeline) -> None:
    now = time.time()
    pipeline.record("image2", instance="crashed", pid=2**22 + 1, time=now - 60)
    pipeline.record("image2", instance="long ago", pid=2**22 + 1, time=now - 3600)
    pipeline.record("image2", "stopped", instance="stopped", time=now - 60)
    pipeline.record("image2", instance="alive")
    assert {name for _, name, _ in states(pipeline)} == {"crashed", "alive"}


def test_of_those_that_ended_the_last_one_is_shown(pipeline: Pipeline) -> None:
    now = time.time()
    pipeline.record("image2", "stopped", instance="first", time=now - 7200)
    pipeline.record("image2", "stopped", instance="last", time=now - 3600)
    assert states(pipeline) == [("image2", "last", "stopped")]


def test_words_that_are_not_understood_and_words_taken_back_are_left_out(pipeline: Pipeline) -> None:
    record = pipeline.record("image2")
    pipeline.bus.publish([Outgoing(topic=SERVICES, key="odd", value=b'{"service": 1}')])
    assert states(pipeline) == [("image2", "one", "ready")]
    pipeline.bus.publish([Outgoing(topic=SERVICES, key=record.key, value=b"")])
    assert states(pipeline) == []


def test_a_fused_service_takes_the_group_of_its_first_stage(pipeline: Pipeline) -> None:
    fused = Service(record=pipeline.record("detector1+ramp_fit"))
    assert fused.group == "detector1"


def test_processes_of_others_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_runs(os.getpid())

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert process_runs(1)
