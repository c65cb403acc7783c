"""When associations go out, and with whom."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.associations import Association
from schemas.events import parse_event
from streams.associator import (
    Associator,
    Patience,
    Role,
    Rule,
    State,
    Tick,
    from_file,
    next_due,
    reduce,
    to_event,
)  # fmt: skip

from .made import IMAGE, PRODUCT, artifact, cal, exposure, failure, generation, member_names, plan, recipe

PATIENCE = Patience(quiet=10, deadline=100)
OTHER = {**IMAGE, "PROGRAM": "00042"}


def run(messages, associator=None, start=0.0, step=1.0):
    """Feed messages, one a second; a number among them is the time of a tick."""
    associator = associator or Associator(PATIENCE)
    said = []
    now = start
    for message in messages:
        if isinstance(message, int | float):
            now = message
            said += [emission for reduced in associator.tick(now) for emission in reduced.emissions]
        else:
            now += step
            said += associator.take(message, now).emissions
    return said


def last_words(said):
    return {emission.association_id: emission for emission in said}


def numbers(emission):
    return [int(name.split("_")[2]) for name in member_names(emission)]


def test_a_planned_association_goes_out_once_with_the_last_member():
    associator = Associator(PATIENCE)
    assert run([plan([1, 2, 3]), cal(3), cal(1, born=5)], associator) == []
    (emission,) = run([cal(2)], associator, start=50)
    assert numbers(emission) == [1, 2, 3]
    assert (emission.name, emission.stage, emission.completeness) == (PRODUCT, "image3", "complete")
    assert emission.generation == generation(5)
    assert emission.recipe == recipe()
    assert emission.keywords["FILTER"] == "F200W"
    assert run([cal(2), cal(1, born=5), 1000.0], associator, start=60) == []


def test_association_is_jwsts_json_with_identity_digest_and_uri():
    (emission,) = run([plan([1, 2]), cal(2), cal(1)])
    tree = json.loads(emission.association.to_json())
    assert (tree["asn_type"], tree["asn_rule"], tree["asn_id"]) == ("image3", "Asn_Lv3Image", "o001")
    assert (tree["program"], tree["target"]) == ("01234", "t-m-92")
    (product,) = tree["products"]
    assert product["name"] == PRODUCT
    event = cal(1)
    assert product["members"][0] == {
        "expname": f"{event.name}_cal.fits", "exptype": "science", "identity": event.identity,
        "digest": event.product.content, "uri": event.product.uri,
    }  # fmt: skip
    assert "calstream_failed" not in tree


def test_event_announces_the_emission_and_survives_the_wire():
    (emission,) = run([plan([1]), cal(1, born=7)])
    event = to_event(emission, artifact("asn"), handler="my-mosaics")
    assert parse_event(event.to_bytes()) == event
    assert (event.name, event.suffix, event.stage, event.handler) == (PRODUCT, "asn", "image3", "my-mosaics")
    assert (event.members, event.completeness, event.generation) == (1, "complete", generation(7))
    assert event.key == emission.association_id
    assert event.program == "01234"


def test_failed_members_are_recorded_and_not_waited_for():
    (emission,) = run([plan([1, 2, 3]), cal(1), failure(2, keywords={"PROGRAM": "01234"}), cal(3)])
    assert numbers(emission) == [1, 3]
    assert emission.completeness == "complete"
    tree = json.loads(emission.association.to_json())
    failed = {"name": exposure(2), "stage": "detector1", "error": "Unprocessable"}
    assert tree["calstream_failed"] == [failed]


def test_a_member_retried_with_success_joins():
    first, second = run([plan([1, 2]), cal(1), failure(2), cal(2)])
    assert (numbers(first), numbers(second)) == ([1], [1, 2])
    assert "calstream_failed" not in json.loads(second.association.to_json())


def test_nothing_goes_out_when_all_failed():
    assert run([plan([1, 2]), failure(1), failure(2), math.inf]) == []


def test_a_failure_of_the_combining_stage_is_no_members_failure():
    lost = failure(9, stage="image3").with_(name=PRODUCT)
    (emission,) = run([plan([1]), lost, cal(1)])
    assert "calstream_failed" not in json.loads(emission.association.to_json())


def test_without_a_plan_the_quiet_period_decides():
    associator = Associator(PATIENCE)
    assert run([cal(1), cal(2), 11.5], associator) == []
    assert associator.next_due() == 12.0
    assert run([cal(2), cal(1)], associator, start=11.5, step=0.1) == []
    (emission,) = run([12.0], associator)
    assert (emission.completeness, numbers(emission)) == ("unknown", [1, 2])
    assert run([500.0], associator) == []
    assert associator.next_due() is None
    (again,) = run([cal(3), 510.0, 511.5], associator, start=500.0)
    assert numbers(again) == [1, 2, 3]
    assert again.association_id == emission.association_id


def test_after_the_deadline_it_goes_out_partial_and_again_with_more():
    associator = Associator(PATIENCE)
    assert run([plan([1, 2, 3]), cal(1), cal(2), 101.5], associator) == []
    (partial,) = run([102.0], associator)
    assert (partial.completeness, numbers(partial)) == ("partial", [1, 2])
    assert json.loads(partial.association.to_json())["calstream_missing"] == [exposure(3)]
    (whole,) = run([cal(3)], associator, start=500.0)
    assert (whole.completeness, numbers(whole)) == ("complete", [1, 2, 3])
    assert to_event(whole, artifact("b")).id != to_event(partial, artifact("a")).id


def test_a_rerun_replaces_its_predecessor():
    associator = Associator(PATIENCE)
    run([plan([1, 2]), cal(1), cal(2)], associator)
    (emission,) = run([cal(1, born=9)], associator)
    assert emission.generation == generation(9)
    assert emission.association.products[0].members[0].digest == cal(1, born=9).product.content
    assert run([cal(1, born=3)], associator) == []


def test_the_same_content_made_again_passes_its_generation_on():
    associator = Associator(PATIENCE)
    (before,) = run([plan([1]), cal(1, content="x")], associator)
    (after,) = run([cal(1, born=2, content="x")], associator)
    assert after.association == before.association
    assert after.generation == generation(2)


def test_a_planned_campaign_speaks_once():
    associator = Associator(PATIENCE)
    run([plan([1, 2, 3, 4]), *map(cal, [1, 2, 3, 4])], associator)
    redo = [plan([1, 2, 3], born=5, campaign="redo"), cal(1, 6, campaign="redo"), cal(3, 8, campaign="redo")]
    assert run(redo, associator) == []
    (emission,) = run([cal(2, 7, campaign="redo")], associator)
    assert (emission.campaign, emission.completeness) == ("redo", "complete")
    assert emission.generation == generation(8)
    assert numbers(emission) == [1, 2, 3, 4]


def test_a_campaign_counts_failures_as_through_and_keeps_the_older_product():
    associator = Associator(PATIENCE)
    run([plan([1, 2]), cal(1), cal(2)], associator)
    run([plan([1, 2], born=5, campaign="redo"), cal(1, 6, campaign="redo")], associator)
    (emission,) = run([failure(2, 7, campaign="redo")], associator)
    assert [m.digest for m in emission.association.products[0].members] == [
        cal(1, 6).product.content,
        cal(2).product.content,
    ]


def test_a_campaign_that_loses_a_member_goes_out_partial_at_the_deadline():
    associator = Associator(PATIENCE)
    run([plan([1, 2]), cal(1), cal(2)], associator)
    run([plan([1, 2], born=5, campaign="redo"), cal(1, 6, campaign="redo")], associator, start=100)
    (emission,) = run([202.0], associator)
    assert emission.completeness == "partial"


def test_a_campaign_without_a_plan_waits_for_quiet():
    associator = Associator(PATIENCE)
    run([plan([1, 2]), cal(1), cal(2)], associator)
    assert run([cal(1, 6, campaign="redo"), cal(2, 7, campaign="redo")], associator, start=100) == []
    (emission,) = run([112.0], associator)
    assert (emission.campaign, emission.completeness, numbers(emission)) == ("redo", "complete", [1, 2])


def test_recipes_never_mix():
    associator = Associator(PATIENCE)
    run([plan([1, 2]), cal(1), cal(2)], associator)
    assert run([cal(1, 5, under="other")], associator) == []
    (emission,) = run([cal(2, 6, under="other")], associator)
    assert emission.recipe == recipe("other")
    assert numbers(emission) == [1, 2]


def test_a_member_of_the_older_recipe_is_missing_at_the_deadline():
    (_, emission) = run([plan([1, 2]), cal(1), cal(2), cal(2, 5, under="other"), math.inf])
    assert (emission.completeness, numbers(emission)) == ("partial", [2])
    assert json.loads(emission.association.to_json())["calstream_missing"] == [exposure(1)]


def test_the_newest_plan_holds():
    associator = Associator(PATIENCE)
    run([plan([1, 2, 3], born=1), cal(1), cal(2)], associator)
    (emission,) = run([plan([1, 2], born=2)], associator)
    assert numbers(emission) == [1, 2]
    assert run([plan([1, 2, 3, 4], born=1)], associator) == []


def test_a_group_outside_the_plan_waits_for_quiet():
    stranger = cal(9, keywords={**IMAGE, "FILTER": "F150W"})
    (first, second) = run([plan([1]), stranger, cal(1), math.inf])
    assert (first.completeness, second.completeness) == ("complete", "unknown")


def test_an_exposure_that_cannot_be_placed_is_explained():
    keywords = {key: value for key, value in IMAGE.items() if key != "TARGPROP"}
    reduced = Associator(PATIENCE).take(cal(1, keywords=keywords), 0.0)
    assert not reduced.emissions
    (refused,) = reduced.refused
    assert refused.name == exposure(1)
    assert "TARGPROP" in refused.reason
    (planned,) = Associator(PATIENCE).take(plan([1], keywords=keywords), 0.0).refused
    assert planned.name == exposure(1)


def test_a_message_of_another_program_is_a_mistake():
    with pytest.raises(ValueError, match="00042"):
        reduce(State(line="main", program="01234"), cal(1, keywords=OTHER), 0.0)


def test_the_state_is_left_alone_and_is_json():
    before = reduce(State(line="main", program="01234"), plan([1, 2]), 0.0).state
    frozen = before.model_dump_json()
    after = reduce(before, cal(1), 1.0).state
    assert before.model_dump_json() == frozen
    assert State.model_validate_json(after.model_dump_json()) == after
    assert reduce(after, Tick(), 2.0).state == after
    assert next_due(after, PATIENCE) == 101.0


CORON = Rule(
    name="coron",
    stage="coron3",
    roles=(
        Role(
            "science",
            ("calints",),
            ("nrc_coron",),
            ("program", "target"),
            unless=(lambda k: k.get("IS_PSF"),),
        ),
        Role("psf", ("calints",), ("nrc_coron",), ("program",), when=(lambda k: bool(k.get("IS_PSF")),)),
    ),
    product=lambda group: f"jw{group['program']}-c1000_{group['target']}",
)


def test_a_role_with_a_shorter_key_joins_every_group():
    science = {**IMAGE, "EXP_TYPE": "NRC_CORON"}
    events = [
        cal(1, keywords=science, suffix="calints"),
        cal(2, keywords={**science, "TARGPROP": "HR-8799"}, suffix="calints"),
        cal(3, keywords={**science, "TARGPROP": "STAR", "IS_PSF": True}, suffix="calints"),
    ]
    said = run([*events[:2], math.inf], Associator(PATIENCE, (CORON,)))
    assert said == []
    for order in (events, events[::-1]):
        first, second = run([*order, math.inf], Associator(PATIENCE, (CORON,)))
        for emission in (first, second):
            assert sorted(m.exptype for m in emission.association.products[0].members) == ["psf", "science"]


def test_a_users_association_keeps_its_name_and_members():
    association = Association.model_validate({
        "asn_type": "image3",
        "products": [{"name": "My_Mosaic", "members": [
            {"expname": f"data/{exposure(n)}_cal.fits", "exptype": "science"} for n in (2, 1)
        ]}],
    })  # fmt: skip
    events = {(event.name, "cal"): event for event in (cal(1), cal(2, born=3))}
    assert from_file(association, dict(list(events.items())[:1]), {}) is None
    emission = from_file(association, events, {})
    assert (emission.name, emission.generation, member_names(emission)) == (
        "my_mosaic", generation(3), [exposure(1), exposure(2)],
    )  # fmt: skip
    assert emission.association.products[0].members[0].uri == cal(1).product.uri
    rest = from_file(association, dict(list(events.items())[:1]), {exposure(2): failure(2)})
    assert member_names(rest) == [exposure(1)]
    assert from_file(association, {}, {exposure(1): failure(1), exposure(2): failure(2)}) is None


outcome = st.sampled_from(
    ["arrives", "arrives", "fails", "fails then arrives", "fails twice", "rerun", "rerun fails"]
)


def story(number, what, **common):
    return {
        "arrives": [cal(number, **common)],
        "fails": [failure(number, **common)],
        "fails twice": [
            failure(number, **common),
            failure(number, born=30 + number, stage="image2", **common),
        ],
        "fails then arrives": [failure(number, **common), cal(number, **common)],
        "rerun": [cal(number, **common), cal(number, born=10 + number, **common)],
        "rerun fails": [cal(number, **common), failure(number, born=10 + number, **common)],
    }[what]


@st.composite
def histories(draw):
    """Messages of two lines and two programs, in two orders, each with repeats and with ticks in between."""
    messages = []
    for line in ("main", "test"):
        for keywords in (IMAGE, OTHER):
            common = {"line": line, "keywords": keywords}
            outcomes = draw(st.lists(outcome, min_size=1, max_size=4))
            for number, what in enumerate(outcomes, 1):
                messages += story(number, what, **common)
            if draw(st.booleans()):
                messages.append(plan(range(1, len(outcomes) + 1 + draw(st.integers(0, 1))), **common))
            if draw(st.booleans()):
                chosen = draw(st.sets(st.integers(1, len(outcomes)), min_size=1))
                messages.append(plan(chosen, born=20, campaign="redo", **common))
                under = draw(st.sampled_from(["optimal", "derived"]))
                messages += [cal(n, born=20 + n, campaign="redo", under=under, **common) for n in chosen]
    orders = []
    for _ in range(2):
        repeated = messages + draw(st.lists(st.sampled_from(messages), max_size=5))
        ticks = draw(st.lists(st.sampled_from([5.0, 50.0, 500.0]), max_size=3))
        orders.append(draw(st.permutations([*repeated, *ticks])))
    return orders


@settings(max_examples=150, deadline=None)
@given(histories())
def test_the_last_word_does_not_depend_on_the_order(orders):
    (words, other) = (last_words(run([*order, math.inf])) for order in orders)
    assert words == other
    assert all(
        len({m.identity.split("/")[0] for m in e.association.products[0].members}) == 1
        for e in words.values()
    )
    assert all({name[2:7] for name in member_names(e)} == {e.association.program} for e in words.values())


@settings(max_examples=100, deadline=None)
@given(histories())
def test_every_arrival_is_in_the_last_word_and_nothing_is_said_twice(orders):
    said = run([*orders[0], math.inf])
    arrived = {m.identity for m in orders[0] if hasattr(m, "product")}
    words = last_words(said).values()
    assert sorted(m.identity for e in words for m in e.association.products[0].members) == sorted(arrived)
    ids = [to_event(e, artifact(e.association.to_json())).id for e in said]
    for earlier, later in itertools.pairwise(said):
        assert earlier != later
    by_group = {}
    for emission, event_id in zip(said, ids, strict=True):
        assert by_group.get(emission.association_id) != event_id
        by_group[emission.association_id] = event_id


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(1, 7)), st.sets(st.integers(1, 6), max_size=5))
def test_with_a_plan_there_is_exactly_one_emission(order, failing):
    news = [failure(n) if n in failing else cal(n) for n in order]
    (emission,) = run([plan(range(1, 7)), *news, math.inf])
    assert numbers(emission) == sorted(set(range(1, 7)) - failing)
    assert emission.completeness == "complete"
