"""What is processed: exposures of one NIRCam detector, simulated once and kept."""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.workers import ROOT, environment, whole_process


@dataclass(frozen=True)
class Workload:
    """What is simulated.

    Attributes
    ----------
    subarray : str
        FULL or a subarray.
    ngroups, dark_groups : int
        Groups of the exposures, and of the dark.
    dithers : int
        Number of exposures.
    nints : int
        Integrations of each.
    """

    subarray: str = "FULL"
    ngroups: int = 10
    dark_groups: int = 50
    dithers: int = 1
    nints: int = 1

    @property
    def name(self):
        """Name of its folder."""
        numbers = (self.ngroups, self.dark_groups, self.dithers, self.nints)
        return f"{self.subarray}-{'-'.join(map(str, numbers))}".lower()


@dataclass(frozen=True)
class Downlink:
    """What was simulated: Level-1b files, and the CRDS cache that serves them."""

    files: tuple[Path, ...]
    crds: Path


NOTHING = Downlink((Path("nothing"),), Path("nothing"))
"""For what needs none."""


def simulated(workload, out, say):
    """Return a workload's files, simulated unless they are there, made by this simulator.

    Parameters
    ----------
    workload : Workload
        What is wanted.
    out : Path
        The bench's folder.
    say : callable
        Told what takes time.
    """
    folder = out / workload.name
    stamp, current = folder / "made-by.json", {**asdict(workload), "simulator": simulator_digest()}
    if not stamp.exists() or json.loads(stamp.read_text()) != current:
        say(f"simulating {workload.name} into {folder}; it is kept for the next time")
        folder.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        for stale in folder.glob("*_uncal.fits"):
            stale.unlink()
        whole_process(_command(workload, folder), environment(folder, 1), out / "simulate.log")
        stamp.write_text(json.dumps(current))
    return Downlink(tuple(sorted(folder.glob("*_uncal.fits"))), folder / "crds_cache")


def simulator_digest():
    """Return a digest of the simulator's sources."""
    total = hashlib.sha256()
    for file in sorted((ROOT / "simulator").rglob("*.py")):
        total.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return total.hexdigest()


def _command(workload, folder):
    values = {
        "out": folder,
        "detectors": "NRCA1",
        "subarray": workload.subarray,
        "ngroups": workload.ngroups,
        "nints": workload.nints,
        "dithers": workload.dithers,
        "dark-groups": workload.dark_groups,
    }
    options = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    return [sys.executable, "-m", "streams.cli", "simulate", "NRC_IMAGE", *options]
