"""A service is killed at every point of its way, parent or child: each exposure has one product."""

from __future__ import annotations

import pytest

from tests.chaos.buses import FACTORIES
from tests.chaos.places import exposure
from tests.chaos.points import IN_CHILD, IN_PARENT, Blow

NAMES = [exposure(number) for number in range(16)]
LEASE = 3.0
"""Of processes without a name, on which others wait when they were killed."""
WHOLE = (pytest.mark.whole,)


def _cases():
    """Yield whom to kill where on which bus: on Kafka in all tests only who passes the point himself."""
    for bus, factory in FACTORIES.items():
        for point in (*IN_CHILD, *IN_PARENT, *factory.points):
            for whom in ("parent", "child"):
                himself = (point in IN_CHILD) == (whom == "child")
                if himself or bus != "kafka-3":
                    marks = () if bus == "embedded" or (bus == "kafka" and himself) else WHOLE
                    yield case(bus, point, whom, 1, 1, marks)
                if bus != "kafka-3":
                    yield case(bus, point, whom, 3, 2, WHOLE)


def case(bus, point, whom, nth, slots, marks):
    identity = f"{bus} {whom} {point} {nth} {slots}"
    return pytest.param(bus, point, whom, nth, slots, id=identity, marks=marks)


@pytest.mark.parametrize(("bus", "point", "whom", "nth", "slots"), list(_cases()), indirect=["bus"])
def test_killed_at_a_point_it_goes_on_and_every_product_is_there_once(
    place, crew, tmp_path, point, whom, nth, slots
):
    blow = Blow(point=point, whom=whom, nth=nth, times=2, folder=tmp_path)
    options = [f"--slots={slots}"]
    worker = crew.start("detector1", blow=blow, options=options, named=nth == 1, lease=LEASE)
    for wave in range(nth):  # so that there are as many polls and commits at least
        place.feed(*NAMES[wave::nth])
        crew.until(lambda: place.done("detector1"))
    crew.abandon()
    assert blow.fallen >= 1
    assert set(worker.ends) <= ({-9} if whom == "parent" else set())
    assert len(worker.ends) <= blow.fallen  # the last may not have been seen, two children strike at once
    place.demand_all(NAMES, levels=["ramp"])
