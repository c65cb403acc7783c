"""Flags of persistence beside the peer's, which leaves the step out unless told, and which subtracts nothing.

The peer hands on what it knows of the exposures before in a file that one process after another rewrites;
here it comes as histories. The peer's file holds when the flags of a pixel end, so both say the same where
the history notes what the peer's step saw in the exposure before: all that saturated. Here a group ends with
its last read, there with the frames that are left out behind it: RAPID leaves none.

| what | agreement |
| --- | --- |
| GROUPDQ of an exposure alone, by saturation and by a threshold | all samples |
| GROUPDQ of the exposure after it | all samples of pixels that are not DO_NOT_USE |
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from processors.detector1 import detector1_of, persistence_history
from processors.ramp_fit import persistence
from schemas.dq import DQ
from schemas.reading import read
from schemas.writing import write
from simulator.downlink import write_downlink
from simulator.observation import Request
from streams.references import references_for
from tests.parity import peer
from tests.processors.chains import served

pytestmark = pytest.mark.peer

TIME, THRESHOLD = 85, 8000.0
REQUEST = Request(
    detectors=("NRCALONG",), filter="F277W", subarray="SUB320", pattern="RAPID", ngroups=10, nints=2,
    dithers=2, seed=34,
)  # fmt: skip
SCRIPT = f"""
import sys
from jwst.persistence import PersistenceStep

if __name__ == "__main__":
    first, second, out = sys.argv[1:]
    common = dict(skip=False, persistence_time={TIME})
    PersistenceStep.call(first, dn_threshold={THRESHOLD}, **common).save(f"{{out}}/alone.fits")
    PersistenceStep.call(first, save_persistence=f"{{out}}/known.asdf", **common)
    PersistenceStep.call(second, persistence_array_file=f"{{out}}/known.asdf", **common).save(
        f"{{out}}/after.fits"
    )
"""


@pytest.fixture(scope="module")
def both(need_peer, tmp_path_factory):
    """Two ramps, and the folder with what the peer makes of them."""
    folder = tmp_path_factory.mktemp("persistence")
    ramps, paths = [], []
    uncals = sorted(write_downlink(REQUEST, folder))
    with served(folder):
        for uncal in uncals:
            raw = read(uncal)
            ramps.append(detector1_of(raw.meta.primary)(raw, references_for(raw)))
            paths.append(folder / uncal.name.replace("uncal", "ramp"))
            write(ramps[-1], paths[-1])
    keep = {key: value for key, value in os.environ.items() if not key.startswith("CRDS")}
    command = [peer.interpreter(), "-c", SCRIPT, *map(str, paths), str(folder)]
    environment = keep | {"CRDS_PATH": str(folder / "crds_cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return ramps, folder


def test_an_exposure_alone_has_the_same_flags(both):
    (first, _), folder = both
    ours = persistence(first, flag_own=True, persistence_time=TIME, dn_threshold=THRESHOLD)
    theirs = fits.getdata(folder / "alone.fits", "GROUPDQ")
    flagged = (theirs & DQ.PERSISTENCE) != 0
    assert 100 < flagged.sum() < 0.1 * flagged.size
    np.testing.assert_array_equal(ours.groupdq, theirs)


def test_the_exposure_after_it_has_the_same_flags(both):
    (first, second), folder = both
    history = persistence_history(first, dn_threshold=1e9)
    assert history.pixels["saturated"].all()
    known = replace(second, histories=(history,))
    ours = persistence(known, flag_own=True, persistence_time=TIME, subtract=False)
    theirs = fits.getdata(folder / "after.fits", "GROUPDQ")
    good = (first.pixeldq & np.uint32(DQ.DO_NOT_USE)) == 0  # of others no history is kept here
    assert ((theirs & DQ.PERSISTENCE) != 0)[:, :, good].sum() > 100
    np.testing.assert_array_equal(ours.groupdq[:, :, good], theirs[:, :, good])
