"""A site for services under test, and events to feed it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from schemas.canonical import digest
from schemas.events import Artifact, ProductEvent, RecipeReference, next_generation, parse_event
from schemas.recipe import Recipe
from schemas.records import ServiceRecord
from streams.bus.memory import MemoryBus
from streams.envelope import pack
from streams.recipes import freeze
from streams.service.loop import Service
from streams.service.options import ServiceOptions
from streams.site import Address, Site
from streams.store import Store
from streams.topics import SERVICES, TOPICS

TO_RAMP = "tests.streams.service.stages:TO_RAMP"
TO_RATE = "tests.streams.service.stages:TO_RATE"
PATIENT = 120.0
"""Seconds within which anything that happens at all has happened."""


RECIPE = Recipe(name="plain", base="optimal", crds_parameters=False)
"""It asks CRDS for nothing but the name of its context."""


def write_crds(folder):
    """Write a CRDS cache that serves no reference; return the environment that leads to it."""
    config = folder / "crds/config/jwst"
    config.mkdir(parents=True)
    server = {
        "observatory": "jwst", "operational_context": "jwst_0001.pmap", "bad_files_list": [],
        "last_synced": "never", "force_remote_mode": False,
    }  # fmt: skip
    (config / "server_config").write_text(repr(server))
    (config / "ref_cache_subdir_mode").write_text("instrument")
    return {"CRDS_PATH": str(folder / "crds"), "CRDS_CONTEXT": "jwst_0001.pmap"}


def set_environment(monkeypatch, folder):
    """Let the test's stages take their notes in a folder, where a CRDS cache serves no reference."""
    monkeypatch.setenv("CALSTREAM_TEST_NOTES", str(folder))
    monkeypatch.delenv("CRDS_SERVER_URL", raising=False)
    for name, value in write_crds(folder).items():
        monkeypatch.setenv(name, value)


def site_at(folder, bus=None) -> Site:
    """Return a site with its store in a folder."""
    bus = bus or MemoryBus()
    bus.create_topics(TOPICS)
    return Site(
        bus=bus, store=Store(folder / "store"), address=Address(bus="memory:", store=str(folder / "store"))
    )


def raw(site, name, handler="builtin", content="x", number=0) -> ProductEvent:
    """Return the event of a raw exposure whose file lies in the store."""
    path = f"raw/{name}_uncal.fits"
    site.store.put_if_absent(path, content.encode())
    return ProductEvent(
        topic="raw", name=name, suffix="uncal", generation=next_generation(time.time() + number * 0.001),
        recipe=RecipeReference(name=RECIPE.name, digest=freeze(RECIPE, site.store)), handler=handler,
        keywords={"EXP_TYPE": "NRC_IMAGE", "PROGRAM": "01234"},
        product=Artifact(
            uri=site.store.uri(path), size=len(content), sha256=digest(content),
            content=digest([name, content]),
        ),
    )  # fmt: skip


def publish(site, *names, **changes):
    """Publish raw exposures of these names."""
    events = [raw(site, name, **changes) for name in names]
    site.bus.publish([pack(event) for event in events])
    return events


def events(site, topic):
    """Return the events on a topic."""
    return [parse_event(message.value) for message in site.bus.read(topic)]


def last_record(site):
    """Return what was said last on the topic of services."""
    *_, last = site.bus.read(SERVICES)
    return ServiceRecord.model_validate_json(last.value)


def until(condition, patience=PATIENT):
    """Wait until a condition holds; its value."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


class Running:
    """A service that runs in a thread of this process."""

    def __init__(self, site, **options):
        self.stop = 0
        self.error = None
        self.service = Service(
            site,
            ServiceOptions(**{"name": "to_ramp", "stages": (TO_RAMP,), "free": 0.0, **options}),
            lambda: self.stop,
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            self.service.run()
        except BaseException as error:
            self.error = error

    def end(self, how=1):
        self.stop = how
        self.thread.join(PATIENT)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error


@contextmanager
def running(site, **options):
    """Run a service for as long as the block lasts."""
    service = Running(site, **options)
    try:
        yield service
    finally:
        service.end()
