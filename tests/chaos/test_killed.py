"""A service is killed at every point of its way, parent or child: each exposure has one product."""

from __future__ import annotations

import pytest

from tests.chaos.buses import FACTORIES
from tests.chaos.places import exposure
from tests.chaos.points import IN_CHILD, IN_PARENT, Blow

NAMES = [exposure(number) for number in range(16)]
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
    place.feed(*NAMES)
    blow = Blow(point=point, whom=whom, nth=nth, times=2, folder=tmp_path)
    worker = crew.start("detector1", blow=blow, options=[f"--slots={slots}"])
    crew.until(lambda: place.done("detector1"))
    crew.stop()
    assert blow.fallen >= 1
    assert worker.ends == ([-9] * blow.fallen if whom == "parent" else [])
    place.demand_all(NAMES, levels=["ramp"])
