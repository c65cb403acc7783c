from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.downlink import write_downlink
from simulator.observation import Request

REQUEST = Request(
    detectors=("NRCA1", "NRCA3"), subarray="SUB160", ngroups=4, nints=2, dithers=2, seed=3, pattern="RAPID"
)


@pytest.fixture(scope="session")
def downlink(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dithers of two detectors, with truth and cache."""
    out = tmp_path_factory.mktemp("downlink")
    write_downlink(REQUEST, out)
    return out


@pytest.fixture
def no_crds() -> Iterator[None]:
    """Keep a test from the CRDS settings of whoever runs it."""
    saved = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("CRDS")}
    yield
    os.environ.update(saved)
