"""What a dry run says where other services, or code that is not there, stand on the road."""

from __future__ import annotations

import pytest

from schemas.recipe import Handler, Recipe
from streams.bus.memory import MemoryBus
from streams.replay import Conditions, forecast, tools_of
from tests.streams.replay.conftest import opened, populated
from tests.streams.replay.test_persistence import ON
from tests.streams.replay.test_replay import campaign_of, foretold
from tests.streams.replay.works import Works


@pytest.fixture
def looking_back(downlink, tmp_path):
    """A pipeline that has processed both exposures of a detector with persistence on."""
    made = Works(opened(populated(MemoryBus(), []), tmp_path))
    made.ingest(*sorted(downlink.glob("*_nrca1_uncal.fits")), recipe=ON)
    assert made.run()["ramp_fit", "complete"] == 2
    return made


def with_handler(recipe, stage, service):
    return recipe.model_copy(update={"name": "theirs", "handlers": {stage: Handler(service=service)}})


def test_behind_anothers_ramp_fit_nothing_is_told_and_its_runs_are_not_ours(looking_back):
    theirs = with_handler(ON, "ramp_fit", "my-fit")
    found = foretold(looking_back, campaign_of(looking_back, "raw", Conditions(), named=theirs))
    assert found.others == {"my-fit": 2}
    assert found.runs == {("detector1", "hit"): 2, ("image3", "unknown"): 1}
    (affected,) = found.associations
    assert (affected.members, affected.sent, affected.outcome) == (2, 2, "unknown")


def test_behind_a_ramp_fit_that_cannot_be_told_nothing_is(looking_back):
    mine = ON.model_copy(update={"name": "mine", "steps": {**ON.steps, "ramp_fit": {"use": "my_lab:fit"}}})
    campaign = campaign_of(looking_back, "ramp", Conditions(), named=mine)
    found = forecast(campaign, looking_back.site, tools_of(looking_back.site, campaign, {}))
    assert "my_lab" in " ".join(found.reasons)
    assert found.runs == {("ramp_fit", "unknown"): 2, ("image3", "unknown"): 1}
    assert found.others == {}


def test_of_a_ramp_fit_that_is_computed_more_is_told(looking_back):
    campaign = campaign_of(looking_back, "ramp", Conditions(), table={"ramp_fit": {"algorithm": "ols"}})
    assert foretold(looking_back, campaign).runs == {
        ("ramp_fit", "computed"): 2, ("image2", "computed"): 2, ("image3", "computed"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("table", [{}, {"flat_field": {"skip": True}}])
def test_anothers_mosaic_is_no_run_of_ours(works, table):
    theirs = with_handler(Recipe(base="optimal", steps=table), "image3", "my-mosaic")
    found = foretold(works, campaign_of(works, "rate", Conditions(), named=theirs))
    assert found.others == {"my-mosaic": 1}
    assert found.runs == {("image2", "computed" if table else "hit"): 4}
    (affected,) = found.associations
    assert (affected.stage, affected.members, affected.outcome) == ("image3", 4, "unknown")
