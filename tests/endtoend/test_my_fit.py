"""A service of the user's own, with none of our code, takes over a stage on a real broker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from astropy.io import fits

from schemas.events import ProductEvent
from schemas.export import FOLDER as SCHEMAS
from streams.current import events_of
from streams.site import Address, Site, open_site
from tests.streams.bus.brokers import empty_bus, stop_clusters

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
NEEDED = ("kafka-python", "numpy", "astropy", "jsonschema")
PATIENT = 900.0
FIRST = "jw01234001001_02101_00001_nrca1"


@pytest.fixture(scope="module")
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


class Running:
    """Processes on a bus and a store."""

    def __init__(self, folder: Path, crds: Path) -> None:
        self.folder = folder
        bus = empty_bus()
        self.server = bus.connection.servers[0]
        bus.close()
        self.address = Address(bus=f"kafka://{self.server}", store=str(folder / "store"))
        self.site: Site = open_site(self.address, begin=True)
        ours = ("CRDS", "CALSTREAM", "PYTHON")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = {**clean, "CRDS_PATH": str(crds), **self.address.environment()}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str | Path) -> Path:
        """Start a process; return the file that it writes to."""
        path = self.folder / f"{name}.log"
        with path.open("wb") as log:
            self.processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=self.environment)
            )
        return path

    def calstream(self, *arguments: str | Path) -> None:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "streams.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENT,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def events(self, *levels: str) -> list[ProductEvent]:
        return [e for e in events_of(self.site.bus, levels) if isinstance(e, ProductEvent)]

    def end(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.site.bus.close()


@pytest.fixture
def running(downlink: Path, tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path, downlink / "crds_cache")
    yield made
    made.end()
    stop_clusters()


def opened(event: ProductEvent) -> Path:
    return Path(unquote(urlparse(event.product.uri).path))


def test_it_answers_in_place_of_the_built_in_fit_and_the_road_goes_on(running, python, downlink):
    mine = running.start(
        "mine", python, EXAMPLES / "my_fit.py", running.server, running.folder / "store",
        SCHEMAS / "product-event.json",
    )  # fmt: skip
    services = running.start(
        "services", sys.executable, "-P", "-m", "streams.cli", "serve", "detector1", "ramp_fit", "image2",
    )  # fmt: skip
    shutil.copy(downlink / f"{FIRST}_uncal.fits", running.folder)
    running.calstream("line", "add", "mine", "--recipe", EXAMPLES / "my-fit.yaml")
    running.calstream("ingest", running.folder / f"{FIRST}_uncal.fits")
    deadline = time.monotonic() + PATIENT
    while len(running.events("cal")) < 2:
        assert all(process.poll() is None for process in running.processes), mine.read_text()
        assert time.monotonic() < deadline, mine.read_text() + services.read_text()
        time.sleep(0.5)
    ramp, rate, cal = ({e.line: e for e in running.events(level)} for level in ("ramp", "rate", "cal"))
    assert len(running.events("rate")) == len(rate) == len(cal) == 2
    assert [line.split()[0] for line in mine.read_text().splitlines()] == [FIRST]
    assert {line: event.handler for line, event in ramp.items()} == {"main": "builtin", "mine": "my-fit"}
    assert ("my-fit" in rate["mine"].product.uri, "my-fit" in rate["main"].product.uri) == (True, False)
    assert rate["mine"].stage == "ramp_fit"
    for name in ("generation", "recipe", "keywords"):
        assert getattr(rate["mine"], name) == getattr(ramp["mine"], name)
    (used,) = cal["mine"].inputs
    assert (used.uri, used.digest) == (rate["mine"].product.uri, rate["mine"].product.sha256)
    assert cal["mine"].generation == ramp["mine"].generation
    assert np.isfinite(fits.getdata(opened(cal["mine"]), "SCI")).mean() > 0.9
    slopes_agree(opened(rate["mine"]), opened(rate["main"]))


def slopes_agree(mine: Path, built_in: Path) -> None:
    """Slopes of two fits to the same ramps differ by less than their noise, and not on the whole."""
    one, two = (fits.getdata(path, "SCI") for path in (mine, built_in))
    error = fits.getdata(built_in, "ERR")
    good = np.isfinite(one) & np.isfinite(two) & (error > 0) & (fits.getdata(built_in, "DQ") == 0)
    difference = ((one - two) / error)[good]
    assert good.mean() > 0.9
    assert abs(np.median(difference)) < 0.1
    assert np.median(abs(difference)) < 0.5
