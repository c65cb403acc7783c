"""A small downlink, processed once; each test goes on with a copy."""

from __future__ import annotations

import shutil
from math import inf
from pathlib import Path

import pytest

from simulator.downlink import write_downlink
from simulator.observation import Request
from streams.bus import Outgoing
from streams.bus.embedded import EmbeddedBus
from streams.bus.memory import MemoryBus
from streams.site import Address, Site
from streams.store import Store
from streams.topics import ASSOCIATOR_STATE, EVENTS, READERS, TOPICS

from .works import Works


@pytest.fixture(scope="session")
def downlink(tmp_path_factory) -> Path:
    """Two dithers on two detectors; CRDS cache inside."""
    folder = tmp_path_factory.mktemp("downlink")
    write_downlink(Request(detectors=("NRCA1", "NRCA3"), subarray="SUB160", dithers=2, ngroups=5), folder)
    return folder


@pytest.fixture(autouse=True)
def crds(request, monkeypatch):
    """Point CRDS at the downlink's cache, for tests that have one."""
    if "downlink" in request.fixturenames:
        monkeypatch.setenv("CRDS_PATH", str(request.getfixturevalue("downlink") / "crds_cache"))
    for name in ("CRDS_CONTEXT", "CRDS_SERVER_URL", "CALSTREAM_BUS", "CALSTREAM_STORE"):
        monkeypatch.delenv(name, raising=False)


def populated(bus, messages):
    """Publish what another bus holds, and let all services have read it."""
    bus.create_topics(TOPICS)
    bus.publish([Outgoing(topic=m.topic, key=m.key, value=m.value, headers=m.headers) for m in messages])
    for group, topics in READERS.items():
        bus.move(group, {at: offset for topic in topics for at, offset in bus.offsets_at(topic, inf).items()})
    return bus


@pytest.fixture(scope="session")
def template(downlink, tmp_path_factory):
    """Messages and the folder of the store of the processed downlink."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRDS_PATH", str(downlink / "crds_cache"))
        for name in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
            patch.delenv(name, raising=False)
        works = Works(opened(populated(MemoryBus(), []), folder))
        works.ingest(*sorted(downlink.glob("*_uncal.fits")))
        works.run()
    bus = works.site.bus
    return folder, [message for topic in (*EVENTS, ASSOCIATOR_STATE) for message in bus.read(topic)]


def opened(bus, folder: Path) -> Site:
    store = folder / "store"
    return Site(bus=bus, store=Store(store), address=Address(bus="memory:", store=str(store)))


@pytest.fixture
def place(template, tmp_path_factory):
    """The folder of the template's store, which is as it was afterwards."""
    folder, _ = template
    backup = tmp_path_factory.mktemp("backup") / "site"
    shutil.copytree(folder, backup, symlinks=True)
    yield folder
    shutil.rmtree(folder)
    backup.rename(folder)


@pytest.fixture
def works(template, place):
    """The processed downlink."""
    return Works(opened(populated(MemoryBus(), template[1]), place))


@pytest.fixture
def embedded(template, place, tmp_path):
    """The same on an embedded bus; what leads a command there."""
    url = f"embedded:{tmp_path / 'bus'}"
    populated(EmbeddedBus(str(tmp_path / "bus")), template[1]).close()
    return ["--bus", url, "--store", str(place / "store")]
