"""Two workers on one run: one stands still past its lease, the other takes over, then both go on."""

from __future__ import annotations

import os
import random
import signal
import time

import psutil
import pytest

from tests.chaos.buses import FACTORIES
from tests.chaos.places import exposure
from tests.chaos.points import Blow

NAMES = [exposure(number) for number in range(6)]
LATER = [exposure(number) for number in range(6, 12)]
POINTS = ["manifest half put", "begin"]
MORE = ["polled", "given", "marked", "half written", "written", "manifest put", "marks forgotten", "answered"]
IN_TRANSACTION = ["begun", "sent", "offsets"]
"""Kafka's: the broker ends what is open there after a while, and the other goes on from before it."""
CASES = [
    *(("embedded", point) for point in POINTS),
    *(pytest.param("embedded", point, marks=pytest.mark.whole) for point in MORE),
    *(pytest.param("kafka", p, marks=pytest.mark.whole) for p in (*POINTS, *MORE, *IN_TRANSACTION)),
]


@pytest.mark.parametrize(("bus", "point"), CASES, indirect=["bus"])
def test_what_was_taken_over_meanwhile_is_published_once(place, crew, bus, tmp_path, point):
    lease = FACTORIES[bus].lease
    place.feed(*NAMES)
    blow = Blow(point=point, whom="stop", folder=tmp_path)
    first = crew.start("detector1", blow=blow, lease=lease)
    family = crew.until(lambda: stands_still(first, FACTORIES[bus].held, tmp_path))
    second = crew.start("detector1", lease=lease)
    crew.until(lambda: place.done("detector1"))
    assert stopped(first)
    for process in family:
        os.kill(process, signal.SIGCONT)
    place.feed(*LATER)
    crew.until(lambda: place.done("detector1"))
    crew.stop()
    assert (blow.fallen, second.ends) == (1, [])
    assert first.ends in ([], [1] if point in IN_TRANSACTION else [])  # it may be told to end
    assert place.leftovers() == []
    place.demand_all([*NAMES, *LATER], levels=["ramp"])


def stands_still(worker, held, folder):
    """Return the ids of a stopped service's processes; it goes on a bit if it holds the bus."""
    family = stopped(worker)
    if family and held(folder):
        worker.signal(signal.SIGCONT)
        time.sleep(random.uniform(0, 0.01))
        worker.signal(signal.SIGSTOP)
        return []
    return family


def stopped(worker):
    """Return the ids of a service's processes if the parent stands still."""
    parent = psutil.Process(worker.process.pid)
    family = [parent, *parent.children()]
    if parent.status() != psutil.STATUS_STOPPED:
        return []
    return [process.pid for process in family]
