"""Services as processes of their own on a real broker, and one with none of our code among them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse

from schemas.events import ProductEvent
from schemas.export import FOLDER as SCHEMAS
from streams.current import events_of
from streams.site import Address, Site, open_site
from tests.streams.bus.brokers import empty_bus

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
PATIENT = 900.0
FIRST = "jw01234001001_02101_00001_nrca1"
SECOND = "jw01234001001_02101_00002_nrca1"


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
        self.processes: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, *command: str | Path) -> Path:
        """Start a process; return the file that it writes to."""
        path = self.folder / f"process-{len(list(self.folder.glob('process-*')))}.log"
        with path.open("wb") as log:
            self.processes[path] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=self.environment
            )
        return path

    def serve(self, *names: str) -> Path:
        """Start services in one process."""
        return self.start(sys.executable, "-P", "-m", "streams.cli", "serve", *names)

    def start_example(self, python: Path) -> Path:
        """Start the example of a service that fits ramps."""
        schema = SCHEMAS / "product-event.json"
        return self.start(python, EXAMPLES / "my_fit.py", self.server, self.folder / "store", schema)

    def kill(self, path: Path) -> None:
        """Kill the process that writes to a file."""
        process = self.processes.pop(path)
        process.kill()
        process.wait()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENT
        while not holds():
            ended = [path for path, process in self.processes.items() if process.poll() is not None]
            assert not ended, ended[0].read_text()
            assert time.monotonic() < deadline, "\n".join(path.read_text() for path in self.processes)
            time.sleep(0.5)

    def calstream(self, *arguments: str | Path) -> None:
        """Run a command."""
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
        """Return what was published."""
        return [e for e in events_of(self.site.bus, levels) if isinstance(e, ProductEvent)]

    def end(self) -> None:
        """Stop all processes."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.site.bus.close()


def opened(event: ProductEvent) -> Path:
    """Return the file that an event is about."""
    return Path(unquote(urlparse(event.product.uri).path))
