"""Rewind: a stopped service goes back, never forward."""

from __future__ import annotations

import math

import pytest

from schemas.errors import UsageError
from streams.bus import Outgoing
from streams.bus.embedded import EmbeddedBus
from streams.bus.memory import MemoryBus
from streams.rewind import move_back, rewound
from streams.topics import TOPICS


@pytest.fixture(params=["memory", "embedded"])
def bus(request, tmp_path):
    made = MemoryBus() if request.param == "memory" else EmbeddedBus(str(tmp_path))
    made.create_topics(TOPICS)
    yield made
    made.close()


def publish(bus, *names, topic="rate"):
    bus.publish([Outgoing(topic=topic, key=name, value=name.encode()) for name in names])


def read(bus, count, group="image2", topics=("rate",), commit=True):
    consumer = bus.consumer(group, topics)
    found = []
    while len(found) < count:
        found += consumer.poll(5)
    assert consumer.poll(0.05) == []
    if commit:
        consumer.commit(found)
    consumer.close()
    return sorted(message.key for message in found)


def test_to_the_beginning(bus):
    publish(bus, "a", "b", "c")
    read(bus, 3)
    publish(bus, "d")
    rewind = rewound(bus, "image2", -math.inf)
    assert rewind.again == {"rate": 3}
    assert bus.lag("image2", ["rate"]) == {"rate": 1}
    move_back(bus, rewind)
    assert read(bus, 4) == ["a", "b", "c", "d"]


def test_to_a_time(bus):
    publish(bus, "a", "b")
    publish(bus, "c", "d")
    times = {message.key: message.timestamp for message in bus.read("rate")}
    read(bus, 4)
    later = [key for key, time in times.items() if time >= times["c"]]
    rewind = rewound(bus, "image2", times["c"])
    assert rewind.again == {"rate": len(later)}
    move_back(bus, rewind)
    assert set(later) <= set(read(bus, len(later)))


def test_what_was_not_read_is_not_passed_over(bus):
    publish(bus, "a", "b")
    rewind = rewound(bus, "image2", math.inf)
    assert (rewind.again, rewind.offsets) == ({"rate": 0}, {})
    move_back(bus, rewind)
    assert read(bus, 2) == ["a", "b"]


def test_the_associator_reads_several_topics(bus):
    publish(bus, "a", topic="cal")
    publish(bus, "b", "c", topic="failures")
    read(bus, 3, "associator", ["plan", "cal", "failures"])
    again = {"plan": 0, "raw": 0, "ramp": 0, "cal": 1, "failures": 2, "members": 0}
    assert rewound(bus, "associator", -math.inf).again == again


def test_a_service_that_runs_is_left_alone(bus):
    publish(bus, "a")
    read(bus, 1)
    member = bus.consumer("image2", ["rate"])
    member.poll(0)
    with pytest.raises(UsageError, match="image2 has 1 process that runs; stop it first"):
        move_back(bus, rewound(bus, "image2", -math.inf))
    assert bus.lag("image2", ["rate"]) == {"rate": 0}
    member.close()
    move_back(bus, rewound(bus, "image2", -math.inf))
    assert bus.lag("image2", ["rate"]) == {"rate": 1}


def test_a_fused_service_is_in_the_group_of_its_first_part(bus):
    publish(bus, "a", topic="raw")
    read(bus, 1, "detector1", ["raw"])
    move_back(bus, rewound(bus, "detector1+ramp_fit", -math.inf))
    assert bus.lag("detector1", ["raw"]) == {"raw": 1}


def test_an_unknown_service(bus):
    with pytest.raises(UsageError, match="there is no service 'imge2'; did you mean 'image2'"):
        rewound(bus, "imge2", 0.0)
