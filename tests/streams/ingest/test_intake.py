"""A file on its way in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from processors.recipes import builtin
from schemas.errors import Retriable, UsageError
from schemas.stored_content import digest_of_path
from streams.ingest.intake import Intake, IntakeOptions
from streams.lines import add_line, stop_line

NAME = "jw01234001001_02101_00001_nrca1"


def outcomes(intake: Intake, *paths: Path) -> list[str]:
    return [note.outcome for path in paths for note in intake.take(path)]


def test_a_file_is_copied_by_its_content_and_published(site, arrive, events):
    path = arrive()
    (note,) = Intake(site).take(path)
    assert (note.outcome, note.product, note.lines) == ("published", f"{NAME}_uncal", ("main",))
    (event,) = events("raw")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    place = f"raw/{sha256[:2]}/{sha256}/{NAME}_uncal.fits"
    assert event.product.uri == site.store.uri(place)
    assert (event.product.size, event.product.sha256) == (path.stat().st_size, sha256)
    assert event.product.content == digest_of_path(path)
    assert site.store.read_bytes(place) == path.read_bytes()
    assert (event.line, event.name, event.suffix) == ("main", NAME, "uncal")
    assert event.keywords["DETECTOR"] == "NRCA1"
    assert event.recipe.digest == builtin("optimal").digest
    assert site.store.names("incoming") == []


def test_the_same_file_again_is_known_wherever_it_lies(site, arrive, events):
    first, second = arrive("here"), arrive("there")
    intake = Intake(site)
    assert outcomes(intake, first, second, first) == ["published", "known", "known"]
    assert outcomes(Intake(site), second) == ["known"]
    assert len(events("raw")) == 1


def test_a_file_that_lies_as_it_did_is_not_read_again(site, arrive, monkeypatch):
    path = arrive()
    Intake(site).take(path)
    monkeypatch.setattr("streams.ingest.intake.digested", None)
    monkeypatch.setattr("streams.ingest.intake.deposit", None)
    assert outcomes(Intake(site), path) == ["known"]


def test_other_bytes_under_the_same_name_are_a_new_generation(site, arrive, events):
    intake = Intake(site)
    intake.take(arrive())
    (note,) = intake.take(arrive(spot=1))
    assert note.outcome == "published"
    assert note.renewed
    old, new = events("raw")
    assert new.generation > old.generation
    assert new.product.sha256 != old.product.sha256


def test_a_copy_that_was_pruned_is_made_anew_for_another_line(site, arrive, events):
    path = arrive()
    Intake(site).take(path)
    (first,) = events("raw")
    place = site.store.inside(first.product.uri)
    site.store.remove(place)
    add_line("test", builtin("optimal"), site.bus, site.store)
    assert outcomes(Intake(site), path) == ["published"]
    second = events("raw")[-1]
    assert (second.line, second.product) == ("test", first.product)
    assert site.store.read_bytes(place) == path.read_bytes()


def test_a_generation_is_larger_than_all_that_are_known_when_the_clock_goes_back(site, arrive, events):
    Intake(site, clock=lambda: 2_000_000_000.0).take(arrive())
    Intake(site, clock=lambda: 1_000_000_000.0).take(arrive(spot=1))
    (old, new) = events("raw")
    assert new.generation > old.generation
    replayed = new.with_(generation="7ZZZZZZZZZZZZZZZZZZZZZZZZ0", campaign="again")
    from streams.envelope import pack

    site.bus.publish([pack(replayed)])
    Intake(site, clock=lambda: 1_000_000_000.0).take(arrive(spot=2))
    assert events("raw")[-1].generation > replayed.generation


def test_each_active_line_gets_an_event_and_a_line_added_later_its_own(site, arrive, events):
    path = arrive()
    Intake(site).take(path)
    baseline = builtin("baseline")
    add_line("two", baseline, site.bus, site.store)
    (note,) = Intake(site).take(path)
    assert note.lines == ("two",)
    assert not note.renewed
    assert [event.line for event in events("raw")] == ["main", "two"]
    assert events("raw")[1].recipe.digest == baseline.digest
    assert events("raw")[1].product == events("raw")[0].product
    stop_line("two", site.bus, site.store)
    Intake(site).take(arrive(number=2))
    assert [event.line for event in events("raw")] == ["main", "two", "main"]


def test_a_line_can_be_chosen(site, arrive, events):
    add_line("two", builtin("baseline"), site.bus, site.store)
    Intake(site, IntakeOptions(lines=("two",))).take(arrive())
    assert [event.line for event in events("raw")] == ["two"]


@pytest.mark.parametrize(("name", "sentence"), [("three", "is not there"), ("two", "was stopped")])
def test_a_line_that_is_not_active_cannot_be_chosen(site, name, sentence):
    add_line("two", builtin("baseline"), site.bus, site.store)
    stop_line("two", site.bus, site.store)
    with pytest.raises(UsageError, match=sentence):
        Intake(site, IntakeOptions(lines=(name,)))


def test_without_any_active_line_nothing_is_taken(site):
    stop_line("main", site.bus, site.store)
    with pytest.raises(UsageError, match="every line was stopped"):
        Intake(site)


def test_a_broken_file_is_refused_with_a_failure_event_once(site, arrive, events):
    path = arrive()
    path.write_bytes(path.read_bytes()[:-2880])
    (note,) = Intake(site).take(path)
    assert note.outcome == "refused"
    assert "truncated" in note.sentence
    (failure,) = events("failures")
    assert (failure.name, failure.suffix, failure.stage, failure.line) == (NAME, "uncal", "ingest", "main")
    assert failure.error == "Unprocessable"
    assert failure.message == note.sentence
    assert Intake(site).take(path)[0].outcome == "refused"
    assert len(events("failures")) == 1
    path.write_bytes(path.read_bytes()[:-2880])
    Intake(site).take(path)
    assert len(events("failures")) == 2
    assert outcomes(Intake(site), arrive()) == ["published"]
    assert events("raw")[0].generation > events("failures")[1].generation


def test_a_refused_file_whose_header_can_be_read_is_named_and_described_by_it(site, arrive, events):
    path = arrive()
    path.write_bytes(path.read_bytes().replace(b"READPATT", b"READPTTT"))
    other = path.rename(path.with_name("Some File_uncal.fits"))
    (note,) = Intake(site).take(other)
    assert "READPATT" in note.sentence
    (failure,) = events("failures")
    assert (failure.name, failure.suffix) == (NAME, "uncal")
    assert failure.keywords["PROGRAM"] == "01234"
    other.write_bytes(b"")
    Intake(site).take(other)
    assert events("failures")[1].name == "some-file_uncal"


def test_what_may_pass_is_told_and_not_published(site, arrive, events, monkeypatch):
    def full(*_):
        raise Retriable("the disk is full; free some space there")

    path = arrive()
    with monkeypatch.context() as patch:
        patch.setattr("streams.ingest.intake.deposit", full)
        (note,) = Intake(site).take(path)
    assert (note.outcome, note.sentence) == ("waiting", "the disk is full; free some space there")
    assert events("failures") == events("raw") == []
    assert outcomes(Intake(site), path) == ["published"]


def test_an_unforeseen_error_is_that_of_the_file(site, arrive, events, monkeypatch):
    monkeypatch.setattr("streams.ingest.intake.deposit", lambda *_: 1 / 0)
    (note,) = Intake(site).take(arrive())
    assert "internal error, ZeroDivisionError" in note.sentence
    assert events("failures")[0].error == "ZeroDivisionError"


def test_in_place_nothing_is_copied(site, arrive, events):
    path = arrive()
    Intake(site, IntakeOptions(in_place=(path.parent,))).take(path)
    (event,) = events("raw")
    assert event.product.uri == path.as_uri()
    assert event.product.content == digest_of_path(path)
    assert site.store.names("raw") == []
    link = path.with_name("x_uncal.fits")
    link.symlink_to(arrive("elsewhere", number=2))
    (note,) = Intake(site, IntakeOptions(in_place=(path.parent,))).take(link)
    assert "--in-place is not allowed here" in note.sentence


def test_a_path_that_is_not_there_is_refused_without_an_event(site, arrive, events):
    path = arrive()
    for missing in (path.with_name("missing_uncal.fits"), path.parent / "nowhere"):
        assert outcomes(Intake(site), missing) == ["refused"]
    (path.parent / "empty").mkdir()
    assert outcomes(Intake(site), path.parent / "empty") == ["refused"]
    assert events("failures") == []


def test_an_association_is_published_once_with_its_members_in_the_store(site, arrive, events, monkeypatch):
    members = [arrive(number=number) for number in (1, 2)]
    # The members are raw here: what matters is where they go, so the check of their level is left out.
    association = {
        "asn_type": "image3",
        "products": [
            {"name": "mosaic", "members": [{"expname": m.name, "exptype": "science"} for m in members]}
        ],
    }
    monkeypatch.setattr("streams.inputs._level_of", lambda path, file: ("cal", "cal"))
    monkeypatch.setattr("streams.inputs._check_keywords", lambda path, file, level: None)
    path = members[0].with_name("my_asn.json")
    path.write_text(json.dumps(association))
    (note,) = Intake(site).take(path)
    assert (note.outcome, note.product) == ("published", "mosaic")
    (event,) = events("association")
    with site.store.fetch(event.association) as file:
        stored = json.loads(file.read_bytes())["products"][0]["members"]
    assert all(member["uri"].startswith(site.store.uri("cal")) for member in stored)
    assert outcomes(Intake(site), path) == ["known"]
    assert len(events("association")) == 1
    assert events("raw") == events("cal") == []


def test_no_file_is_refused_because_the_store_cannot_be_written_to(site, arrive, events, tmp_path):
    path = arrive()
    (tmp_path / "store" / "raw").write_text("in the way")
    (note,) = Intake(site).take(path)
    assert (note.outcome, events("failures")) == ("waiting", [])
    assert f"{tmp_path}/store/raw/" in note.sentence
    (tmp_path / "store" / "raw").unlink()
    assert outcomes(Intake(site), path) == ["published"]
