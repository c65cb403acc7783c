"""What a pipeline's bus tells of its products: works, waits, arrivals, hits, replays, failures."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from schemas.canonical import digest
from schemas.manifests import Manifest, ManifestEntry
from streams.bus.memory import MemoryBus
from streams.manifest_files import manifest_artifact, manifest_path
from streams.report.history import of_bus
from streams.report.timeline import ROWS, timeline
from streams.site import Address, Site
from tests.streams.pipeline import PRODUCT, Pipeline, exposure, generation


class Timed(Pipeline):
    """Its manifests say when each run began: 2 s after the one before had ended, for 1 s."""

    def made(self, stage, source, topic, **changes):
        event = super().made(stage, source, topic)
        key = digest([stage, source.id, "timed"])
        begun = self.at(stage)
        manifest = Manifest(
            run_key=key, stage=stage, attempt="1",
            products=(ManifestEntry(name=event.name, suffix=event.suffix, artifact=event.product),),
            timing={"started": datetime.fromtimestamp(begun, UTC).isoformat(), "seconds": 1.0},
        )  # fmt: skip
        self.store.put_if_absent(manifest_path(key), manifest.content)
        artifact = manifest_artifact(manifest, self.store)
        return event.with_(run_key=key, manifest=artifact, **changes)

    def at(self, stage):
        return {"detector1": 102.0, "ramp_fit": 105.0, "image2": 108.0, "image3": 114.0}[stage]


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    made = Timed.on(MemoryBus(), tmp_path / "store")
    clock = iter(100.0 + 3 * step for step in range(100))  # each message 3 s after the one before
    told = SimpleNamespace(time=lambda: next(clock), monotonic=time.monotonic)
    monkeypatch.setattr("streams.bus.memory.time", told)
    return made


def told(pipeline, names, line="main", **options):
    site = Site(bus=pipeline.bus, store=pipeline.store, address=Address(bus="memory:", store="x"))
    return of_bus(site, names, line, **options)


def test_works_have_waited_since_their_input_was_published(pipeline):
    pipeline.mosaic(pipeline.along(pipeline.raw(1)))
    history = told(pipeline, [exposure(1)])
    assert [(work.stage, work.name) for work in history.works] == [
        ("detector1", exposure(1)), ("ramp_fit", exposure(1)), ("image2", exposure(1)), ("image3", PRODUCT),
    ]  # fmt: skip
    assert [round(work.ended - work.began, 3) for work in history.works] == [1, 1, 1, 1]
    assert [(moment.kind, moment.name) for moment in history.moments] == [
        ("arrived", exposure(1)), ("associated", PRODUCT),
    ]  # fmt: skip
    assert history.works[0].waited == pytest.approx(history.works[0].began - history.moments[0].time)
    assert history.moments[1].sentence == "associated: 1 member, complete"
    assert history.origin == "bus"
    assert history.recipe == "optimal"
    assert history.began == history.moments[0].time


def test_a_replay_is_not_drawn_as_the_work_of_then(pipeline):
    rate = pipeline.along(pipeline.raw(1), until="rate")
    again = rate.with_(generation=generation(2), campaign="again")
    pipeline.say(again)
    pipeline.say(pipeline.made("image2", again, "cal", outcome="cached"))
    history = told(pipeline, [exposure(1)])
    assert [work.stage for work in history.works] == ["detector1", "ramp_fit"]
    assert [moment.kind for moment in history.moments] == ["arrived", "replayed", "hit"]
    assert history.moments[1].sentence == "rate published again by a replay"


def test_failures_are_told_also_of_what_could_not_be_read(pipeline):
    event = pipeline.raw(1)
    pipeline.failed("detector1", event, "all pixels are saturated")
    nameless = event.with_(name="broken", keywords={})
    pipeline.failed("ingest", nameless, "no FITS file")
    pipeline.say(pipeline.made("detector1", event, "ramp"))
    history = told(pipeline, [exposure(1)])
    failed = [(work.stage, work.name, work.sentence) for work in history.works if work.outcome == "failed"]
    assert ("detector1", exposure(1), "all pixels are saturated") in failed
    assert ("ingest", "broken", "no FITS file") in failed


def test_other_lines_and_other_programs_are_left_out(pipeline):
    pipeline.along(pipeline.raw(1))
    pipeline.along(pipeline.raw(1, line="deep"))
    stranger = pipeline.raw(2).with_(name="jw09999001001_02101_00001_nrca1", keywords={"PROGRAM": "09999"})
    pipeline.say(stranger)
    history = told(pipeline, [exposure(1)])
    assert len(history.works) == 3
    assert stranger.name not in {moment.name for moment in history.moments}
    assert told(pipeline, ["nobody"]) is None
    assert told(pipeline, [exposure(1)], "deep") is not None
    assert told(pipeline, [exposure(1)], since=1e9) is None


def test_without_a_manifest_that_tells_when_it_is_a_moment(pipeline):
    event = pipeline.raw(1)
    made = pipeline.made("detector1", event, "ramp")
    pipeline.say(made.with_(manifest=None))
    history = told(pipeline, [exposure(1)])
    assert not history.works
    assert [moment.sentence for moment in history.moments] == ["arrived", "ramp was published"]


def test_the_timeline_shows_waits_and_marks_to_scale(pipeline):
    pipeline.mosaic(pipeline.along(pipeline.raw(1)))
    history = told(pipeline, [exposure(1)])
    found = timeline(history)
    assert [row.name for row in found.rows] == [exposure(1), PRODUCT]
    assert found.marks == [("arrived", "arrived"), ("associated", "associated")]
    assert found.waits
    first = found.rows[0].bars[0]
    assert first.wait_left + first.wait_width == pytest.approx(first.left)
    assert found.rows[0].marks[0].left == 0
    assert max(bar.left + bar.width for row in found.rows for bar in row.bars) <= 100.001


def test_of_many_products_not_all_are_drawn_but_the_combined_ones_are(pipeline):
    first = pipeline.along(pipeline.raw(1))
    pipeline.mosaic(first)
    history = told(pipeline, [exposure(1)])
    many = [
        type(work)(**{**vars(work), "name": exposure(number)})
        for work in history.works[:1]
        for number in range(ROWS + 9)
    ]
    found = timeline(type(history)(**{**vars(history), "works": [*history.works, *many]}))
    assert len(found.rows) == ROWS
    assert found.rows[-1].name == PRODUCT
    assert found.hidden == 10
