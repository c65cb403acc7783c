"""A small downlink, simulated once a session, and runs on it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.downlink import write_downlink
from simulator.observation import Request
from streams.run.driver import RunRequest, run
from tests.endtoend.place import Place, through_services
from tests.endtoend.running import Running
from tests.streams.bus.brokers import stop_clusters

NEEDED = ("kafka-python", "numpy", "astropy", "jsonschema")
"""What the example of a service needs."""


@pytest.fixture(scope="session")
def downlink(tmp_path_factory) -> Path:
    """Two dithers on two detectors, two integrations each; CRDS cache inside."""
    folder = tmp_path_factory.mktemp("downlink")
    request = Request(detectors=("NRCA1", "NRCA3"), subarray="SUB160", dithers=2, ngroups=5, nints=2)
    write_downlink(request, folder)
    return folder


@pytest.fixture
def crds(downlink, monkeypatch) -> Path:
    """Point CRDS at the downlink's cache."""
    cache = downlink / "crds_cache"
    monkeypatch.setenv("CRDS_PATH", str(cache))
    for name in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    return cache


@pytest.fixture
def process(crds):
    """Run files into a folder; returns the summary."""

    def call(*paths, out, **request):
        return run(RunRequest(paths=[str(path) for path in paths], out=Path(out), **request))

    return call


@pytest.fixture(scope="session")
def place(downlink, tmp_path_factory) -> Place:
    """The downlink, once through all services on an embedded bus; later tests replay some of it."""
    folder = tmp_path_factory.mktemp("services")
    return through_services(Place(folder, downlink / "crds_cache"), downlink)


@pytest.fixture(scope="session")
def processed(downlink, tmp_path_factory) -> Path:
    """The downlink's products of all levels; nobody alters them."""
    out = tmp_path_factory.mktemp("processed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRDS_PATH", str(downlink / "crds_cache"))
        patch.delenv("CRDS_CONTEXT", raising=False)
        patch.delenv("CRDS_SERVER_URL", raising=False)
        summary = run(RunRequest(paths=[str(downlink)], out=out))
    assert not summary.failed, summary.endings
    return out


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with what the example needs, in the versions of the lock."""
    place = tmp_path_factory.mktemp("environment")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    versions = place / "versions.txt"
    freeze = [*pip, "freeze", "--exclude-editable"]
    versions.write_text(subprocess.run(freeze, capture_output=True, text=True, check=True).stdout)
    venv.EnvBuilder(with_pip=False).create(place / "venv")
    program = place / "venv" / "bin" / "python"
    install = [*pip, "--python", str(program), "install", "--quiet", "--constraint", str(versions), *NEEDED]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"what the example needs cannot be fetched here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture
def running(downlink: Path, tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path, downlink / "crds_cache")
    yield made
    made.end()
    stop_clusters()
