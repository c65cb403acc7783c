"""Replay: what has changed is done again with all that depends on it, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from astropy.io import fits

from processors.recipes import builtin
from schemas.errors import UsageError
from schemas.events import PlanEvent, parse_event
from streams.current import events_of
from streams.recipes import frozen
from streams.references import ReferenceLibrary
from streams.replay import Conditions, choose, forecast, new_recipes, prepare, publish, tools_of
from streams.where import where

NRCA1 = Conditions(where=where("detector == 'NRCA1'"))


def campaign_of(works, topic, conditions=NRCA1, **options):
    selection = choose(works.site.bus, topic, conditions)
    recipes = new_recipes(selection.events, lambda digest: frozen(works.site.store, digest), **options)
    return prepare(selection, recipes)


def foretold(works, campaign):
    found = forecast(campaign, works.site, tools_of(works.site, campaign, {}))
    assert found.reasons == ()
    return found


def replayed(works, *arguments, **options):
    """Foretell, publish and process; what was foretold is what happened."""
    campaign = campaign_of(works, *arguments, **options)
    found = foretold(works, campaign)
    publish(campaign, works.site)
    happened = works.run()
    words = {"complete": "computed", "cached": "hit"}
    assert Counter({(s, words[o]): n for (s, o), n in happened.items()}) == found.runs
    return campaign, happened, found


def another_flat(works, folder):
    rate = next(e for e in works.current("rate").values() if e.keywords["DETECTOR"] == "NRCA1")
    path = ReferenceLibrary().pick(dict(rate.keywords), ["flat"])["flat"]
    mine = folder / "my_flat.fits"
    with fits.open(path) as file:
        file["SCI"].data = file["SCI"].data * 1.01
        file.writeto(mine)
    return mine


def test_one_detector_with_another_flat(works, tmp_path, monkeypatch):
    before = {level: works.current(level) for level in ("ramp", "rate", "cal", "combined")}
    flat = another_flat(works, tmp_path)
    monkeypatch.chdir(tmp_path)
    campaign, happened, found = replayed(works, "rate", table={"flat_field": {"override_flat": flat.name}})
    assert happened == {("image2", "complete"): 2, ("image3", "complete"): 1}
    (affected,) = found.associations
    assert (affected.members, affected.sent) == (4, 2)
    after = {level: works.current(level) for level in before}
    assert after["ramp"] == before["ramp"]
    changed = [name for name, event in after["cal"].items() if event.product != before["cal"][name].product]
    assert sorted(changed) == sorted(event.name for event in campaign.events)
    (mosaic,) = after["combined"].values()
    assert (mosaic.generation, mosaic.campaign, mosaic.input_count) == (campaign.generation, campaign.id, 4)
    with works.site.store.fetch(mosaic.association) as path:
        association = json.loads(path.read_text())
    members = {m["identity"]: m["digest"] for p in association["products"] for m in p["members"]}
    assert members == {event.identity: event.product.content for event in after["cal"].values()}
    assert len(association["calstream_recipes"]) == 2
    steps = frozen(works.site.store, mosaic.recipe.digest).steps
    assert steps == {"flat_field": {"override_flat": str(flat)}}


def test_what_has_not_changed_costs_no_compute_and_goes_to_its_end(works):
    before = works.current("combined")
    _, happened, _ = replayed(works, "raw", Conditions())
    assert happened == {
        ("detector1", "cached"): 4, ("ramp_fit", "cached"): 4, ("image2", "cached"): 4,
        ("image3", "cached"): 1,
    }  # fmt: skip
    ((name, mosaic),) = works.current("combined").items()
    assert mosaic.product == before[name].product
    assert mosaic.generation > before[name].generation


def test_the_mosaic_alone(works):
    _, happened, _ = replayed(works, "cal", table={"resample": {"pixfrac": 0.8}})
    assert happened == {("image3", "complete"): 1}


def test_a_parameter_in_the_middle_of_the_road(works):
    _, happened, _ = replayed(works, "raw", table={"ramp_fit": {"algorithm": "ols"}})
    assert happened == {
        ("detector1", "cached"): 2, ("ramp_fit", "complete"): 2, ("image2", "complete"): 2,
        ("image3", "complete"): 1,
    }  # fmt: skip
    _, again, _ = replayed(works, "raw", table={"ramp_fit": {"algorithm": "ols"}})
    assert {outcome for _, outcome in again} == {"cached"}


def test_another_recipe(works):
    _, happened, _ = replayed(works, "raw", named=builtin("baseline"))
    assert happened["detector1", "complete"] == 2
    assert happened["image3", "complete"] == 1
    assert {e.recipe.name for e in works.current("cal").values()} == {"optimal", "baseline"}


def test_lines_do_not_mix(works, downlink):
    works.ingest(*sorted(downlink.glob("*nrca1_uncal.fits")), line="test")
    assert {outcome for _, outcome in works.run()} == {"cached", "complete"}
    both = choose(works.site.bus, "rate", NRCA1)
    assert len(both.events) == 4
    campaign, _, found = replayed(
        works, "rate", Conditions(line="test"), table={"resample": {"pixfrac": 0.8}}
    )
    assert {event.line for event in campaign.events} == {"test"}
    (affected,) = found.associations
    assert affected.members == 2


def test_a_foretelling_leaves_no_trace(works):
    def trace():
        files = sorted(str(path) for path in Path(works.site.store.root).rglob("*"))
        return files, [len(list(works.site.bus.read(topic))) for topic in works.site.bus.topics()]

    before = trace()
    found = foretold(works, campaign_of(works, "raw", table={"ramp_fit": {"algorithm": "ols"}}))
    assert found.count("computed") == 5
    assert trace() == before


def test_plans_and_events_are_published_together_in_one_new_generation(works):
    known = {event.generation for event in events_of(works.site.bus)}
    campaign = campaign_of(works, "rate")
    published = []
    works.site.bus.publish, original = lambda outputs: published.append(list(outputs)), works.site.bus.publish
    try:
        publish(campaign, works.site)
    finally:
        works.site.bus.publish = original
    ((plan, *events),) = [[parse_event(out.value) for out in batch] for batch in published]
    assert isinstance(plan, PlanEvent)
    assert (plan.campaign, plan.generation) == (campaign.id, campaign.generation)
    assert {event.generation for event in events} == {campaign.generation}
    assert campaign.generation > max(known)
    assert [out.topic for out in published[0]] == ["plan", "rate", "rate"]


def test_a_clock_that_went_back_does_not_matter(works):
    selection = choose(works.site.bus, "rate", NRCA1)
    recipes = new_recipes(selection.events, lambda digest: frozen(works.site.store, digest))
    campaign = prepare(selection, recipes, now=0.0)
    assert campaign.generation > selection.newest


def test_many_events_go_in_batches_plans_first(works, monkeypatch):
    monkeypatch.setattr("streams.replay.campaign.TOGETHER", 2)
    publish(campaign_of(works, "rate", Conditions()), works.site)
    assert works.run() == {("image2", "cached"): 4, ("image3", "cached"): 1}


def test_a_step_that_is_not_on_the_way_is_refused(works):
    with pytest.raises(UsageError, match="does not go through jump"):
        campaign_of(works, "rate", table={"jump": {"likelihood_threshold_one": 9.0}})
    with pytest.raises(UsageError, match="there is no step 'flatfield'; did you mean 'flat_field'"):
        campaign_of(works, "rate", table={"flatfield": {"skip": True}})
    with pytest.raises(UsageError, match=r"no file nowhere\.fits"):
        campaign_of(works, "rate", table={"flat_field": {"override_flat": "nowhere.fits"}})


def test_code_that_nobody_enabled_is_not_sent(works):
    campaign = campaign_of(works, "raw", table={"ramp_fit": {"use": "my_lab:fit"}})
    with pytest.raises(UsageError, match="recipe enable"):
        publish(campaign, works.site)
    assert works.run() == {}
