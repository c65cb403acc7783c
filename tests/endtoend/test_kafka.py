"""The same road on a real Kafka: the same products, byte for byte, and every command that a user types."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from tests.endtoend.place import Place, through_services
from tests.streams.bus.brokers import demand_kafka, empty_kafka

FIRST = "jw01234001001_02101_00001_nrca1"
STAGES = {"detector1": 4, "ramp_fit": 4, "image2": 4, "image3": 1}


@pytest.fixture(scope="module")
def on_kafka(downlink, tmp_path_factory) -> Place:
    """The downlink, once through all services on a broker that was empty."""
    demand_kafka()
    folder = tmp_path_factory.mktemp("kafka")
    return through_services(Place(folder, downlink / "crds_cache", empty_kafka()), downlink)


def test_every_exposure_goes_to_the_mosaic_once(on_kafka):
    events = on_kafka.done()
    assert Counter(event.stage for event in events) == STAGES
    assert {event.outcome for event in events} == {"complete"}


def test_products_are_byte_for_byte_those_of_the_embedded_bus(on_kafka, place):
    made, others = on_kafka.products(), place.products()
    runs = {event.run_key for event in on_kafka.done()}
    assert {run for run, _ in made} == runs
    assert len(made) > len(runs)
    assert made == {one: digest for one, digest in others.items() if one[0] in runs}


def test_all_is_counted_as_it_was_published(on_kafka):
    found = json.loads(on_kafka("status", "--json").stdout)
    counts = {row["topic"]: (row["messages"], row["lag"]) for row in found["topics"]}
    messages, lag = counts.pop("members")
    assert messages >= 5  # the plan and four exposures: a worker that starts may send one on twice
    assert lag == 0
    assert counts == {
        "plan": (1, 0), "raw": (4, 0), "ramp": (4, 0), "rate": (4, 0), "cal": (4, 0), "association": (1, 0),
        "combined": (1, 0), "failures": (0, 0),
    }  # fmt: skip
    assert [one for one in found["services"] if one["live"]] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status",), r"image3"),
        (("topics",), r"(?m)^cal +12 +4 +for ever +associator +0"),
        (("topics", "create"), r"0 topics made, 27 were there, with 12 partitions each"),
        (("services",), r"associator"),
        (("trace", FIRST), r"image3"),
        (("line", "list"), r"main"),
        (("dlq", "list"), r"0 dead letters pending"),
        (("prune", "--superseded", "--dry-run"), r"would remove 0 runs"),
        (("rewind", "image2", "--to", "2020-01-01", "--dry-run"), r"would read 4 messages again"),
        (("replay", "rate", "--dry-run"), r"4 events of rate chosen"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_commands_find_their_way(on_kafka, arguments, says):
    done = on_kafka(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(says, done.stdout), done.stdout


def test_a_replay_and_a_service_that_was_rewound_come_back_from_the_store(on_kafka, tmp_path):
    assert on_kafka("replay", "rate", "--where", "detector == 'NRCA3'").returncode == 0
    assert on_kafka("rewind", "ramp_fit", "--to", "earliest").returncode == 0
    done = on_kafka("up", "--until-idle")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    again = [event for event in on_kafka.done() if event.outcome != "complete"]
    assert {event.outcome for event in again} == {"cached"}
    found = Counter((event.stage, bool(event.campaign)) for event in again)
    assert (found["ramp_fit", False], found["image2", False], found["image2", True]) == (4, 4, 2)
    assert on_kafka("export", "--out", tmp_path, "--quiet").returncode == 0
    assert len(list(tmp_path.glob("*_cal.fits"))) == 4
    assert on_kafka("report", tmp_path, "--bus", on_kafka.bus).returncode == 0
    assert "Timeline of every event" in (tmp_path / "index.html").read_text()
