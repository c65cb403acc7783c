"""Each test of the contract runs on each bus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.bus import Bus

from .made import FACTORIES, Factory


@pytest.fixture(params=FACTORIES)
def factory(request: pytest.FixtureRequest) -> Factory:
    return FACTORIES[request.param]


@pytest.fixture
def bus(factory: Factory, tmp_path: Path) -> Iterator[Bus]:
    made = factory.make(tmp_path)
    made.create_topics(["raw", "ramp"])
    yield made
    made.close()
