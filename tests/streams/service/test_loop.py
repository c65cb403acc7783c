"""A service: each event once, whatever happens to the child that computes it."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from schemas.errors import Retriable
from schemas.records import ServiceRecord
from streams import marks
from streams.bus import Outgoing
from streams.bus.memory import MemoryConsumer
from streams.manifest_files import manifest_path
from streams.service import hurdle
from streams.service.hurdle import Space
from streams.service.slot import Limits
from streams.store import Store

from .support import events, last_record, publish, raw, running, set_environment, site_at, until

DLQ = "raw.to_ramp.dlq"


@pytest.fixture
def site(tmp_path, monkeypatch):
    set_environment(monkeypatch, tmp_path)
    return site_at(tmp_path)


def computed(site):
    """How often each exposure was begun to be computed."""
    notes = site.store.root.rpartition("/")[0] + "/computed"
    with open(notes) as file:
        return Counter(line.split()[0] for line in file)


def done(site, group="to_ramp", topic="raw"):
    return site.bus.lag(group, [topic])[topic] == 0


def test_every_event_leads_to_one_product_and_its_manifest(site):
    names = [f"plain_{i:03}" for i in range(40)]
    sources = publish(site, *names)
    with running(site, slots=2):
        until(lambda: done(site))
    made = events(site, "ramp")
    assert sorted(event.name for event in made) == names
    assert {event.outcome for event in made} == {"complete"}
    by_name = {event.name: event for event in sources}
    for event in made:
        assert event.generation == by_name[event.name].generation
        assert event.inputs[0].digest == by_name[event.name].product.content
        assert site.store.exists(manifest_path(event.run_key))
        with site.store.fetch(event.product) as path:
            assert path.read_bytes().startswith(event.name.encode())
    assert site.store.names("attempts") == []


def test_the_same_work_again_is_a_hit(site):
    publish(site, "plain_1")
    with running(site):
        until(lambda: done(site))
        publish(site, "plain_1")
        until(lambda: len(events(site, "ramp")) == 2)
    first, second = events(site, "ramp")
    assert (first.outcome, second.outcome) == ("complete", "cached")
    assert first.run_key == second.run_key
    assert first.product == second.product
    assert second.generation > first.generation
    assert computed(site) == {"plain_1": 1}


def test_what_carries_another_name_is_left_alone(site):
    publish(site, "plain_1", handler="my-lab")
    publish(site, "plain_2")
    with running(site):
        until(lambda: done(site))
    assert [event.name for event in events(site, "ramp")] == ["plain_2"]
    with running(site, name="my-lab", handler="my-lab"):
        until(lambda: done(site, "my-lab"))
    assert [event.name for event in events(site, "ramp")] == ["plain_2", "plain_1"]


def test_bad_data_go_to_the_dead_letters_at_once_and_the_rest_goes_on(site):
    (bad, _) = publish(site, "bad_1", "plain_2")
    with running(site):
        until(lambda: done(site))
    assert [event.name for event in events(site, "ramp")] == ["plain_2"]
    (failure,) = events(site, "failures")
    assert (failure.name, failure.stage, failure.error) == ("bad_1", "to_ramp", "Unprocessable")
    assert failure.message == "bad_1: all pixels are saturated; look at the raw data"
    assert failure.event_id == bad.id
    (letter,) = site.bus.read(DLQ)
    assert letter.value == bad.to_bytes()
    assert letter.headers["dlq.error"] == "Unprocessable"
    assert computed(site)["bad_1"] == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dies_1", "signal 9"),
        ("raises_1", "ZeroDivisionError: a kernel's mistake; please report it"),
        ("hangs_1", "longer than 1 s"),
    ],
)
def test_what_breaks_its_child_is_tried_three_times_and_then_given_up(site, name, says):
    publish(site, name, "plain_2")
    with running(site, limits=Limits(deadline=1.0)):
        until(lambda: done(site))
    assert computed(site)[name] == 3
    assert [event.name for event in events(site, "ramp")] == ["plain_2"]
    (failure,) = events(site, "failures")
    assert says in failure.message
    assert failure.message.startswith(f"{name}: ")


def test_a_child_that_died_once_is_replaced_and_the_event_is_done(site, tmp_path):
    publish(site, "dies_1")
    with running(site):
        until((tmp_path / "computed").exists)
        (tmp_path / "healed").touch()
        until(lambda: done(site))
    (event,) = events(site, "ramp")
    assert event.outcome == "complete"
    folder = f"runs/{event.run_key[:2]}/{event.run_key}"
    assert len(site.store.names(folder)) == 2  # the manifest, and the attempt that won
    assert site.store.names("attempts") == []
    assert list(site.bus.read(DLQ)) == []


def test_what_lacks_something_waits_and_says_so_and_no_event_is_given_up_for_it(site, tmp_path):
    publish(site, "lacks_1")
    with running(site):
        until(lambda: "does not answer" in last_record(site).sentence)
        assert last_record(site).state == "waiting"
        until(lambda: computed(site)["lacks_1"] >= 2)
        (tmp_path / "healed").touch()
        until(lambda: done(site))
        until(lambda: last_record(site).state == "ready")
    assert [event.name for event in events(site, "ramp")] == ["lacks_1"]
    assert list(site.bus.read(DLQ)) == []


def test_bytes_that_are_no_event_go_to_the_dead_letters(site):
    site.bus.publish([Outgoing(topic="raw", key="k", value=b"\xff\x00 what?")])
    publish(site, "plain_1")
    with running(site):
        until(lambda: done(site))
    (letter,) = site.bus.read(DLQ)
    assert letter.value == b"\xff\x00 what?"
    assert "no calstream event" in letter.headers["dlq.message"]
    assert [event.name for event in events(site, "ramp")] == ["plain_1"]


def test_an_event_that_ended_the_whole_service_often_is_given_up(site):
    (event,) = publish(site, "plain_1")
    for _ in range(20):
        marks.begin(site.store, event.id)
    with running(site):
        until(lambda: done(site))
    (failure,) = events(site, "failures")
    assert "20 times" in failure.message
    assert events(site, "ramp") == []


def test_it_stops_with_what_is_in_work_done_and_the_rest_left(site):
    publish(site, *(f"sleeps_{i}" for i in range(20)))
    with running(site) as service:
        until(lambda: events(site, "ramp"))
        service.end()
    made = [event.name for event in events(site, "ramp")]
    assert 1 <= len(made) < 20
    assert len(set(made)) == len(made)
    assert site.bus.lag("to_ramp", ["raw"])["raw"] == 20 - len(made)
    with running(site, slots=2):
        until(lambda: done(site))
    again = [event.name for event in events(site, "ramp")]
    assert sorted(again) == sorted(f"sleeps_{i}" for i in range(20))


def test_told_twice_it_stops_at_once_and_what_was_in_work_is_done_later(site, tmp_path):
    publish(site, "hangs_1")
    with running(site) as service:
        until((tmp_path / "computed").exists)
        service.end(2)
    assert events(site, "ramp") == []
    (tmp_path / "healed").touch()
    with running(site):
        until(lambda: done(site))
    assert [event.name for event in events(site, "ramp")] == ["hangs_1"]


def test_a_worn_child_is_replaced(site, tmp_path):
    publish(site, *(f"plain_{i}" for i in range(5)))
    with running(site, limits=Limits(tasks=2)):
        until(lambda: done(site))
    with (tmp_path / "computed").open() as file:
        children = [line.split()[1] for line in file]
    assert len(children) == 5
    assert len(set(children)) == 3


def test_a_partition_lost_while_it_is_computed_is_published_by_the_new_owner_only(site):
    names = [f"sleeps_{i}" for i in range(12)]
    publish(site, *names)
    with running(site):
        until(lambda: events(site, "ramp"))
        with running(site):
            until(lambda: done(site))
    assert sorted(event.name for event in events(site, "ramp")) == sorted(names)


@pytest.mark.parametrize("carried_out", [False, True])
def test_a_commit_that_fails_is_not_simply_repeated(site, monkeypatch, carried_out):
    commit, failures = MemoryConsumer.commit, iter([True])

    def failing(self, consumed, outputs=()):
        if any(output.topic == "ramp" for output in outputs) and next(failures, False):
            if carried_out:
                commit(self, consumed, outputs)
            raise Retriable("bus.db: the disk does not answer; check it")
        commit(self, consumed, outputs)

    monkeypatch.setattr(MemoryConsumer, "commit", failing)
    publish(site, "plain_1")
    with running(site):
        record = until(lambda: next((r for r in records(site) if r.state == "waiting"), None))
        assert record.sentence == "bus.db: the disk does not answer; check it"
        until(lambda: done(site))
        until(lambda: last_record(site).state == "ready")
    assert [event.name for event in events(site, "ramp")] == ["plain_1"]
    assert computed(site) == {"plain_1": 1}


def test_too_little_space_pauses_the_service(site):
    publish(site, "plain_1")
    with running(site, free=1.1):
        record = until(lambda: next((r for r in records(site) if r.state == "waiting"), None))
        assert "of the disk is free, less than 110%" in record.sentence
    assert events(site, "ramp") == []


def test_space_that_is_there_again_is_used_at_once(site, monkeypatch):
    usage = shutil.disk_usage(site.store.root)
    monkeypatch.setattr(hurdle.shutil, "disk_usage", lambda root: usage._replace(free=0))
    turns = []
    monkeypatch.setattr(Space, "lack", lambda space, lack=Space.lack: turns.append(True) or lack(space))
    publish(site, "plain_1")
    with running(site, free=0.1) as service:
        until(lambda: last_record(site).state == "waiting")
        seen = len(turns)
        until(lambda: len(turns) > seen + 50)
        assert not service.service._hurdle.stands  # its pauses grow
        monkeypatch.setattr(hurdle.shutil, "disk_usage", lambda root: usage._replace(free=usage.total))
        until(lambda: done(site))
        until(lambda: last_record(site).state == "ready")
    assert [event.name for event in events(site, "ramp")] == ["plain_1"]


def test_no_event_is_given_up_while_the_store_cannot_be_written_to(site, monkeypatch):
    down = [True]

    def demand(store, honest=Store.demand_writable):
        if down:
            raise Retriable("the store cannot be written to")
        honest(store)

    monkeypatch.setattr(Store, "demand_writable", demand)
    publish(site, "bad_1")
    with running(site):
        until(lambda: last_record(site).sentence == "the store cannot be written to")
        assert list(site.bus.read(DLQ)) == []
        down.clear()
        until(lambda: done(site))
    assert [letter.key for letter in site.bus.read(DLQ)] == ["bad_1"]


def records(site):
    return [ServiceRecord.model_validate_json(m.value) for m in site.bus.read("services") if m.value]


def test_a_recipe_that_replaces_code_needs_to_be_enabled(site, monkeypatch):
    from schemas.recipe import parse_recipe
    from streams.envelope import pack
    from streams.recipes import enable, freeze

    recipe = parse_recipe('name: mine\nbase: optimal\nsteps: {ramp_fit: {use: "my_lab:fit"}}', "mine")
    reference = {"name": "mine", "digest": freeze(recipe, site.store)}
    event = raw(site, "plain_1").with_(recipe=reference)
    site.bus.publish([pack(event)])
    with running(site):
        until(lambda: done(site))
        (failure,) = events(site, "failures")
        assert f"calstream recipe enable {reference['digest'][:12]}" in failure.message
        enable(site.store, reference["digest"])
        site.bus.publish([pack(event)])
        until(lambda: events(site, "ramp"))


def test_the_trace_goes_on(site):
    publish(site, "plain_1")
    with running(site):
        until(lambda: done(site))
    (source,) = site.bus.read("raw")
    (made,) = site.bus.read("ramp")
    assert made.headers["traceparent"].split("-")[1] == source.headers["traceparent"].split("-")[1]
    assert json.loads(made.value)["kind"] == "product"
