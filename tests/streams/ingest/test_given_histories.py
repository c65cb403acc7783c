"""Persistence histories are taken in as a run takes them: named, or beside the ramps they were made with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processors.recipes import builtin
from schemas.content import file_digest
from schemas.history_file import history_digest, read_history, write_history
from schemas.products import HISTORY_COLUMNS, PersistenceHistory
from schemas.reading import read
from schemas.recipe import parse_recipe
from schemas.writing import write
from streams.associator.hosting import HostedAssociator
from streams.cli.ingest import Shown
from streams.current import events_of
from streams.ingest.intake import Intake, IntakeOptions
from streams.lines import add_line
from streams.recipes import frozen
from streams.stored_associations import stored_association

FIRST = "jw01234001001_02101_00001_nrca1"
SECOND = "jw01234001001_02101_00002_nrca1"
ON = parse_recipe("name: ours\nbase: optimal\nsteps: {persistence: {skip: false}}\n", "ours")
TAKEN = "goes along with the exposures after it"


@pytest.fixture
def on(site):
    """A pipeline whose recipe has persistence on."""
    add_line("main", ON, site.bus, site.store)
    return site


@pytest.fixture
def made(arrive, tmp_path):
    """Two exposures as far as their ramps, five minutes apart, and the history of each."""
    folder = tmp_path / "ramps"
    folder.mkdir()
    for number, name in enumerate((FIRST, SECOND), 1):
        raw = read(arrive(number=number))
        start = 60000.0 + number / 288
        meta = raw.meta.with_primary(EXPSTART=start, EXPEND=start + 1e-3, FILENAME=f"{name}_ramp.fits")
        ramp = replace(
            raw,
            meta=meta,
            data=raw.data.astype(np.float32),
            groupdq=np.zeros(raw.shape, np.uint8),
            pixeldq=np.zeros(raw.shape[2:], np.uint32),
        )
        write(ramp, folder / f"{name}_ramp.fits")
        pixels = np.array([(3, 5, start, 81234.5, 2, True)], list(HISTORY_COLUMNS))
        history = PersistenceHistory(
            meta=replace(meta.with_primary(FILENAME=f"{name}_persistence.fits"), tables={}),
            pixels=pixels,
            integrations=np.array([[start, start + 1e-3]]),
        )
        write_history(history, folder / f"{name}_persistence.fits")
    return lambda name, suffix: folder / f"{name}_{suffix}.fits"


def told(notes):
    return [(note.product, note.outcome, note.remark) for note in notes]


def companions(site):
    """What each fit is to take along."""
    associator = HostedAssociator(site.bus, site.store, lambda digest: frozen(site.store, digest))
    while associator.turn() or associator.turn(finish=True):
        pass
    found = {}
    for event in events_of(site.bus, ["association"]):
        (product,) = stored_association(event, site.store).products
        found[event.name] = sorted(member.expname for member in product.members)
    return found


def test_a_history_beside_a_ramp_is_taken_before_it_and_once(on, made, events):
    intake, ramp = Intake(on), made(FIRST, "ramp")
    assert told(intake.take(ramp)) == [
        (f"{FIRST}_persistence", "published", TAKEN),
        (f"{FIRST}_ramp", "published", ""),
    ]
    history, after = events("ramp")
    assert (history.suffix, after.suffix) == ("persistence", "ramp")
    assert (history.name, history.handler) == (FIRST, "associator")
    with on.store.fetch(history.product) as path:
        assert path.read_bytes() == made(FIRST, "persistence").read_bytes()
        assert history.product.content == history_digest(read_history(path))
    assert on.store.inside(history.product.uri)
    assert told(intake.take(ramp)) == [(f"{FIRST}_ramp", "known", "")]
    assert len(events("ramp")) == 2


def test_it_goes_along_with_the_exposure_after_it(on, made):
    intake = Intake(on)
    intake.take(made(FIRST, "persistence"))
    made(SECOND, "persistence").unlink()
    intake.take(made(SECOND, "ramp"))
    assert companions(on)[SECOND] == [f"{FIRST}_persistence.fits", f"{SECOND}_ramp.fits"]


def test_a_named_one_is_told_of_and_known_the_second_time(on, made, capsys):
    intake, shown = Intake(on), Shown(quiet=False)
    for _ in range(2):
        (note,) = intake.take(made(FIRST, "persistence"))
        shown.taken(note)
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{FIRST}_persistence: published (on main); {TAKEN}"
    assert second.startswith(f"{FIRST}_persistence: known (nothing to publish)")


def test_a_recipe_without_persistence_needs_none(site, made, events, capsys):
    intake, shown = Intake(site), Shown(quiet=False)
    assert told(intake.take(made(FIRST, "ramp"))) == [(f"{FIRST}_ramp", "published", "")]
    (note,) = intake.take(made(FIRST, "persistence"))
    shown.taken(note)
    said = capsys.readouterr().out.strip()
    assert said == f"{FIRST}_persistence: not needed: the recipe has persistence off for it"
    assert [event.suffix for event in events("ramp")] == ["ramp"]
    assert not shown.failed


def test_only_lines_that_have_use_for_it_get_it(on, made, events):
    add_line("plain", builtin("optimal"), on.bus, on.store)
    (note,) = Intake(on).take(made(FIRST, "persistence"))
    assert note.lines == ("main",)
    assert [event.line for event in events("ramp")] == ["main"]


def test_that_of_an_exposure_that_is_there_raw_is_made_anew(on, made, arrive, events):
    intake = Intake(on)
    intake.take(arrive(number=1))
    ((_, outcome, remark),) = told(intake.take(made(FIRST, "persistence")))
    assert (outcome, remark) == ("not needed", "not needed: it is made anew from the raw exposure")
    assert events("ramp") == []


def test_one_that_cannot_be_read_is_refused_and_its_ramp_goes_on(on, made, events):
    made(FIRST, "persistence").write_bytes(b"no FITS file")
    history, ramp = Intake(on).take(made(FIRST, "ramp"))
    assert (history.outcome, ramp.outcome) == ("refused", "published")
    assert str(made(FIRST, "persistence")) in history.sentence
    (failure,) = events("failures")
    assert (failure.name, failure.suffix) == (FIRST, "persistence")


def test_in_place_it_stays_where_it_is(on, made, tmp_path, events):
    Intake(on, IntakeOptions(in_place=(tmp_path.resolve(),))).take(made(FIRST, "persistence"))
    (event,) = events("ramp")
    path = made(FIRST, "persistence")
    assert (event.product.uri, event.product.sha256) == (path.as_uri(), file_digest(path))


def test_plans_are_made_of_exposures_alone(on, made, events):
    Intake(on).plan([made(FIRST, "persistence"), made(SECOND, "ramp")])
    (event,) = events("plan")
    with on.store.fetch(event.plan) as path:
        assert FIRST not in path.read_text()
