"""A site for services that are killed, what is fed into it, and what must hold of it afterwards."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from schemas.associations import Association
from schemas.canonical import digest
from schemas.content import file_digest
from schemas.events import (
    Artifact,
    AssociationEvent,
    Plan,
    PlanEvent,
    PlannedExposure,
    ProductEvent,
    RecipeReference,
    next_generation,
    parse_event,
)
from schemas.manifests import Manifest
from schemas.recipe import Recipe
from schemas.records import ServiceRecord
from streams.bus.opening import open_bus
from streams.current import current_products
from streams.deadletters import letters
from streams.envelope import pack
from streams.prune import LEFTOVER, MARK, prunable, sweep
from streams.recipes import freeze
from streams.roots import put_by_digest
from streams.site import Address, Site
from streams.store import Store, local_path
from streams.topics import EVENTS, READERS, every_topic
from tests.chaos.stages import made
from tests.streams.service.support import until

RECIPE = Recipe(name="plain", base="optimal", crds_parameters=False)
"""It asks CRDS for nothing but the name of its context."""
ROAD = ("ramp", "rate", "cal")
KEYWORDS = {
    "OBSERVTN": "001", "TARGPROP": "M-92", "INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "FILTER": "F200W",
    "PUPIL": "CLEAR", "SUBARRAY": "FULL", "EXP_TYPE": "NRC_IMAGE", "TSOVISIT": False,
    "VISITYPE": "PRIME_TARGETED_FIXED", "BKGDTARG": False,
}  # fmt: skip
DAY = 86400.0


def exposure(number: int, program: int = 1234) -> str:
    """Return the name of an exposure."""
    return f"jw{program:05d}001001_02101_{number:05d}_nrca1"


@dataclass
class Place:
    """A site, looked at from outside."""

    site: Site

    @classmethod
    def at(cls, folder: Path, url: str) -> Place:
        bus = open_bus(url)
        bus.create_topics(every_topic())
        store = folder / "store"
        return cls(Site(bus=bus, store=Store(store), address=Address(bus=url, store=str(store))))

    def product(
        self, topic: str, name: str, program: int, *, line="main", recipe=RECIPE, version="", known=None
    ):
        """Return the event of a product that came from outside, its file in the store.

        It is newer than those of its name among `known`, by default all that there are.
        """
        suffix = {"raw": "uncal", "cal": "cal"}[topic]
        content = made(name, suffix, [("version", version)]).decode()
        path = f"raw/{name}_{suffix}{version}.fits"
        self.site.store.put_if_absent(path, content.encode())
        before = self.events(topic) if known is None else known
        generations = [event.generation for event in before if event.name == name]
        return ProductEvent(
            topic=topic, line=line, name=name, suffix=suffix,
            generation=next_generation(time.time(), max(generations, default=None)),
            recipe=self.recipe(recipe),
            keywords={**KEYWORDS, "PROGRAM": f"{program:05d}"},
            product=Artifact(
                uri=self.site.store.uri(path), size=len(content), sha256=digest_of(content),
                content=digest([name, content]),
            ),
        )  # fmt: skip

    def recipe(self, recipe: Recipe = RECIPE) -> RecipeReference:
        return RecipeReference(name=recipe.name, digest=freeze(recipe, self.site.store))

    def feed(self, *names: str, topic: str = "raw", program: int = 1234, **changes):
        """Publish products under names; return their events."""
        known = self.events(topic)
        events = [self.product(topic, name, program, known=known, **changes) for name in names]
        self.publish(*events)
        return events

    def publish(self, *events) -> None:
        """Publish events."""
        self.site.bus.publish([pack(event) for event in events])

    def promise(self, *names: str, program: int = 1234) -> None:
        """Publish the plan of a program."""
        keywords = {**KEYWORDS, "PROGRAM": f"{program:05d}"}
        exposures = tuple(PlannedExposure(name=name, keywords=keywords) for name in sorted(names))
        text = Plan(program=f"{program:05d}", exposures=exposures).model_dump_json().encode()
        plan = PlanEvent(
            name=f"plan-{program:05d}", generation=next_generation(time.time()), recipe=self.recipe(),
            keywords={"PROGRAM": f"{program:05d}"},
            plan=put_by_digest(self.site.store, "plans", text, ".json"),
        )  # fmt: skip
        self.publish(plan)

    def events(self, topic: str):
        return [parse_event(message.value) for message in self.site.bus.read(topic)]

    def record(self, service: str) -> ServiceRecord:
        """Return what a service said last."""
        records = [
            ServiceRecord.model_validate_json(m.value) for m in self.site.bus.read("services") if m.value
        ]
        return max((r for r in records if r.service == service), key=lambda record: record.time)

    def waits(self, service: str) -> str:
        """Return why a service waits; an empty sentence if it does not."""
        record = self.record(service)
        return record.sentence if record.state == "waiting" else ""

    def done(self, *groups: str) -> bool:
        """Tell whether groups are through with all that there is for them."""
        return not any(sum(self.site.bus.lag(group, READERS[group]).values()) for group in groups)

    def mosaic(self) -> ProductEvent | None:
        """Return the one mosaic that is current; None where there is none yet."""
        found = list(self._current("combined"))
        assert len(found) <= 1
        return found[0] if found else None

    def members_of(self, event: AssociationEvent) -> list[str]:
        """Return the names of an association's members."""
        with self.site.store.fetch(event.association) as path:
            association = Association.model_validate_json(path.read_bytes())
        (product,) = association.products
        return sorted(member.identity.split("/")[1] for member in product.members)

    def demand_all(self, names, levels=ROAD, failures: int = 0) -> None:
        """Demand one product of each name on each level, and that all is whole."""
        for level in levels:
            # On Kafka what is committed may be seen a little later than that it is.
            until(lambda level=level: len(self.events(level)) >= len(names))
            assert sorted(event.name for event in self.events(level)) == sorted(names)
        self.demand_order(failures)

    def demand_order(self, failures: int = 0) -> None:
        """Demand that nothing is said twice, no letter is dead, every product whole, no file too many."""
        for topic in EVENTS:
            said = Counter(_what(event) for event in self.events(topic) if topic != "raw")
            assert {who: times for who, times in said.items() if times > 1} == {}
        assert [letter.said("message") for letter in letters(self.site.bus)] == []
        assert len(self.events("failures")) == failures
        for topic in (*ROAD, "combined"):
            for event in self.events(topic):
                if event.run_key:
                    self._demand_whole(event)
        self._demand_swept()

    def _demand_whole(self, event: ProductEvent) -> None:
        """Demand that a product and its manifest are what the event says."""
        with self.site.store.fetch(event.manifest) as path:
            assert file_digest(path) == event.manifest.sha256
            manifest = Manifest.model_validate_json(path.read_bytes())
        assert (manifest.run_key, manifest.stage) == (event.run_key, event.stage)
        assert manifest.primary.artifact == event.product
        for entry in manifest.products:
            with self.site.store.fetch(entry.artifact) as path:
                assert file_digest(path) == entry.artifact.sha256 == entry.artifact.content
                inputs = ((item.identity.split("/")[1], item.digest) for item in manifest.inputs)
                assert path.read_bytes() == made(event.name, event.suffix, inputs)

    def _demand_swept(self) -> None:
        """Demand that all there is in the store is in use, but for what pruning removes after a day."""
        store = self.site.store
        runs = {event.run_key for topic in (*ROAD, "combined") for event in self.events(topic)} - {""}
        superseded = runs - {event.run_key for topic in (*ROAD, "combined") for event in self._current(topic)}
        items = prunable(self.site, now=time.time() + 2 * DAY, older_than=10 * DAY)
        assert {item.kind for item in items} <= {LEFTOVER, MARK}
        sweep(items, store)
        there = {key: store.names(f"runs/{shelf}/{key}") for shelf in store.names("runs")
                 for key in store.names(f"runs/{shelf}")}  # fmt: skip
        assert runs - superseded <= there.keys() <= runs
        for key, names in there.items():
            manifest = Manifest.model_validate_json(store.read_bytes(f"runs/{key[:2]}/{key}/manifest.json"))
            assert sorted(names) == sorted(["manifest.json", manifest.attempt])
            files = [local_path(entry.artifact.uri).name for entry in manifest.products]
            assert store.names(f"runs/{key[:2]}/{key}/{manifest.attempt}") == files
        assert store.names("attempts") == []
        loose = list(Path(store.root).rglob(".put-*"))
        assert loose == []

    def leftovers(self) -> list[str]:
        """Return what pruning would remove of attempts."""
        items = prunable(self.site, now=time.time() + 2 * DAY, older_than=10 * DAY)
        return [item.path for item in items if item.kind == LEFTOVER]

    def _current(self, topic: str):
        return current_products(self.events(topic)).values()


def _what(event):
    """Return what an event says, so that no other says the same."""
    association = getattr(event, "association", None)
    members = association.sha256 if association else ""
    return event.kind, event.identity, getattr(event, "run_key", ""), event.generation, members


def digest_of(content: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(content.encode()).hexdigest()
