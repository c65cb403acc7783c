"""The associator is killed after seven of eight members, and at every point on its way with the eighth."""

from __future__ import annotations

import os
import socket
import time

import pytest

from schemas.records import ServiceRecord
from streams.bus import Outgoing
from streams.current import current_products
from streams.topics import SERVICES
from tests.chaos.buses import FACTORIES
from tests.chaos.places import exposure
from tests.chaos.points import IN_ASSOCIATOR, Blow

NAMES = [exposure(number) for number in range(8)]
POINTS = [*IN_ASSOCIATOR, *FACTORIES["embedded"].points]
FIRST = POINTS[0]

pytestmark = pytest.mark.parametrize("bus", ["embedded"])  # on Kafka it is another: associator/test_faust.py


def some(points):
    """One of the points in each run of the tests, all of them in `make chaos`."""
    return [pytest.param(point, marks=() if point == FIRST else pytest.mark.whole) for point in points]


def watching(place, running=True):
    """Say that an ingest watches, so that more may come; or that it has ended."""
    now = time.time()
    record = ServiceRecord(
        service="ingest", instance="one", host=socket.gethostname(), pid=os.getpid(), state="watching",
        started=now, time=now, interval=3600,
    )  # fmt: skip
    value = record.to_bytes() if running else b""
    place.site.bus.publish([Outgoing(topic=SERVICES, key=record.key, value=value)])


def killed_after_seven(place, crew):
    """Let one associator take seven members, and kill it."""
    place.feed(*NAMES[:7], topic="cal")
    first = crew.start("associator")
    crew.until(lambda: place.done("associator"))
    crew.kill(first)


def finished_by_another(place, crew, blow, products):
    """Let another one take the eighth, and be killed at a point."""
    second = crew.start("associator", blow=blow)
    place.feed(NAMES[7], topic="cal")
    crew.until(lambda: len(place.events("combined")) == products and place.done("associator", "image3"))
    crew.stop()
    assert (blow.fallen, second.ends) == (1, [-9]), crew.said()


@pytest.mark.parametrize("point", POINTS)
def test_with_a_plan_the_mosaic_appears_once_with_every_member(place, crew, tmp_path, point):
    place.promise(*NAMES)
    crew.start("image3")
    killed_after_seven(place, crew)
    assert place.events("association") == []
    finished_by_another(place, crew, Blow(point=point, whom="parent", folder=tmp_path), 1)
    (association,) = place.events("association")
    assert (association.completeness, place.members_of(association)) == ("complete", NAMES)
    (mosaic,) = place.events("combined")
    assert mosaic.input_count == 8
    place.demand_order()


@pytest.mark.parametrize("point", some(POINTS))
def test_without_a_plan_what_is_not_yet_said_is_said_once_by_the_next(place, crew, tmp_path, point):
    watching(place)
    killed_after_seven(place, crew)
    assert place.events("association") == []
    crew.start("image3")
    watching(place, False)
    place.feed(NAMES[7], topic="cal")
    blow = Blow(point=point, whom="parent", folder=tmp_path)
    second = crew.start("associator", blow=blow)
    crew.until(lambda: place.events("combined") and place.done("associator", "image3"))
    crew.stop()
    assert (blow.fallen, second.ends) == (1, [-9]), crew.said()
    (association,) = place.events("association")
    assert (association.completeness, place.members_of(association)) == ("unknown", NAMES)
    place.demand_order()


@pytest.mark.parametrize("point", some(POINTS))
def test_without_a_plan_one_mosaic_is_current_and_holds_every_member(place, crew, tmp_path, point):
    crew.start("image3")
    killed_after_seven_were_said(place, crew)
    finished_by_another(place, crew, Blow(point=point, whom="parent", folder=tmp_path), 2)
    assert [place.members_of(event) for event in place.events("association")] == [NAMES[:7], NAMES]
    (current,) = current_products(place.events("combined")).values()
    assert current.input_count == 8
    place.demand_order()


def killed_after_seven_were_said(place, crew):
    place.feed(*NAMES[:7], topic="cal")
    first = crew.start("associator")
    crew.until(lambda: len(place.events("combined")) == 1 and place.done("associator", "image3"))
    crew.kill(first)
