"""Persistence on a real broker, where ramps wait in the Faust associator for who fits them; and in a run."""

from __future__ import annotations

import shutil
import time
from collections import Counter

import numpy as np
import pytest
from astropy.io import fits

from schemas.dq import DQ
from schemas.events import AssociationEvent, next_generation
from schemas.reading import read
from schemas.recipe import parse_recipe
from streams.current import events_of
from streams.ingest.plans import publish_plans
from streams.inputs import open_inputs
from streams.roots import Roots
from streams.stored_associations import stored_association
from streams.topics import READERS
from tests.endtoend.running import FIRST, SECOND, opened

STEPS = "steps: {persistence: {skip: false}, persistence_history: {dn_threshold: 500.0}}\n"
RECIPES = {
    "main": f"name: ours\nbase: optimal\n{STEPS}",
    "mine": f"name: mine\nbase: optimal\n{STEPS}handlers: {{ramp_fit: {{service: my-fit}}}}\n",
}
PERSISTENCE = np.uint32(DQ.PERSISTENCE)


@pytest.fixture
def planned(running, downlink):
    """Two lines that have persistence on, and are told that two exposures of a detector are to come."""
    paths = [downlink / f"{name}_uncal.fits" for name in (FIRST, SECOND)]
    for path in paths:
        shutil.copy(path, running.folder)
    for line, text in RECIPES.items():
        (running.folder / f"{line}.yaml").write_text(text)
        running.calstream("line", "add", line, "--recipe", running.folder / f"{line}.yaml")
        roots = Roots(parse_recipe(text, line), running.site.store, next_generation(time.time()), line=line)
        publish_plans(open_inputs(paths), line, roots, running.site.bus, running.site.store)
    return running


def associated(running):
    """Members by role of what each fit was told, by line and exposure, the last word of each."""
    found = {}
    for event in events_of(running.site.bus, ["association"]):
        if isinstance(event, AssociationEvent) and event.stage == "ramp_fit":
            (product,) = stored_association(event, running.site.store).products
            found[event.line, event.name] = sorted((m.exptype, m.expname) for m in product.members)
    return found


def pixels(event):
    """Where a rate is flagged as disturbed by the exposures before."""
    return np.argwhere(fits.getdata(opened(event), "DQ") & PERSISTENCE).tolist()


def test_a_ramp_waits_for_the_exposure_before_and_every_fit_gets_its_history(planned, python):
    planned.start_example(python)
    planned.serve("detector1", "ramp_fit", "image2")
    associator = planned.serve("associator")
    planned.calstream("ingest", planned.folder / f"{SECOND}_uncal.fits")
    planned.until(lambda: len(planned.events("ramp")) == 2)
    planned.until(lambda: not sum(planned.site.bus.lag("associator", READERS["associator"]).values()))
    assert {event.handler for event in planned.events("ramp")} == {"associator"}
    assert planned.events("rate") == []
    planned.kill(associator)
    planned.serve("associator")
    planned.calstream("ingest", planned.folder / f"{FIRST}_uncal.fits")
    planned.until(lambda: len(planned.events("cal")) == 4)
    first, second = (("science", f"{name}_ramp.fits") for name in (FIRST, SECOND))
    history = ("persistence", f"{FIRST}_persistence.fits")
    words = {FIRST: [first], SECOND: [history, second]}
    assert associated(planned) == {(line, name): word for line in RECIPES for name, word in words.items()}
    rates = {(event.line, event.name): event for event in planned.events("rate")}
    assert Counter(event.line for event in planned.events("rate")) == {"main": 2, "mine": 2}
    assert {key: event.input_count for key, event in rates.items()} == {
        key: len(words[key[1]]) for key in rates
    }
    assert "my-fit" in rates["mine", SECOND].product.uri
    flagged = {key: pixels(event) for key, event in rates.items()}
    assert flagged["main", FIRST] == flagged["mine", FIRST] == []
    assert flagged["main", SECOND] == flagged["mine", SECOND] != []


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_takes_histories_along_where_the_command_line_asks_for_them(asked, process, downlink, tmp_path):
    paths = [downlink / f"{name}_uncal.fits" for name in (SECOND, FIRST)]
    command_line = {"persistence": {"skip": not asked}}
    summary = process(*paths, out=tmp_path, until="rate", command_line=command_line)
    assert not summary.failed, summary.endings
    runs = {name: read(tmp_path / f"{name}_rate.fits").meta.provenance.run for name in (FIRST, SECOND)}
    names = {name: sorted(item["product"] for item in run["inputs"]) for name, run in runs.items()}
    assert names[FIRST] == [f"{FIRST}/{'ramp' if asked else 'uncal'}"]
    assert names[SECOND] == ([f"{FIRST}/persistence", f"{SECOND}/ramp"] if asked else [f"{SECOND}/uncal"])
    assert (tmp_path / f"{FIRST}_persistence.fits").exists() == asked
