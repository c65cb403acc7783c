"""A real acquisition of a guide star against the peer, under recipe ``baseline``.

Meant differences: errors are divided by the flat field as the rates are; there they are not.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from processors.guider import GUIDER
from processors.recipes import builtin, effective
from processors.registry import STEPS as ALL
from schemas.reading import read
from schemas.references import Window
from simulator.references.build import add_files
from streams.references import ReferenceLibrary
from tests.parity import peer

pytestmark = pytest.mark.peer

RAW = "raw/fgs_acq1_program01019_uncal.fits"
STEPS = {step.name: step for step in GUIDER.steps}
SCRIPT = """
import sys
from jwst.pipeline import GuiderPipeline
GuiderPipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2])
"""


@pytest.fixture(scope="module")
def both(need_peer, tmp_path_factory):
    """Our cal and the peer's, as an open file."""
    data = os.environ.get("CALSTREAM_REAL_DATA")
    if not data:
        pytest.skip("CALSTREAM_REAL_DATA names no folder of real data")
    uncal, folder = Path(data) / RAW, tmp_path_factory.mktemp("guider")
    add_files(folder / "crds", [uncal])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CRDS")}
    environment["CRDS_PATH"] = str(folder / "crds")
    command = [peer.interpreter(), "-c", SCRIPT, str(uncal), str(folder)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with pytest.MonkeyPatch.context() as patched, fits.open(next(folder.glob("*_cal.fits"))) as theirs:
        for name in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
            patched.delenv(name, raising=False)
        patched.setenv("CRDS_PATH", str(folder / "crds"))
        raw = read(uncal)
        keywords = {**raw.meta.science, **raw.meta.primary}
        settings = effective(builtin("baseline"), STEPS, keywords, known=set(ALL) - set(STEPS))
        wanted = sorted({reftype for step in STEPS.values() for reftype in step.wanted})
        window = Window.of(raw.meta.primary, raw.shape[2:])
        references = ReferenceLibrary().references(keywords, wanted, window)
        yield GUIDER(raw, references, settings), theirs, references.image("flat").data


def test_rates_and_flags_are_the_peer_s(both):
    ours, theirs, _ = both
    assert ours.data.shape == theirs["SCI"].data.shape == (6, 128, 128)
    np.testing.assert_allclose(ours.data, theirs["SCI"].data, atol=1e-3, rtol=1e-6)
    np.testing.assert_array_equal(ours.dq, theirs["DQ"].data)
    assert ours.meta.get("BUNIT") == theirs["SCI"].header["BUNIT"]


def test_errors_are_the_peer_s_over_the_flat_field(both):
    ours, theirs, flat = both
    np.testing.assert_allclose(ours.err * flat, theirs["ERR"].data, rtol=1e-5)
