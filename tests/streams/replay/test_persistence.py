"""Persistence on the whole road: late exposures and replays, and what is computed again because of them."""

from __future__ import annotations

from collections import Counter

import pytest
from astropy.io import fits
from astropy.time import Time

from schemas.reading import read
from schemas.recipe import Recipe
from streams.bus.embedded import EmbeddedBus
from streams.bus.memory import MemoryBus
from streams.replay import Conditions, publish
from streams.where import where
from tests.streams.replay.conftest import opened, populated
from tests.streams.replay.test_replay import campaign_of, foretold, replayed
from tests.streams.replay.works import Works

ON = Recipe(name="on", base="optimal", steps={"persistence": {"skip": False}})
BUSES = {"memory": lambda folder: MemoryBus(), "embedded": lambda folder: EmbeddedBus(folder / "bus")}


@pytest.fixture(params=BUSES)
def empty(request, downlink, tmp_path):
    """A pipeline that has done nothing, and the first and the second exposure of a detector."""
    bus = populated(BUSES[request.param](tmp_path), [])
    yield Works(opened(bus, tmp_path)), sorted(downlink.glob("*_nrca1_uncal.fits"))
    bus.close()


def inputs(works, event):
    """Roles and exposures of what a rate was made from, by its own provenance."""
    with works.site.store.fetch(event.product) as path:
        product = read(path)
    assert product.meta.provenance.run["run_key"] == event.run_key
    found = product.meta.provenance.run["inputs"]
    return sorted((item["role"], item["product"].split("_")[2]) for item in found), product


def test_a_late_exposure_makes_the_one_after_it_again_and_nothing_else(empty):
    works, (first, second) = empty
    works.ingest(second, recipe=ON)
    done = works.run()
    assert done["detector1", "complete"] == done["ramp_fit", "complete"] == 1
    (before,) = works.current("rate").values()
    found, product = inputs(works, before)
    assert found == [("science", "00002")]
    assert product.meta.get("S_PERSIS") == "SKIPPED"
    works.ingest(first, recipe=ON)
    again = works.run()
    assert again["detector1", "complete"] == 1
    assert again["ramp_fit", "complete"] == 2
    now = works.current("rate")[before.name]
    found, product = inputs(works, now)
    assert found == [("persistence", "00001"), ("science", "00002")]
    assert product.meta.get("S_PERSIS") == "COMPLETE"
    assert (now.input_count, before.input_count) == (2, 1)
    assert now.generation > before.generation
    assert now.run_key != before.run_key


def test_together_each_rate_is_made_once_with_all_before_it(empty):
    works, both = empty
    works.ingest(*both, recipe=ON)
    done = works.run()
    assert done["detector1", "complete"] == done["ramp_fit", "complete"] == 2
    assert done["image2", "complete"] == 2
    found = {event.name.split("_")[2]: inputs(works, event)[0] for event in works.current("rate").values()}
    assert found == {
        "00001": [("science", "00001")],
        "00002": [("persistence", "00001"), ("science", "00002")],
    }
    assert works.run() == Counter()


FIRST = Conditions(where=where("exposure == 1"))


def test_a_replay_that_changes_no_history_computes_nothing(empty):
    works, both = empty
    works.ingest(*both, recipe=ON)
    works.run()
    _, happened, _ = replayed(works, "raw", Conditions())
    assert {outcome for _, outcome in happened} == {"cached"}
    assert happened["ramp_fit", "cached"] == 2


def test_a_replay_that_changes_a_history_changes_what_is_after_it(empty):
    works, both = empty
    works.ingest(*both, recipe=ON)
    works.run()
    before = works.current("rate")
    campaign = campaign_of(works, "raw", FIRST, table={"persistence_history": {"dn_threshold": 100.0}})
    found = foretold(works, campaign)
    publish(campaign, works.site)
    happened = works.run()
    assert (happened["detector1", "complete"], found.runs["detector1", "computed"]) == (1, 1)
    # The first exposure's ramp comes out as it was, which nobody can foretell.
    assert (happened["ramp_fit", "complete"], happened["ramp_fit", "cached"]) == (1, 1)
    assert found.runs["ramp_fit", "computed"] == 2
    assert happened["image2", "complete"] == 1
    after = works.current("rate")
    changed = {name.split("_")[2] for name in after if after[name].run_key != before[name].run_key}
    assert changed == {"00002"}
    assert {event.generation for event in after.values()} == {campaign.generation}


@pytest.fixture
def night(empty, tmp_path):
    """The same two exposures with midnight between them."""
    works, both = empty
    paths = []
    for path, (day, moment) in zip(
        both, (("2022-07-12", "23:58:00"), ("2022-07-13", "00:02:00")), strict=True
    ):
        with fits.open(path) as hdus:
            hdus[0].header["DATE-OBS"], hdus[0].header["TIME-OBS"] = day, moment
            shift = Time(f"{day}T{moment}").mjd - hdus["INT_TIMES"].data["int_start_MJD_UTC"][0]
            for name in hdus["INT_TIMES"].data.names[1:4]:
                hdus["INT_TIMES"].data[name] += shift
            hdus.writeto(tmp_path / path.name)
        paths.append(tmp_path / path.name)
    return works, paths


def test_midnight_parts_neither_runs_nor_replays(night):
    works, (first, second) = night
    works.ingest(second, recipe=ON)
    works.run()
    works.ingest(first, recipe=ON)
    assert works.run()["ramp_fit", "complete"] == 2
    found = {event.name.split("_")[2]: inputs(works, event)[0] for event in works.current("rate").values()}
    assert found["00002"] == [("persistence", "00001"), ("science", "00002")]
    campaign = campaign_of(works, "raw", FIRST, table={"persistence_history": {"dn_threshold": 100.0}})
    foreseen = foretold(works, campaign)
    publish(campaign, works.site)
    happened = works.run()
    assert (happened["ramp_fit", "complete"], happened["ramp_fit", "cached"]) == (1, 1)
    assert foreseen.runs["ramp_fit", "computed"] == 2
