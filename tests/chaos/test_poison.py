"""An event that kills whatever computes it is given up, and comes back when that is mended."""

from __future__ import annotations

from collections import Counter

from streams.cli import application
from streams.deadletters import letters
from tests.chaos.places import exposure

NAMES = [exposure(number) for number in range(50)]


def test_what_kills_its_child_goes_to_the_dead_letters_and_comes_back_when_it_is_mended(
    place, crew, tmp_path
):
    place.feed(*NAMES[:25])
    (poison,) = place.feed("dies_of_itself")
    place.feed(*NAMES[25:])
    crew.start("detector1")
    crew.until(lambda: place.done("detector1"))
    assert sorted(event.name for event in place.events("ramp")) == NAMES
    (letter,) = letters(place.site.bus)
    assert letter.message.value == poison.to_bytes()
    assert letter.said("message").startswith("dies_of_itself: the process that computed it ended (signal 9")
    (failure,) = place.events("failures")
    assert failure.event_id == poison.id
    computed = Counter(line.split()[0] for line in (tmp_path / "computed").read_text().splitlines())
    assert computed.pop("dies_of_itself") == 3
    assert computed == dict.fromkeys(NAMES, 1)

    (tmp_path / "healed").touch()
    where = place.site.address
    assert application.start(["dlq", "retry", "--all", "--bus", where.bus, "--store", where.store]) == 0
    crew.until(lambda: place.done("detector1"))
    crew.stop()
    place.demand_all([*NAMES, "dies_of_itself"], levels=["ramp"], failures=1)
