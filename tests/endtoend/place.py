"""A pipeline in a folder, and the commands that a user types on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from schemas.content import file_digest
from schemas.events import ProductEvent
from streams.current import events_of
from streams.site import Address, open_site

PATIENT = 900.0
LEVELS = ("raw", "ramp", "rate", "cal", "combined")


@dataclass
class Place:
    """A pipeline in a folder, its bus too unless another is named; commands on it."""

    folder: Path
    crds: Path
    bus: str = ""

    @property
    def address(self) -> Address:
        return Address(bus=self.bus or f"embedded:{self.folder / 'bus'}", store=str(self.folder / "store"))

    def __call__(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "streams.cli", *map(str, arguments)]
        base = {name: text for name, text in os.environ.items() if not name.startswith(("CRDS", "CALSTREAM"))}
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**base, "CRDS_PATH": str(self.crds), **self.address.environment(), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENT,
        )

    def done(self) -> list[ProductEvent]:
        """Return what stages have published, in order."""
        site = open_site(self.address)
        try:
            events = [event for event in events_of(site.bus, LEVELS) if isinstance(event, ProductEvent)]
        finally:
            site.bus.close()
        return [event for event in events if event.stage]

    def products(self) -> dict[tuple[str, str], str]:
        """Return the SHA-256 of every file that a run has made, by run key and name; manifests have times."""
        runs = self.folder / "store/runs"
        made = (path for path in runs.glob("*/*/*/*") if path.is_file())
        return {(path.parts[-3], path.name): file_digest(path) for path in made}


def through_services(place: Place, downlink: Path) -> Place:
    """Take a downlink once through all services, file by file; what `up` said lies in ``said``."""
    folder = place.folder
    (folder / "env.sh").write_text("export MINE=1\nexport CALSTREAM_BUS=memory:\n")
    inbox = folder / "inbox"
    inbox.mkdir()
    for path in downlink.glob("*_uncal.fits"):
        shutil.copy(path, inbox)
    done = place("up", "--ingest", folder, "--every", "0.2", "--until-idle", "--env", "env.sh")
    (folder / "said").write_text(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return place
