"""Services on a real Kafka: what is no event, replicas that come and go."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from kafka import KafkaProducer

from streams.bus.opening import open_bus
from streams.envelope import pack
from streams.site import Address, open_site
from tests.bench.noop import TO_RAMP_PROCESS
from tests.bench.processes import Processes
from tests.streams.bus.brokers import cluster, empty_kafka

from .support import events, publish, raw, running, set_environment, site_at, until

DLQ = "raw.to_ramp.dlq"
SLEEPERS = 90


@pytest.fixture
def url() -> str:
    return empty_kafka()


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """A folder for notes, and references that nobody asks for."""
    set_environment(monkeypatch, tmp_path)


@pytest.mark.usefixtures("environ")
def test_what_is_no_event_goes_to_the_dead_letters_and_the_service_goes_on(tmp_path, url):
    site = site_at(tmp_path, open_bus(url))
    foreign = {
        b"bytes": (b"\xff\xfe no event", b"k", []),
        b"nothing": (None, b"k", []),
        b"longest": (b"x" * 90_000, b"k", []),
        b"a key as long as a value": (b"{}", b"k" * 50_000, []),
        b"headers as long as a value": (b"{}", b"k", [("short", b"1"), ("long", b"h" * 50_000)]),
    }
    with KafkaProducer(bootstrap_servers=cluster().bootstrap.split(",")) as producer:
        for value, key, headers in foreign.values():
            producer.send("raw", value=value, key=key, headers=headers)
    publish(site, "plain_1")
    with running(site):
        until(lambda: site.bus.lag("to_ramp", ["raw"]) == {"raw": 0})
        publish(site, "plain_2")
        until(lambda: len(events(site, "ramp")) == 2)
    letters = list(site.bus.read(DLQ))
    assert Counter(m.value for m in letters) == Counter(value or b"" for value, _, _ in foreign.values())
    assert max(len(m.key) for m in letters) == 1000
    kept = {name for m in letters for name in m.headers if not name.startswith("dlq.")}
    assert kept == {"short"}
    assert {m.headers["dlq.service"] for m in letters} == {"to_ramp"}
    assert {event.name for event in events(site, "ramp")} == {"plain_1", "plain_2"}
    site.bus.close()


@pytest.mark.usefixtures("environ")
def test_a_replica_comes_in_the_middle_of_a_backlog_and_one_is_killed(tmp_path, url):
    """Both take part; nothing is lost, and nothing said twice."""
    where = Address(bus=url, store=str(tmp_path / "store"))
    site = open_site(where, begin=True)
    names = [f"sleeps_{number:03}" for number in range(SLEEPERS)]
    site.bus.publish([pack(raw(site, name)) for name in names])
    command = [*TO_RAMP_PROCESS, str(tmp_path), url]

    def start(log):
        return Processes([command], dict(os.environ), tmp_path / log)

    first = start("first.log")
    until(lambda: begun_by(tmp_path))
    (worker,) = begun_by(tmp_path)
    second = start("second.log")
    try:
        until(lambda: len(begun_by(tmp_path)) == 2)
        assert len(events(site, "ramp")) < SLEEPERS
        until(lambda: all(count > 2 for count in begun_by(tmp_path).values()))
        first.signal(signal.SIGKILL)
        left = SLEEPERS - len(events(site, "ramp"))
        before = begun_by(tmp_path)
        until(lambda: len(events(site, "ramp")) >= SLEEPERS)
        after = begun_by(tmp_path)
    finally:
        first.stop()
        second.stop()
    assert left > 0
    assert {pid for pid in after if after[pid] > before.get(pid, 0)} == set(after) - {worker}
    assert sorted(event.name for event in events(site, "ramp")) == names
    assert site.bus.lag("to_ramp", ["raw"]) == {"raw": 0}
    assert site.bus.count({}, site.bus.offsets_at("failures", float("inf"))) == 0
    site.bus.close()


def begun_by(folder) -> Counter:
    """Return how many exposures each child has begun, by its process id."""
    notes = folder / "computed"
    lines = notes.read_text().splitlines() if notes.exists() else []
    return Counter(line.split()[1] for line in lines if len(line.split()) == 2)
