"""The whole road, its services killed at random: every exposure and every mosaic is there once."""

from __future__ import annotations

import os
import random
import signal
from math import inf

import psutil
import pytest

from streams.current import current_products
from streams.overview import idle, look
from tests.chaos.places import ROAD, exposure

MEMBERS = 8
CREW = ("detector1", "detector1", "ramp_fit", "image2", "image2", "image3", "associator", "associator")
SHORT, LONG = (4, 10), (13, 40)
"""Programs and kills, as part of all tests and in `make chaos`."""


@pytest.mark.parametrize(("programs", "kills"), [SHORT, pytest.param(*LONG, marks=pytest.mark.whole)])
def test_killed_at_random_the_road_loses_and_doubles_nothing(place, crew, programs, kills):
    choice = random.Random(20261124)
    numbers = range(1, programs + 1)
    names = {program: [exposure(n, program) for n in range(MEMBERS)] for program in numbers}
    planned = [program for program in numbers if program % 2]
    workers = [crew.start(service) for service in CREW]
    for worker in workers:
        worker.bound = kills
    for program in planned:
        place.promise(*names[program], program=program)
    feed(place, names)
    for victim in victims(workers, kills, choice):
        aim = progress(place) + choice.randint(1, 3 * MEMBERS)
        crew.until(lambda aim=aim: progress(place) >= aim or idle(look(place.site.bus)))
        strike(victim, crew)
    crew.until(lambda: all(idle(look(place.site.bus)) for _ in range(2)))
    crew.stop()
    assert sum(len(worker.ends) for worker in workers) >= 1
    demand(place, names, planned)


def feed(place, names):
    """Publish all exposures, those of the first program on two lines."""
    for program, some in names.items():
        place.feed(*some, program=program)
    place.feed(*names[1], program=1, line="other")


def victims(workers, kills, choice):
    """Yield whom to kill: parents, and each service's children twice, as a third death is an event's last."""
    children = [worker for worker in workers if worker.begin.arguments[1] != "associator"]
    spared = dict.fromkeys({worker.begin.arguments[1] for worker in children}, 2)
    for _ in range(kills):
        worker = choice.choice(workers)
        service = worker.begin.arguments[1]
        if spared.get(service) and choice.random() < 0.4:
            spared[service] -= 1
            yield worker, True
        else:
            yield worker, False


def strike(victim, crew):
    worker, child = victim
    if not child:
        worker.signal(signal.SIGKILL)
        return
    for process in crew.until(lambda: psutil.Process(worker.process.pid).children()):
        os.kill(process.pid, signal.SIGKILL)


def progress(place):
    """Return how many events there are."""
    return sum(sum(place.site.bus.offsets_at(topic, inf).values()) for topic in (*ROAD, "combined"))


def demand(place, names, planned):
    every = [("main", name) for some in names.values() for name in some] + [("other", n) for n in names[1]]
    for level in ROAD:
        assert sorted((event.line, event.name) for event in place.events(level)) == sorted(every)
    mosaics = place.events("combined")
    current = current_products(mosaics).values()
    assert {event.input_count for event in current} == {MEMBERS}
    expected = sorted([("main", f"{program:05d}") for program in names] + [("other", "00001")])
    assert sorted((event.line, event.keywords["PROGRAM"]) for event in current) == expected
    for program in planned:
        of = [e for e in mosaics if e.line == "main" and e.keywords["PROGRAM"] == f"{program:05d}"]
        assert len(of) == 1
    place.demand_order()
