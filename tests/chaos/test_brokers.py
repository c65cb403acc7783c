"""Brokers that stop and come back while services work, and that refuse a record of a transaction."""

from __future__ import annotations

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from streams.bus import PARTITIONS
from streams.bus.protocol import partition_of
from streams.kafka.nodes import GRACE
from tests.chaos.buses import NODES
from tests.chaos.places import exposure
from tests.chaos.processes import PATIENT
from tests.streams.bus.brokers import cluster

SERVICES = ("detector1", "ramp_fit", "image2")
WAVES = [[f"sleeps_{wave}{number:02}" for number in range(24)] for wave in range(3)]
WHOLE = pytest.mark.whole
STOPS = [
    pytest.param("kafka-3", GRACE, 1, id="one of three stopped"),
    pytest.param("kafka-3", 0.0, 3, id="each of three killed", marks=WHOLE),
    pytest.param("kafka", GRACE, 1, id="the only one stopped", marks=WHOLE),
    pytest.param("kafka", 0.0, 1, id="the only one killed", marks=WHOLE),
]


@pytest.mark.parametrize(("bus", "grace", "times"), STOPS, indirect=["bus"])
def test_a_broker_that_stops_and_comes_back_in_the_middle_costs_nothing(
    place, crew, bus, monkeypatch, grace, times
):
    monkeypatch.setitem(crew.environ, "CALSTREAM_TEST_SLEEP", "0.1")
    kafka = cluster(NODES[bus])
    for service in (*SERVICES, "detector1"):
        crew.start(service)
    for number, wave in enumerate(WAVES[:times]):
        strike_within(place, crew, kafka, wave, number, grace)
    crew.until(lambda: place.done(*SERVICES))
    crew.stop()
    place.demand_all([name for wave in WAVES[:times] for name in wave])


def strike_within(place, crew, kafka, wave, number, grace):
    """Stop a broker while a wave is on its way; two others do without it, and all wait for the only one."""
    before = number * len(wave)
    place.feed(*wave)
    crew.until(lambda: before + 4 < len(place.events("cal")))
    assert len(place.events("cal")) < before + len(wave)
    kafka.nodes[number].stop(grace)
    if len(kafka.nodes) > 1:
        crew.until(lambda: len(place.events("cal")) == before + len(wave))
    else:
        crew.until(lambda: all("waiting" in worker.said() or worker.ends for worker in crew.workers))
    kafka.up()


@pytest.mark.parametrize("bus", ["kafka-3", pytest.param("kafka", marks=WHOLE)], indirect=True)
def test_a_record_that_is_refused_in_a_transaction_takes_nothing_with_it(
    place, crew, bus, tmp_path, monkeypatch
):
    """What was accepted beside it is not seen, and all of it is there once when the topic takes it."""
    first, (good, bad, slow) = [exposure(number) for number in range(8)], of_one_partition()
    monkeypatch.setitem(crew.environ, "CALSTREAM_TEST_SLEEP", "2")
    worker = crew.start("detector1", options=["--slots=2"])
    place.feed(*first)
    crew.until(lambda: place.done("detector1"))
    longest = set_longest(bus, "ramp", "500")
    place.feed(slow, bad, good)  # finished behind the slow one, they share its transaction
    crew.until(lambda: "Kafka refuses it" in worker.said())
    worker.again = False
    worker.process.join(PATIENT)
    assert worker.process.exitcode == 2
    assert sorted(event.name for event in place.events("ramp")) == first
    assert place.events("failures") == []
    assert place.site.bus.lag("detector1", ["raw"]) == {"raw": 3}

    set_longest(bus, "ramp", longest)
    (tmp_path / "healed").touch()
    crew.start("detector1")
    crew.until(lambda: place.done("detector1"))
    crew.stop()
    place.demand_all([*first, good, bad, slow], levels=["ramp"])


def of_one_partition():
    """Return the names of an exposure, of one that cannot be processed, and of one that takes long."""
    numbers = range(8, 1000)
    slow = "sleeps_0"
    wanted = partition_of(slow, PARTITIONS)
    good = next(name for name in map(exposure, numbers) if partition_of(name, PARTITIONS) == wanted)
    bads = (f"bad_{number}" for number in numbers)
    return good, next(name for name in bads if partition_of(name, PARTITIONS) == wanted), slow


def set_longest(bus, topic, size):
    """Let a topic take records of so many bytes at most; return what it took before."""
    with KafkaAdminClient(bootstrap_servers=cluster(NODES[bus]).bootstrap.split(",")) as admin:
        of = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": size})
        before = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])["topic"][topic]
        admin.alter_configs([of])
    return before["max.message.bytes"]["value"]
