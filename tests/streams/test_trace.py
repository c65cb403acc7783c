"""The road of an exposure, event by event."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.events import Input
from streams.bus.memory import MemoryBus
from streams.trace import trace
from tests.streams.pipeline import PRODUCT, Pipeline, exposure

OTHER = "jw01234-o002_t001_nircam_clear-f200w"


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline.on(MemoryBus(), tmp_path)


def road(pipeline: Pipeline, name: str, line: str | None = None) -> list[tuple[str, str, str, str]]:
    found = trace(pipeline.bus, pipeline.store, name, line)
    assert [one.time for one in found] == sorted(one.time for one in found)
    return [(one.topic, one.name, one.stage, one.outcome) for one in found]


def test_an_exposure_and_the_mosaic_that_it_went_into(pipeline: Pipeline) -> None:
    cals = [pipeline.along(pipeline.raw(number)) for number in (1, 2)]
    pipeline.mosaic(pipeline.along(pipeline.raw(3)), name=OTHER)
    pipeline.mosaic(*cals)
    name = exposure(1)
    assert road(pipeline, name) == [
        ("raw", name, "ingest", "arrived"),
        ("ramp", name, "detector1", "complete"),
        ("rate", name, "ramp_fit", "complete"),
        ("cal", name, "image2", "complete"),
        ("association", PRODUCT, "associator", "complete"),
        ("combined", PRODUCT, "image3", "complete"),
    ]


def test_a_products_own_road_begins_with_its_association(pipeline: Pipeline) -> None:
    pipeline.mosaic(pipeline.along(pipeline.raw(1)))
    assert [topic for topic, *_ in road(pipeline, PRODUCT)] == ["association", "combined"]


def test_seconds_run_key_and_generation(pipeline: Pipeline) -> None:
    raw = pipeline.raw(1)
    ramp = pipeline.made("detector1", raw, "ramp")
    pipeline.say(ramp, ramp.with_(outcome="cached", generation="7" * 26))
    arrived, made, cached = trace(pipeline.bus, pipeline.store, exposure(1))
    assert (arrived.seconds, made.seconds, cached.seconds) == (None, 1.5, None)
    assert (made.run_key, cached.outcome, cached.generation) == (ramp.run_key, "cached", "7" * 26)
    assert made.generation == raw.generation


def test_a_manifest_that_is_gone_costs_the_seconds_only(pipeline: Pipeline) -> None:
    ramp = pipeline.along(pipeline.raw(1), "ramp")
    pipeline.store.remove(f"runs/{ramp.run_key[:2]}")
    _, made = trace(pipeline.bus, pipeline.store, exposure(1))
    assert (made.outcome, made.seconds) == ("complete", None)


def test_failures_and_dead_letters(pipeline: Pipeline) -> None:
    pipeline.failed("detector1", pipeline.raw(1), "all pixels are saturated")
    pipeline.failed("detector1", pipeline.raw(2), "of another one")
    found = trace(pipeline.bus, pipeline.store, exposure(1))
    assert [(one.topic, one.outcome, one.sentence) for one in found[1:]] == [
        ("failures", "failed", "Unprocessable: all pixels are saturated"),
        ("raw.detector1.dlq", "dead letter", "Unprocessable: all pixels are saturated"),
    ]


def test_a_dead_letter_that_is_no_event_is_found_by_its_key(pipeline: Pipeline) -> None:
    pipeline.letter("raw", "detector1", exposure(1), b"\xff\x00", "this is no event")
    (found,) = trace(pipeline.bus, pipeline.store, exposure(1))
    assert (found.outcome, found.name, found.stage) == ("dead letter", exposure(1), "detector1")


def test_the_failure_of_what_it_went_into(pipeline: Pipeline) -> None:
    association = pipeline.associate(pipeline.along(pipeline.raw(1)))
    pipeline.failed("image3", association, "no WCS", topic="association")
    *_, failed, letter = road(pipeline, exposure(1))
    assert failed == ("failures", PRODUCT, "image3", "failed")
    assert letter == ("association.image3.dlq", PRODUCT, "image3", "dead letter")


def test_a_catalogue_that_goes_into_other_exposures_is_followed(pipeline: Pipeline) -> None:
    mosaic = pipeline.mosaic(pipeline.along(pipeline.raw(1)))
    rate = pipeline.along(pipeline.raw(50), "rate")
    grism = pipeline.made("spec2", rate, "cal")
    catalogue = Input(
        role="sourcecat", identity=f"main/{mosaic.name}/cat", digest=mosaic.product.content, uri="x"
    )
    pipeline.say(grism.with_(inputs=(*grism.inputs, catalogue)))
    later = pipeline.mosaic(grism, name=OTHER)
    topics = [(topic, name) for topic, name, *_ in road(pipeline, exposure(1))]
    assert topics[-3:] == [("cal", exposure(50)), ("association", later.name), ("combined", later.name)]
    assert ("rate", exposure(50)) not in topics  # which nothing of ours went into


def test_lines_are_kept_apart_when_asked_for(pipeline: Pipeline) -> None:
    for line in ("main", "fast"):
        pipeline.mosaic(pipeline.along(pipeline.raw(1, line)))
    assert len(road(pipeline, exposure(1))) == 12
    assert len(road(pipeline, exposure(1), "fast")) == 6
    with pytest.raises(UsageError, match=r"no event of line 'slow'.*on the line fast, main"):
        road(pipeline, exposure(1), "slow")


def test_a_file_name_will_do(pipeline: Pipeline) -> None:
    pipeline.raw(1)
    assert len(road(pipeline, f"somewhere/{exposure(1)}_uncal.fits")) == 1


def test_names_that_begin_alike_are_not_confused(pipeline: Pipeline) -> None:
    pipeline.raw(1)
    pipeline.say(pipeline.raw(1).with_(name=f"{exposure(1)}long"))
    assert {name for _, name, *_ in road(pipeline, exposure(1))} == {exposure(1)}


def test_an_unknown_name_is_told_with_those_that_are_like_it(pipeline: Pipeline) -> None:
    pipeline.raw(1)
    with pytest.raises(UsageError, match=f"no event speaks of '.*nrcb1'; did you mean {exposure(1)}"):
        road(pipeline, exposure(1).replace("nrca1", "nrcb1"))
    with pytest.raises(UsageError, match="calstream topics"):
        road(pipeline, "something")
