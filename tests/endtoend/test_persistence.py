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
from schemas.history_file import read_history
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


def segments(path, folder):
    """Write what an exposure's file would be if it had as many integrations again, cut into two segments."""
    for number in (1, 2):
        name = path.name.replace("_nrca1_", f"-seg00{number}_nrca1_")
        with fits.open(path) as hdus:
            count, header = hdus["SCI"].data.shape[0], hdus[0].header
            header.update(FILENAME=name, NINTS=2 * count, EXSEGNUM=number, EXSEGTOT=2)
            header.update(INTSTART=(number - 1) * count + 1, INTEND=number * count)
            rows = hdus["INT_TIMES"].data
            twice = np.concatenate([rows, rows])
            twice["integration_number"] = np.arange(2 * count) + 1
            length = (header["EFFINTTM"] + header["TFRAME"]) / 86400
            for column in twice.dtype.names[1:]:
                twice[column] = twice[column][0] + np.arange(2 * count) * length
            hdus["INT_TIMES"].data = twice
            hdus.writeto(folder / name)
        yield folder / name


def test_a_segment_knows_the_one_before_and_is_not_disturbed_by_its_own_exposure(process, downlink, tmp_path):
    first, second = segments(downlink / f"{FIRST}_uncal.fits", tmp_path)
    steps = {"persistence": {"skip": False}, "persistence_history": {"dn_threshold": 500.0}}
    for name, own in (("as it is", False), ("own", True)):
        asked = {**steps, "persistence": {"skip": False, "flag_own": own}}
        summary = process(second, first, out=tmp_path / name, until="rate", command_line=asked)
        assert not summary.failed, summary.endings
        one, two = (read(tmp_path / name / p.name.replace("uncal", "rate")) for p in (first, second))
        inputs = sorted(item["product"].split("_")[2] for item in two.meta.provenance.run["inputs"])
        assert inputs == ["00001-seg001", "00001-seg002"]
        assert two.meta.get("S_PERSIS") == ("COMPLETE" if own else "SKIPPED")
        if not own:
            np.testing.assert_array_equal(one.data, two.data)
            np.testing.assert_array_equal(one.dq, two.dq)
        begun = [
            read_history(tmp_path / name / p.name.replace("uncal", "persistence")) for p in (first, second)
        ]
        assert begun[0].integrations.max() < begun[1].integrations.min()
