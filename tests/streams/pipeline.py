"""A pipeline made for tests: events of a few exposures and their mosaic, what services say, dead letters."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.associations import Association, AssociationProduct, Member
from schemas.canonical import digest
from schemas.events import (
    Artifact,
    AssociationEvent,
    Event,
    FailureEvent,
    Input,
    ProductEvent,
    RecipeReference,
)
from schemas.manifests import Manifest, ManifestEntry
from schemas.records import ServiceRecord, Work
from streams.bus import Bus, Outgoing, Topic
from streams.dispatch import failure_of
from streams.envelope import pack
from streams.manifest_files import manifest_artifact, manifest_path
from streams.roots import put_association
from streams.store import Store
from streams.topics import SERVICES, TOPICS, dead_letters

ROAD = {"detector1": "ramp", "ramp_fit": "rate", "image2": "cal"}
SUFFIX = {"raw": "uncal", "ramp": "ramp", "rate": "rate", "cal": "cal", "combined": "i2d"}
PRODUCT = "jw01234-o001_t001_nircam_clear-f200w"
GENERATION = "01JDEM00000000000000000A"


def exposure(number: int) -> str:
    return f"jw01234001001_02101_{number:05d}_nrca1"


def generation(number: int) -> str:
    return f"{GENERATION}{number:02d}"


@dataclass
class Pipeline:
    """Publishes as services do, with manifests and association files in a store."""

    bus: Bus
    store: Store

    @classmethod
    def on(cls, bus: Bus, folder: Path) -> Pipeline:
        bus.create_topics(TOPICS)
        return cls(bus, Store(folder))

    def say(self, *events: Event) -> None:
        self.bus.publish([pack(event) for event in events])

    def raw(self, number: int, line: str = "main", born: int = 1) -> ProductEvent:
        event = ProductEvent(
            topic="raw", line=line, name=exposure(number), suffix="uncal", generation=generation(born),
            recipe=RecipeReference(name="optimal", digest=digest("optimal")),
            keywords={"PROGRAM": "01234", "EXP_TYPE": "NRC_IMAGE"},
            product=self.artifact(f"{exposure(number)}-uncal"),
        )  # fmt: skip
        self.say(event)
        return event

    def artifact(self, content: str) -> Artifact:
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        return Artifact(uri=f"file:///{content}", size=1, sha256=sha256, content=sha256)

    def made(self, stage: str, source: Event, topic: str, **changes: Any) -> ProductEvent:
        """Return what a stage makes of an event, its manifest in the store."""
        suffix = SUFFIX[topic]
        key = digest([stage, source.id])
        artifact = self.artifact(f"{source.name}-{suffix}")
        products = [ManifestEntry(name=source.name, suffix=suffix, artifact=artifact)]
        if topic == "combined":
            products.append(ManifestEntry(name=source.name, suffix="cat", artifact=artifact))
        manifest = Manifest(
            run_key=key, stage=stage, attempt="1", products=tuple(products), timing={"seconds": 1.5}
        )
        self.store.put_if_absent(manifest_path(key), manifest.content)
        product = isinstance(source, ProductEvent)
        inputs = (
            (Input(role="science", identity=source.identity, digest=source.product.content, uri="x"),)
            if isinstance(source, ProductEvent)
            else ()
        )
        event = ProductEvent(
            topic=topic, line=source.line, name=source.name, suffix=suffix, generation=source.generation,
            recipe=source.recipe, keywords=source.keywords, product=artifact, stage=stage, run_key=key,
            manifest=manifest_artifact(manifest, self.store), inputs=inputs, input_count=len(inputs) or 2,
            association=None if product else source.association,
        )  # fmt: skip
        return event.with_(**changes) if changes else event

    def along(self, event: ProductEvent, until: str = "cal") -> ProductEvent:
        """Let the stages work on an exposure; return the last product."""
        for stage, topic in ROAD.items():
            event = self.made(stage, event, topic)
            self.say(event)
            if topic == until:
                break
        return event

    def associate(self, *members: ProductEvent, name: str = PRODUCT) -> AssociationEvent:
        """Say that products go together."""
        listed = tuple(
            Member(expname=f"{m.name}_cal.fits", identity=m.identity, digest=m.product.content, uri="x")
            for m in members
        )
        association = Association(
            asn_type="image3", program="01234", products=(AssociationProduct(name=name, members=listed),)
        )
        first = members[0]
        event = AssociationEvent(
            line=first.line, name=name, suffix="asn", generation=max(m.generation for m in members),
            recipe=first.recipe, keywords=first.keywords, stage="image3", members=len(members),
            association=put_association(self.store, association), association_id=f"{first.line}-{name}",
            completeness="complete",
        )  # fmt: skip
        self.say(event)
        return event

    def mosaic(self, *members: ProductEvent, name: str = PRODUCT) -> ProductEvent:
        event = self.made("image3", self.associate(*members, name=name), "combined")
        self.say(event)
        return event

    def failed(self, stage: str, event: Event, sentence: str, topic: str = "raw") -> FailureEvent:
        """Let a stage fail on an event: a failure, and a dead letter."""
        failure = failure_of(stage, event, "Unprocessable", sentence)
        self.say(failure)
        self.letter(topic, stage, event.key, event.to_bytes(), sentence)
        return failure

    def letter(self, topic: str, service: str, key: str, value: bytes, sentence: str) -> None:
        name = dead_letters(topic, service)
        self.bus.create_topics([Topic(name=name)])
        headers = {"dlq.service": service, "dlq.error": "Unprocessable", "dlq.message": sentence}
        self.bus.publish([Outgoing(topic=name, key=key, value=value, headers=headers)])

    def read(self, group: str, topic: str, count: int = 1000) -> None:
        """Let a group get through with some messages of a topic."""
        consumer = self.bus.consumer(group, [topic])
        while count and (polled := consumer.poll(0, count)):
            consumer.commit(polled)
            count -= len(polled)
        consumer.close()

    def record(self, service: str, state: str = "ready", **changes: Any) -> ServiceRecord:
        """Let a service say what it is at; its process is this one unless it says another."""
        now = time.time()
        record = ServiceRecord(
            **{
                "service": service, "instance": "one", "host": socket.gethostname(), "pid": os.getpid(),
                "state": state, "started": now - 100, "time": now, **changes,
            }
        )  # fmt: skip
        self.bus.publish([Outgoing(topic=SERVICES, key=record.key, value=record.to_bytes())])
        return record


def work(number: int, stage: str, seconds: float = 10.0) -> Work:
    return Work(name=exposure(number), stage=stage, since=time.time() - seconds)
