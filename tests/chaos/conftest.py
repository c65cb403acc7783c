"""Places and crews; the whole matrix runs when CALSTREAM_CHAOS is set, as `make chaos` does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.chaos.buses import FACTORIES
from tests.chaos.places import Place
from tests.chaos.processes import Crew
from tests.streams.service.support import write_crds


def pytest_collection_modifyitems(items):
    """Leave what `make chaos` adds to others."""
    if not os.environ.get("CALSTREAM_CHAOS"):
        for item in items:
            if item.get_closest_marker("whole"):
                item.add_marker(pytest.mark.skip(reason="part of `make chaos`"))


@pytest.fixture
def tmp_path():
    """A folder in memory where there is one: a process that is killed loses nothing of a file there."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def crds(tmp_path_factory):
    """A CRDS cache that serves no reference."""
    return write_crds(tmp_path_factory.mktemp("crds"))


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.whole)])
def bus(request):
    """The kind of bus."""
    FACTORIES[request.param].demand()
    return request.param


@pytest.fixture(autouse=True)
def environment(crds, monkeypatch):
    for name in ("CRDS_SERVER_URL", "CALSTREAM_BUS", "CALSTREAM_STORE", "CALSTREAM_SUPERVISOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in crds.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def place(bus, tmp_path):
    made = Place.at(tmp_path, FACTORIES[bus].url(tmp_path))
    yield made
    made.site.bus.close()


@pytest.fixture
def crew(place, bus, tmp_path, crds):
    made = Crew(place.site.address, tmp_path, bus, crds)
    yield made
    made.abandon()
