"""``calstream replay`` and ``prune`` on an embedded bus that holds a processed downlink."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.events import parse_event
from streams.bus.opening import open_bus
from streams.cli import main

OLS = ["--set", "ramp_fit.algorithm=ols"]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def events(embedded, topic):
    bus = open_bus(embedded[1])
    try:
        return [parse_event(message.value) for message in bus.read(topic)]
    finally:
        bus.close()


def test_a_dry_run_tells_what_would_be_computed_and_publishes_nothing(embedded, capsys):
    before = len(events(embedded, "raw"))
    assert main(["replay", "raw", "--where", "detector == 'NRCA1'", *OLS, "--dry-run", *embedded]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["detector1"] == ["0", "2", "0"]
    assert rows["ramp_fit"] == ["2", "0", "0"]
    assert rows["image3"] == ["1", "0", "0"]
    (association,) = [words for name, words in rows.items() if name.startswith("jw01234-o001")]
    assert association == ["image3", "4", "2", "computed"]
    assert out.splitlines()[-1] == (
        "2 events of raw chosen: 5 runs would be computed, 2 are hits; nothing was published"
    )
    assert len(events(embedded, "raw")) == before


def test_events_are_published_again_with_their_plan(embedded, capsys):
    assert main(["replay", "rate", "--where", "detector == 'NRCA3'", "--since", "1h", *embedded]) == 0
    said = re.fullmatch(
        r"published 2 events of rate again under optimal, as campaign (\w{26})\n", capsys.readouterr().out
    )
    assert said
    again = [event for event in events(embedded, "rate") if event.campaign == said[1]]
    assert {event.keywords["DETECTOR"] for event in again} == {"NRCA3"}
    (plan,) = [event for event in events(embedded, "plan") if event.campaign == said[1]]
    assert plan.generation == again[0].generation


@pytest.mark.parametrize(
    "bound", [["--until", "2001-01-01"], ["--line", "nowhere"], ["--where", "ngroups > 99"]]
)
def test_nothing_chosen_is_said(embedded, capsys, bound):
    assert main(["replay", "rate", *bound, *embedded]) == 0
    assert capsys.readouterr().out == "no current product on rate satisfies that; nothing was published\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["association"], "replay cal"),
        (["rate", "--since", "soon"], "'soon' is no time"),
        (["rate", "--where", "detektor == 'NRCA1'"], "detector"),
        (["rate", "--recipe", "optimum"], "there is no recipe 'optimum'"),
        (["rate", "--set", "flat_field.override_flat=nowhere.fits"], "no file nowhere.fits"),
        (["rate", "--set", "jump.likelihood_threshold_one=9"], "does not go through jump"),
    ],
)
def test_what_is_not_understood_is_refused(embedded, capsys, arguments, sentence):
    assert main(["replay", *arguments, *embedded]) == 2
    assert sentence in capsys.readouterr().err


def test_prune_leaves_everything_that_is_current(embedded, capsys):
    before = sorted(Path(embedded[3], "runs").rglob("*"))
    assert main(["prune", "--superseded", *embedded]) == 0
    assert re.match(r"removed 0 runs(, \d+ finished events?' marks)?: ", capsys.readouterr().out)
    assert sorted(Path(embedded[3], "runs").rglob("*")) == before
    assert main(["prune", *embedded]) == 2


def test_prune_takes_what_a_replay_superseded(works, monkeypatch):
    from streams.prune import RUN, prunable, sweep
    from streams.recipes import frozen
    from streams.replay import Conditions, choose, new_recipes, prepare, publish

    store = works.site.store
    old = {name: event.run_key for name, event in works.current("rate").items()}
    selection = choose(works.site.bus, "ramp", Conditions())
    recipes = new_recipes(
        selection.events, lambda digest: frozen(store, digest), table={"ramp_fit": {"algorithm": "ols"}}
    )
    publish(prepare(selection, recipes), works.site)
    assert [item for item in prunable(works.site) if item.kind == RUN] == []
    works.run()
    items = prunable(works.site)
    runs = {item.path.rpartition("/")[2] for item in items if item.kind == RUN}
    assert set(old.values()) <= runs
    assert len(runs) == 9
    sweep(items, store)
    for level in ("raw", "ramp", "rate", "cal", "combined"):
        for event in works.current(level).values():
            with store.fetch(event.product) as path:
                assert path.stat().st_size == event.product.size
    publish(
        prepare(
            choose(works.site.bus, "ramp", Conditions()),
            recipes | {recipe.digest: recipe for recipe in recipes.values()},
        ),
        works.site,
    )
    assert {outcome for _, outcome in works.run()} == {"cached"}
