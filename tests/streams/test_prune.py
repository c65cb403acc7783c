"""Pruning: what goes, and above all what stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ulid import ULID

from schemas.associations import Association, AssociationProduct, Member
from schemas.canonical import digest
from schemas.errors import UsageError
from schemas.events import Artifact, AssociationEvent, Input, ProductEvent, RecipeReference, next_generation
from schemas.manifests import Manifest, ManifestEntry
from streams import marks
from streams.bus.memory import MemoryBus
from streams.deadletters import dead_letter, dead_letter_topics, drop, letters
from streams.envelope import pack
from streams.manifest_files import StoreLedger, manifest_artifact, manifest_path
from streams.prune import COPY, LEFTOVER, MARK, RUN, prunable, sweep
from streams.roots import put_association
from streams.site import Address, Site
from streams.store import Store
from streams.topics import TOPICS

RECIPE = RecipeReference(name="optimal", digest=digest("optimal"))
KEYWORDS = {"EXP_TYPE": "NRC_IMAGE", "PROGRAM": "01234"}
DAY = 86400.0


@pytest.fixture
def site(tmp_path):
    bus = MemoryBus()
    bus.create_topics([*TOPICS, *dead_letter_topics("image2", ["rate"])])
    return Site(bus=bus, store=Store(tmp_path / "store"), address=Address(bus="memory:", store="there"))


class Works:
    """A site whose stages make files of a few bytes."""

    def __init__(self, site):
        self.site, self.bus, self.store = site, site.bus, site.store
        self.clock = 0

    def generation(self):
        self.clock += 1
        return next_generation(time.time() - 5 * DAY + self.clock)

    def ingest(self, name, content, line="main"):
        path = f"raw/{digest(content)[:2]}/{digest(content)}/{name}_uncal.fits"
        self.store.put_if_absent(path, content.encode())
        event = ProductEvent(
            topic="raw", line=line, name=name, suffix="uncal", generation=self.generation(), recipe=RECIPE,
            keywords=KEYWORDS, product=self.artifact(path, content),
        )  # fmt: skip
        return self.say(event)

    def made(self, event, topic, what, age=4 * DAY, publish=True):
        """A run on an event, with its manifest; returns what it says."""
        key = digest([event.product.content, topic, what])
        attempt = str(ULID.from_timestamp(time.time() - age))
        path = f"runs/{key[:2]}/{key}/{attempt}/{event.name}_{topic}.fits"
        self.store.put_if_absent(path, what.encode())
        product = self.artifact(path, what)
        science = Input(
            role="science", identity=event.identity, digest=event.product.content, uri=event.product.uri
        )
        manifest = Manifest(
            run_key=key, stage="x", attempt=attempt, inputs=(science,),
            products=(ManifestEntry(name=event.name, suffix=topic, artifact=product),),
        )  # fmt: skip
        self.store.put_if_absent(manifest_path(key), manifest.content)
        result = event.with_(
            topic=topic, suffix=topic, product=product, manifest=manifest_artifact(manifest, self.store),
            inputs=(science,), input_count=1, stage="x", run_key=key,
        )  # fmt: skip
        return self.say(result) if publish else result

    def artifact(self, path, content):
        return Artifact(
            uri=self.store.uri(path), size=len(content), sha256=digest(content), content=digest(content)
        )

    def say(self, event):
        self.bus.publish([pack(event)])
        return event

    def process(self, *groups):
        """Services take all that there is."""
        topics = {"detector1": ["raw"], "ramp_fit": ["ramp"], "image2": ["rate"], "image3": ["association"]}
        for group in groups or topics:
            consumer = self.bus.consumer(group, topics.get(group, ["cal", "failures", "plan"]))
            consumer.commit(consumer.poll(0, 1000))
            consumer.close()

    def goes(self, **options):
        return sorted((item.kind, self.name(item)) for item in prunable(self.site, **options))

    @staticmethod
    def name(item):
        if item.kind == RUN:
            return item.path.split("/")[2][:8]
        return item.parts[0].partition("-")[0] if item.kind == MARK else Path(item.path).name

    def is_whole(self, event):
        path = Path(event.product.uri.removeprefix("file://"))
        return path.exists() and self.store.exists(manifest_path(event.run_key))


@pytest.fixture
def made(site):
    return Works(site)


def run(event):
    return RUN, event.run_key[:8]


def test_what_a_newer_generation_superseded_goes_with_its_raw_copy(made):
    old = made.ingest("one", "first bytes")
    ramp = made.made(old, "ramp", "ramp of the first")
    new = made.ingest("one", "other bytes")
    second = made.made(new, "ramp", "ramp of the second")
    made.process()
    assert made.goes() == sorted([run(ramp), (COPY, "one_uncal.fits")])
    items = prunable(made.site)
    assert sum(item.size for item in items if item.kind == COPY) == len("first bytes")
    assert all(item.size > 0 for item in items)
    sweep(items, made.store)
    assert not Path(made.store.root, f"runs/{ramp.run_key[:2]}/{ramp.run_key}").exists()
    assert not Path(old.product.uri.removeprefix("file://")).exists()
    assert Path(new.product.uri.removeprefix("file://")).exists()
    assert made.is_whole(second)
    assert prunable(made.site) == []


def test_inputs_of_current_products_stay(made):
    """The new rate is not there: the current one was made of a ramp that has been superseded."""
    old = made.ingest("one", "first bytes")
    ramp = made.made(old, "ramp", "first ramp")
    made.made(ramp, "rate", "first rate")
    made.made(made.ingest("one", "other bytes"), "ramp", "second ramp")
    made.process()
    assert made.goes() == [(COPY, "one_uncal.fits")]


def test_a_line_keeps_what_another_has_left(made):
    old = made.ingest("one", "first bytes")
    ramp = made.made(old, "ramp", "ramp")
    made.say(old.with_(line="test"))
    made.say(ramp.with_(line="test"))
    made.made(made.ingest("one", "other bytes"), "ramp", "second ramp")
    made.process()
    assert made.goes() == []


def test_what_waits_for_a_service_stays(made):
    old = made.ingest("one", "first bytes")
    rate = made.made(old, "rate", "first rate")
    made.made(made.ingest("one", "other bytes"), "rate", "second rate")
    made.process("detector1", "ramp_fit")
    assert made.goes() == []
    made.process("image2")
    assert made.goes() == sorted([run(rate), (COPY, "one_uncal.fits")])


def test_a_run_that_is_finished_but_not_yet_published_stays(made):
    """Its input is not committed; killed and started again, the service finds its manifest."""
    old = made.ingest("one", "first bytes")
    hidden = made.made(old, "ramp", "ramp", publish=False)
    assert made.goes() == []
    made.process("detector1")
    assert made.goes() == [run(hidden)]


def test_what_a_handler_of_the_users_waits_for_stays(made):
    old = made.ingest("one", "first bytes")
    rate = made.made(old.with_(handler="my-fit"), "rate", "first rate")
    made.made(made.ingest("one", "other bytes"), "rate", "second rate")
    made.process()
    assert made.goes() == []
    consumer = made.bus.consumer("my-fit", ["rate"])
    consumer.commit(consumer.poll(0))
    assert run(rate) in made.goes()


def test_a_pending_dead_letter_keeps_what_it_is_about_and_its_attempts(made):
    old = made.ingest("one", "first bytes")
    rate = made.made(old, "rate", "first rate")
    made.made(made.ingest("one", "other bytes"), "rate", "second rate")
    consumer = made.bus.consumer("image2", ["rate"])
    polled = consumer.poll(0)
    first = next(m for m in polled if m.value == rate.to_bytes())
    consumer.commit(polled, [dead_letter(first, "image2", "Unprocessable", "bad", 3)])
    made.process("detector1")
    marks.begin(made.store, rate.id)
    marks.begin(made.store, old.id)
    assert run(rate) not in made.goes()
    assert (MARK, rate.id) not in made.goes()
    drop(list(letters(made.bus)), made.bus)
    assert run(rate) in made.goes()
    assert (MARK, rate.id) in made.goes()


def test_members_of_an_association_that_waits_stay_and_those_of_the_current_mosaic(made):
    cals = [made.made(made.ingest(name, name), "cal", f"cal of {name}") for name in ("one", "two")]
    newer = [made.made(made.ingest(name, f"new {name}"), "cal", f"new {name}") for name in ("one", "two")]
    members = tuple(
        Member(expname=c.name, identity=c.identity, digest=c.product.content, uri=c.product.uri) for c in cals
    )
    product = AssociationProduct(name="mosaic", members=members)
    artifact = put_association(made.store, Association(asn_type="image3", products=(product,)))
    event = AssociationEvent(
        name="mosaic", suffix="asn", generation=cals[1].generation, recipe=RECIPE, association=artifact,
        stage="image3", association_id="a", members=2, keywords=KEYWORDS,
    )  # fmt: skip
    made.say(event)
    made.process("detector1", "associator")
    assert not {run(cal) for cal in cals} & set(made.goes())
    made.process("image3")
    assert {run(cal) for cal in cals} <= set(made.goes())
    mosaic = cals[0].with_(
        topic="combined", name="mosaic", suffix="i2d", inputs=(), association=artifact, run_key=digest("m")
    )
    made.say(mosaic)
    assert not {run(cal) for cal in [*cals, *newer]} & set(made.goes())


def test_leftovers_of_killed_attempts_go_after_a_day(made):
    event = made.made(made.ingest("one", "bytes"), "ramp", "ramp")
    folder = f"runs/{event.run_key[:2]}/{event.run_key}"
    ages = {2 * DAY: "old", 3600.0: "young"}
    names = {word: str(ULID.from_timestamp(time.time() - age)) for age, word in ages.items()}
    for name in names.values():
        made.store.put_if_absent(f"{folder}/{name}/half.fits", b"half")
    lost = f"runs/ab/{'ab' * 32}/{ULID.from_timestamp(time.time() - 2 * DAY)}"
    made.store.put_if_absent(f"{lost}/half.fits", b"half")
    made.process()
    assert made.goes() == sorted([(LEFTOVER, names["old"]), (LEFTOVER, Path(lost).name)])
    sweep(prunable(made.site), made.store)
    assert made.is_whole(event)
    assert made.store.names(folder) == sorted(
        [names["young"], Path(event.product.uri).parent.name, "manifest.json"]
    )


def test_an_attempt_that_began_lately_outlives_the_superseded_run_beside_it(made):
    hidden = made.made(made.ingest("one", "bytes"), "ramp", "ramp", publish=False)
    made.made(made.ingest("one", "bytes"), "rate", "rate")
    late = f"runs/{hidden.run_key[:2]}/{hidden.run_key}/{ULID()}/half.fits"
    made.store.put_if_absent(late, b"half")
    made.process()
    sweep(prunable(made.site), made.store)
    assert made.store.exists(late)
    assert not made.is_whole(hidden)


def test_older_than_spares_what_is_young(made):
    old = made.ingest("one", "first bytes")
    ramp = made.made(old, "ramp", "ramp", age=2 * DAY)
    made.made(made.ingest("one", "other bytes"), "ramp", "second")
    made.process()
    assert made.goes(older_than=3 * DAY) == [(COPY, "one_uncal.fits")]
    assert run(ramp) in made.goes(older_than=DAY)


def test_marks_of_events_in_work_stay(made):
    waits, done = made.ingest("one", "1"), made.ingest("two", "2")
    consumer = made.bus.consumer("detector1", ["raw"])
    consumer.commit([m for m in consumer.poll(0) if m.key == "two"])
    for event in (waits, done):
        marks.begin(made.store, event.id)
    assert made.goes() == [(MARK, done.id)]


def test_links_are_not_followed_out_of_the_store(made, tmp_path):
    event = made.made(made.ingest("one", "bytes"), "ramp", "ramp")
    outside = tmp_path / "outside"
    key, attempt = "cd" * 32, str(ULID.from_timestamp(time.time() - 9 * DAY))
    (outside / key / attempt).mkdir(parents=True)
    (outside / key / attempt / "precious.fits").write_text("mine")
    os.symlink(outside, Path(made.store.root, "runs", "cd"))
    folder = Path(made.store.root, f"runs/{event.run_key[:2]}/{event.run_key}")
    os.symlink(outside, folder / attempt)
    made.process()
    sweep(prunable(made.site), made.store)
    assert (outside / key / attempt / "precious.fits").read_text() == "mine"


def test_the_manifest_goes_first(made, monkeypatch):
    hidden = made.made(made.ingest("one", "bytes"), "ramp", "ramp", publish=False)
    made.made(made.ingest("one", "bytes"), "rate", "rate")
    made.process()
    removed = []
    monkeypatch.setattr(made.store, "remove", removed.append)
    sweep(prunable(made.site), made.store)
    assert removed[0] == manifest_path(hidden.run_key)
    assert len(removed) == 2


def test_a_store_of_another_bus_is_refused(made, site):
    made.made(made.ingest("one", "bytes"), "ramp", "ramp")
    empty = MemoryBus()
    empty.create_topics(TOPICS)
    with pytest.raises(UsageError, match="belong together"):
        prunable(Site(bus=empty, store=site.store, address=site.address))


def test_a_pruned_run_counts_as_not_done(made):
    hidden = made.made(made.ingest("one", "bytes"), "ramp", "ramp", publish=False)
    made.made(made.ingest("one", "bytes"), "rate", "rate")
    made.process()

    class Asked:
        key = hidden.run_key

    assert StoreLedger(made.store).finished(Asked()) is not None
    sweep(prunable(made.site), made.store)
    assert StoreLedger(made.store).finished(Asked()) is None


def test_files_that_a_killed_writer_never_put_go_after_a_day(made):
    event = made.made(made.ingest("one", "bytes"), "ramp", "ramp")
    made.process()
    folders = [f"runs/{event.run_key[:2]}/{event.run_key}", "recipes", "roots/main/one/uncal"]
    for folder in folders:
        for age, word in ((2 * DAY, "old"), (3600.0, "young")):
            path = Path(made.store.root) / folder / f".put-{word}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
            os.utime(path, (time.time() - age,) * 2)
    assert made.goes() == [(LEFTOVER, ".put-old")] * 3
    sweep(prunable(made.site), made.store)
    assert sorted(path.name for path in Path(made.store.root).rglob(".put-*")) == [".put-young"] * 3
    assert made.is_whole(event)
