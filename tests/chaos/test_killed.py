"""A service is killed at every point of its way, parent or child: each exposure has one product."""

from __future__ import annotations

import pytest

from tests.chaos.buses import FACTORIES
from tests.chaos.places import exposure
from tests.chaos.points import IN_CHILD, IN_PARENT, Blow

NAMES = [exposure(number) for number in range(16)]
WAVES = 3
PARENT = [*IN_PARENT, *FACTORIES["embedded"].points]
CASES = [
    pytest.param(point, whom, nth, slots, id=f"{whom} {point} {nth} {slots}", marks=marks)
    for nth, slots, marks in ((1, 1, ()), (3, 2, pytest.mark.whole))
    for point in (*IN_CHILD, *PARENT)
    for whom in ("parent", "child")
]


@pytest.mark.parametrize(("point", "whom", "nth", "slots"), CASES)
def test_killed_at_a_point_it_goes_on_and_every_product_is_there_once(
    place, crew, tmp_path, point, whom, nth, slots
):
    blow = Blow(point=point, whom=whom, nth=nth, times=2, folder=tmp_path)
    worker = crew.start("detector1", blow=blow, options=[f"--slots={slots}"])
    for wave in range(WAVES):  # so that there are as many polls and commits at least
        place.feed(*NAMES[wave::WAVES])
        crew.until(lambda: place.done("detector1"))
    crew.abandon()
    assert blow.fallen >= 1
    assert set(worker.ends) <= ({-9} if whom == "parent" else set())
    assert len(worker.ends) <= blow.fallen  # the last may not have been seen, two children strike at once
    place.demand_all(NAMES, levels=["ramp"])
