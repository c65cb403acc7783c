"""Events survive the wire, ids say what was said, and what is no event is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import export
from schemas.errors import Unprocessable
from schemas.events import (
    KINDS,
    MAX_BYTES,
    AssociationEvent,
    Event,
    FailureEvent,
    PlanEvent,
    ProductEvent,
    UnknownEvent,
    is_current,
    next_generation,
    parse_event,
)
from schemas.keywords import EVENT_KEYWORDS, crds_parameters, event_keywords

GOLDEN = Path(__file__).parent / "golden"  # never edited: see the README there
EVERY_GOLDEN = sorted(GOLDEN.glob("v*/*.json"))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
sha = st.text("0123456789abcdef", min_size=64, max_size=64)
name = st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)
generation = st.builds(
    str.__add__,
    st.sampled_from("01234567"),
    st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=25, max_size=25),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalar = st.one_of(text, st.integers(-(2**63), 2**63), finite, st.booleans())
artifact = st.fixed_dictionaries({"uri": text, "size": st.integers(0, 2**50), "sha256": sha, "content": sha})
common = {
    "topic": text,
    "line": text,
    "name": name,
    "suffix": text,
    "generation": generation,
    "campaign": text,
    "recipe": st.fixed_dictionaries({"name": text, "digest": sha}),
    "handler": text,
    "keywords": st.dictionaries(st.sampled_from(EVENT_KEYWORDS), scalar, max_size=20),
}
inputs = st.lists(
    st.fixed_dictionaries({"role": text, "identity": text, "digest": sha, "uri": text}), max_size=4
)
special: dict[str, dict[str, Any]] = {
    "product": {
        "product": artifact, "manifest": st.none() | artifact, "inputs": inputs,
        "input_count": st.integers(0, 99),
        "association": st.none() | artifact, "stage": text, "run_key": text, "outcome": text,
        "quality": st.dictionaries(text, st.none() | finite, max_size=5),
    },
    "association": {
        "association": artifact, "stage": text, "association_id": text, "members": st.integers(1, 99),
        "completeness": text,
    },
    "plan": {"plan": artifact},
    "failure": {"stage": text, "error": text, "message": text, "event_id": text},
}  # fmt: skip
event_trees = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.fixed_dictionaries({"kind": st.just(kind), **common, **special[kind]})
)


@settings(max_examples=100, deadline=None)
@given(tree=event_trees)
def test_round_trip(tree: dict[str, Any]) -> None:
    event = KINDS[tree["kind"]].model_validate(tree)
    again = parse_event(event.to_bytes())
    assert type(again) is type(event)
    assert again == event
    assert again.id == event.id
    assert again.key == event.key
    assert again.to_bytes() == event.to_bytes()


@settings(max_examples=50, deadline=None)
@given(
    tree=event_trees, extra=st.dictionaries(st.from_regex(r"new_[a-z]+", fullmatch=True), text, min_size=1)
)
def test_unknown_fields_change_nothing(tree: dict[str, Any], extra: dict[str, str]) -> None:
    known = KINDS[tree["kind"]].model_validate(tree)
    told = parse_event(json.dumps({**tree, **extra}).encode())
    assert told == known
    assert told.id == known.id


@settings(max_examples=50, deadline=None)
@given(tree=event_trees)
def test_unknown_kinds_are_forwarded_whole(tree: dict[str, Any]) -> None:
    tree = {**tree, "kind": "preview", "future": {"a": [1, None]}}
    event = parse_event(json.dumps(tree).encode())
    assert type(event) is UnknownEvent
    assert isinstance(event, Event)
    assert json.loads(event.to_bytes()) == tree
    other = parse_event(json.dumps({**tree, "future": {"a": [2, None]}}).encode())
    assert other.id != event.id


def golden(stem: str) -> Event:
    return parse_event((GOLDEN / "v1" / f"{stem}.json").read_bytes())


def test_there_is_a_golden_event_of_every_kind() -> None:
    assert {type(golden(path.stem)) for path in (GOLDEN / "v1").glob("*.json")} == {
        *KINDS.values(),
        UnknownEvent,
    }


def test_golden_events_say_what_they_said() -> None:
    raw, rate = golden("raw"), golden("rate")
    assert isinstance(raw, ProductEvent)
    assert isinstance(rate, ProductEvent)
    assert raw.identity == "main/jw01234001001_02101_00001_nrca1/uncal"
    assert (raw.manifest, raw.inputs, raw.run_key, raw.outcome, raw.key) == (
        None,
        (),
        "",
        "complete",
        raw.name,
    )
    assert raw.program == "01234"
    assert raw.exp_type == "NRC_IMAGE"
    assert raw.keywords["TGROUP"] == 10.73677
    assert raw.keywords["TSOVISIT"] is False
    assert rate.product.size == 83911680
    assert rate.product.content == "c" * 64
    assert rate.manifest is not None
    assert rate.manifest.sha256 == "3" * 64
    assert rate.inputs[0].role == "science"
    assert (rate.input_count, rate.stage, rate.outcome) == (1, "ramp_fit", "cached")
    assert rate.quality == {"background": 0.125, "chisq": None}
    association, plan, failure = golden("association"), golden("plan"), golden("failure")
    assert isinstance(association, AssociationEvent)
    assert (association.key, association.members, association.completeness) == (
        "0123456789abcdef",
        4,
        "partial",
    )
    assert isinstance(plan, PlanEvent)
    assert (plan.key, plan.plan.uri) == ("01234", "plans/01234.json")
    assert isinstance(failure, FailureEvent)
    assert (failure.error, failure.event_id) == ("Unprocessable", "f" * 32)
    assert golden("unknown_fields") == rate
    assert json.loads(golden("unknown_kind").to_bytes())["picture"] == {"uri": "previews/x.png", "width": 640}


@pytest.mark.parametrize(
    ("stem", "id_"),
    [
        ("raw", "746fee2d44de4902e436a1458c81cf63"),
        ("rate", "3bb89d1ac77f1feab1ee824eb9c2d550"),
        ("association", "f6337463a41be688bd31e84df50a38ef"),
        ("plan", "c9b8c0100bc9bb54661e132802d7f927"),
        ("failure", "622bfa741f93c16912771028358441b1"),
    ],
)
def test_ids_never_change(stem: str, id_: str) -> None:
    """An id that changed would make every event of a running system look new."""
    assert golden(stem).id == id_


@pytest.mark.parametrize(
    ("stem", "change"),
    [
        ("rate", {"line": "test"}),
        ("rate", {"name": "jw1"}),
        ("rate", {"suffix": "rateints"}),
        ("rate", {"topic": "cal"}),
        ("rate", {"generation": "0" * 26}),
        ("rate", {"campaign": "again"}),
        ("rate", {"handler": "mine"}),
        ("rate", {"recipe": {"name": "x", "digest": "b" * 64}}),
        ("rate", {"run_key": "0" * 64}),
        ("rate", {"input_count": 2}),
        ("association", {"stage": "coron3"}),
        ("association", {"completeness": "complete"}),
        ("failure", {"event_id": "0"}),
        ("failure", {"message": "else"}),
    ],
)
def test_ids_are_sensitive(stem: str, change: dict[str, Any]) -> None:
    event = golden(stem)
    assert event.with_(**change).id != event.id


def test_ids_do_not_depend_on_how_the_same_was_come_by() -> None:
    event = golden("rate")
    assert (
        event.with_(outcome="complete", quality={}, recipe={**event.recipe.model_dump(), "name": "x"}).id
        == event.id
    )


@settings(max_examples=200)
@given(content=st.binary(max_size=300))
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(Unprocessable, match="no calstream event"):
        parse_event(content)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), path=st.sampled_from(EVERY_GOLDEN))
def test_damaged_events_are_refused_or_read(data: st.DataObject, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        event = parse_event(bytes(content))
    except Unprocessable:
        return
    assert parse_event(event.to_bytes()) == event


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 9000,
        b'{"kind": []}',
        b"null",
        b"1" * 5000,
        b'{"kind": "product"}',
        b'"\\ud800"',
        b"\xff",
        b"",
        b" " * 20000,
    ],
)
def test_odd_messages_are_refused(content: bytes) -> None:
    with pytest.raises(Unprocessable) as caught:
        parse_event(content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Jw01"},
        {"name": "a/b"},
        {"name": "x" * 129},
        {"generation": "8" + "0" * 25},
        {"generation": "0" * 25},
        {"line": "\ud800"},
        {"keywords": {"X": float("nan")}},
        {"keywords": {"X": [1]}},
        {"product": {"uri": "x", "size": -1, "sha256": "0" * 64}},
        {"product": {"uri": "x", "size": 1, "sha256": "0" * 63}},
    ],
)
def test_invalid_fields_are_refused(change: dict[str, Any]) -> None:
    tree = json.loads((GOLDEN / "v1" / "rate.json").read_text())
    with pytest.raises(Unprocessable):
        parse_event(json.dumps({**tree, **change}).encode())


def test_an_event_has_at_most_16_kib() -> None:
    event = golden("rate")
    room = MAX_BYTES - len(event.with_(stage="").to_bytes())
    full = event.with_(stage="x" * room)
    assert len(full.to_bytes()) == MAX_BYTES
    assert parse_event(full.to_bytes()) == full
    with pytest.raises(Unprocessable, match="16385 bytes, more than 16384; list"):
        event.with_(stage="x" * (room + 1)).to_bytes()


def test_names_that_are_not_unicode_are_explained() -> None:
    event = golden("rate").model_copy(update={"stage": "\udcff"})
    with pytest.raises(Unprocessable, match="not Unicode; rename"):
        event.to_bytes()


def test_undefined_quality_is_null() -> None:
    event = golden("rate").with_(quality={"a": float("nan"), "b": float("inf"), "c": 1.5})
    assert json.loads(event.to_bytes())["quality"] == {"a": None, "b": None, "c": 1.5}


@given(now=st.floats(0, 2**37), known=st.none() | generation)
def test_generations_grow_whatever_the_clock_says(now: float, known: str | None) -> None:
    fresh = next_generation(now, known)
    assert len(fresh) == 26
    assert known is None or fresh > known
    following = next_generation(now - 1000 if now > 1000 else 0.0, fresh)
    assert following > fresh


def test_whole_seconds_are_seconds() -> None:
    assert next_generation(1_800_000_000)[:10] == next_generation(1_800_000_000.0)[:10]


@given(
    ranks=st.lists(
        st.tuples(st.sampled_from(["0" * 26, "1" * 26]), st.integers(0, 2), st.sampled_from(["", "a", "b"])),
        min_size=2, max_size=6,
    )
)  # fmt: skip
def test_current_is_a_total_order(ranks: list[tuple[str, int, str]]) -> None:
    event = golden("rate")
    events = [event.with_(generation=g, input_count=n, run_key=k) for g, n, k in ranks]
    for one, first in zip(events, ranks, strict=True):
        for other, second in zip(events, ranks, strict=True):
            assert is_current(one, other) == (first >= second)
    found = []
    for seed in range(3):
        random.Random(seed).shuffle(events)
        best = events[0]
        for candidate in events[1:]:
            best = candidate if is_current(candidate, best) else best
        found.append((best.generation, best.input_count, best.run_key))
    assert found == [max(ranks)] * 3


def test_event_keywords_come_from_any_header() -> None:
    header = {
        "EXP_TYPE": "NRC_IMAGE",
        "NGROUPS": 5,
        "TSOVISIT": True,
        "TARG_RA": float("inf"),
        "TITLE": "no",
        "MU_RA": None,
    }
    assert event_keywords(header) == {"EXP_TYPE": "NRC_IMAGE", "NGROUPS": 5, "TSOVISIT": True}
    assert len(set(EVENT_KEYWORDS)) == len(EVENT_KEYWORDS)
    assert crds_parameters({"TSOVISIT": True, "FILTER": "f200w ", "NGROUPS": 5}) == {
        "META.VISIT.TSOVISIT": "TRUE",
        "META.INSTRUMENT.FILTER": "F200W",
        "META.EXPOSURE.NGROUPS": "5",
    }


@pytest.mark.parametrize("stem", sorted(export.MODELS))
def test_exported_schema_is_current(stem: str) -> None:
    kept = (export.FOLDER / f"{stem}.json").read_text()
    assert kept == export.schema_text(stem), "run python -m schemas.export"


def test_no_schema_is_left_over(tmp_path: Path) -> None:
    made = {path.name for path in export.export(tmp_path)}
    assert (
        {path.name for path in export.FOLDER.iterdir()} == made == {path.name for path in tmp_path.iterdir()}
    )


@pytest.mark.parametrize("path", EVERY_GOLDEN, ids=lambda path: path.stem)
def test_golden_events_satisfy_the_exported_schema(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    tree = json.loads(path.read_text())
    stem = f"{tree['kind']}-event" if tree["kind"] in KINDS else "event"
    schema = json.loads((export.FOLDER / f"{stem}.json").read_text())
    jsonschema.validate(tree, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**tree, "generation": 5}, schema)
    if stem != "event":
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**tree, "kind": "else"}, schema)
