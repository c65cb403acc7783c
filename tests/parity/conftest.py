"""Exposures that both we and the peer process, on the same CRDS cache."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.parity import peer

REAL = "raw/jw00793001001_01101_00001_nis_uncal.fits"


@dataclass(frozen=True)
class Exposure:
    """A Level-1b file, the cache that serves it, and what the peer made of it."""

    uncal: Path
    crds: Path
    peer: Path

    @property
    def root(self):
        return self.uncal.name.removesuffix("_uncal.fits")


@pytest.fixture(scope="session")
def need_peer():
    """Skip without the peer; in CI it must be there."""
    if not peer.interpreter():
        message = f"{peer.VARIABLE} names no interpreter that has jwst"
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(message)
        pytest.skip(message)


def simulated(folder, **wanted):
    """Simulate an exposure and a cache for it."""
    from simulator.downlink import write_downlink
    from simulator.observation import Request

    request = Request(**{"detectors": ("NRCA1",)} | wanted, dithers=1, sources=60)
    return write_downlink(request, folder)[0]


def spoil(path, seed=3):
    """Let pixels saturate from some group on, some already within the group before, and some read 0."""
    from astropy.io import fits

    rng = np.random.default_rng(seed)
    with fits.open(path, mode="update") as hdus:
        raw = hdus["SCI"].data.astype("i8")
        nint, ngroup, ny, nx = raw.shape
        for _ in range(300):
            i, y, x = rng.integers(nint), rng.integers(4, ny - 4), rng.integers(4, nx - 4)
            g = rng.integers(1, ngroup)
            raw[i, g:, y, x] = 65535
            if rng.random() < 0.5:
                raw[i, g - 1, y, x] = rng.integers(raw[i, g - 1, y, x], 65536)
        for _ in range(50):
            raw[rng.integers(nint), rng.integers(ngroup), rng.integers(ny), rng.integers(nx)] = 0
        hdus["SCI"].data = raw.clip(0, 65535).astype("u2")


def with_zero_frame(path):
    """Give a file of single-frame groups the zero frame that it would have: its first group."""
    from astropy.io import fits

    with fits.open(path, mode="update") as hdus:
        hdus[0].header["ZEROFRAM"] = True
        hdus.append(fits.ImageHDU(hdus["SCI"].data[:, 0].astype("u2"), name="ZEROFRAME"))


def real(folder):
    """Return the real file, and make a cache for it; None where there is none."""
    from simulator.references.build import add_files

    data = os.environ.get("CALSTREAM_REAL_DATA")
    if not data:
        return None
    uncal = Path(data) / REAL
    add_files(folder / "crds_cache", [uncal])
    return uncal


MIRI = {"exp_type": "MIR_IMAGE", "detectors": ("MIRIMAGE",), "filter": "F770W", "pattern": "FASTR1"}
CASES = {
    "subarray": {"subarray": "SUB320", "pattern": "RAPID", "ngroups": 6, "nints": 3, "seed": 5},
    "averaged": {"subarray": "SUB160", "pattern": "SHALLOW4", "ngroups": 5, "nints": 2, "seed": 6},
    "full": {"subarray": "FULL", "pattern": "BRIGHT2", "ngroups": 4, "nints": 1, "seed": 7},
    "miri": MIRI | {"subarray": "SUB256", "ngroups": 6, "nints": 2, "seed": 8},
    "miri_short": MIRI | {"subarray": "SUB128", "ngroups": 4, "nints": 2, "seed": 9},
    "miri_full": MIRI | {"subarray": "FULL", "ngroups": 5, "nints": 1, "seed": 10},
    "real": None,
}


@pytest.fixture(scope="session")
def exposures(need_peer, tmp_path_factory):
    """Each exposure by its case, with the peer's products in one folder."""
    root = tmp_path_factory.mktemp("exposures")
    uncals = {}
    for number, (case, wanted) in enumerate(CASES.items(), 1):
        folder = root / case
        uncal = simulated(folder, observation=f"{number:03d}", **wanted) if wanted else real(folder)
        if wanted:
            spoil(uncal)
        if case == "subarray":
            with_zero_frame(uncal)
        if uncal:
            uncals[case] = uncal
    caches = {case: root / case / "crds_cache" for case in uncals}
    made = peer.run({uncals[case]: crds for case, crds in caches.items()}, root / "peer")
    return {case: Exposure(uncal, caches[case], made) for case, uncal in uncals.items()}


@pytest.fixture(scope="session", params=CASES)
def exposure(request, exposures):
    """Each exposure with the peer's products; made once."""
    if request.param not in exposures:
        pytest.skip("CALSTREAM_REAL_DATA names no folder of real data")
    return exposures[request.param]
