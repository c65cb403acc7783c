"""The unmodified peer from raw exposures to mosaic and catalogue on a simulated cache, beside truth and us.

Nothing but CRDS_PATH is said to it: no context, no overrides. Its tweakreg is skipped: the simulated pointing
is exact, and from the few stars of so small a field it would shift the dithers by some 10 mas. For the
comparison of mosaics with ours, so are the steps of Image3 that we do not have.

| what | tolerance | measured |
| --- | --- | --- |
| isolated stars' fluxes, both, against truth | 2 % in the median | 0.15 % |
| their positions, both, against truth | 1 mas in the median | 0.4 mas |
| rate, rateints, cal: DQ | the same | the same |
| rate, rateints, cal: data | 1e-4 sigma | 4e-5 sigma |
| i2d: data | 1e-3 sigma | 6e-5 sigma |
| errors | 1e-5 relative | 3e-7 |
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable

from simulator.downlink import write_downlink
from simulator.observation import Request
from streams.run.driver import RunRequest, run
from tests.parity import peer

pytestmark = pytest.mark.peer

SCRIPT = """
import json, os, sys
from jwst.associations import asn_from_list
from jwst.associations.lib.rules_level3_base import DMS_Level3_Base
from jwst.pipeline import Detector1Pipeline, Image2Pipeline, Image3Pipeline

if __name__ == "__main__":
    out, *uncals = sys.argv[1:]
    cals = []
    for uncal in uncals:
        Detector1Pipeline.call(uncal, save_results=True, output_dir=out)
        rate = os.path.join(out, os.path.basename(uncal).replace("_uncal", "_rate"))
        Image2Pipeline.call(rate, save_results=True, output_dir=out)
        cals.append(os.path.basename(rate).replace("_rate", "_cal"))
    skipped = {"mosaic": ["tweakreg"]}
    skipped["plain"] = ["tweakreg", "skymatch", "outlier_detection", "source_catalog"]
    for name, steps in skipped.items():
        association = asn_from_list.asn_from_list(cals, rule=DMS_Level3_Base, product_name=name)
        path = os.path.join(out, name + "_asn.json")
        with open(path, "w") as file:
            file.write(association.dump()[1])
        how = {step: {"skip": True} for step in steps}
        Image3Pipeline.call(path, save_results=True, output_dir=out, steps=how)
"""


@dataclass(frozen=True)
class Both:
    """Folders with the truth, the peer's products and ours."""

    truth: Path
    theirs: Path
    ours: Path
    roots: tuple[str, ...]

    def pair(self, root, suffix):
        return (fits.open(folder / f"{root}_{suffix}.fits") for folder in (self.ours, self.theirs))

    @property
    def mosaic(self):
        (path,) = self.ours.glob("jw01234-o001_*_i2d.fits")
        return path


@pytest.fixture(scope="module")
def both(need_peer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("end_to_end")
    request = Request(detectors=("NRCA1", "NRCA3"), subarray="SUB160", ngroups=5, nints=2, dithers=2, seed=3)
    uncals = write_downlink(request, folder)
    made = Both(folder / "truth", folder / "theirs", folder / "ours",
                tuple(path.name.removesuffix("_uncal.fits") for path in uncals))  # fmt: skip
    made.theirs.mkdir()
    script = folder / "pipelines.py"
    script.write_text(SCRIPT)
    keep = {key: value for key, value in os.environ.items() if not key.startswith("CRDS")}
    done = subprocess.run(
        [peer.interpreter(), str(script), str(made.theirs), *map(str, uncals)],
        env={**keep, "CRDS_PATH": str(folder / "crds_cache")},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CRDS_PATH", str(folder / "crds_cache"))
        for variable in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
            environment.delenv(variable, raising=False)
        summary = run(RunRequest(paths=[str(folder)], out=made.ours, recipe="baseline"))
    assert not summary.failed, summary.endings
    return made


@pytest.fixture(params=["theirs", "ours"])
def stars(both, request):
    """Isolated true stars, and what one of the two catalogues says of each."""
    (path,) = getattr(both, request.param).glob("*_cat.ecsv")
    found, truth = QTable.read(path), QTable.read(both.truth / "sources.ecsv")
    index, distance, _ = SkyCoord(truth["ra"], truth["dec"]).match_to_catalog_sky(found["sky_centroid"])
    pairs = truth["isolated"] & (distance.mas < 30) & np.isfinite(found["aper_total_flux"][index])
    assert pairs.sum() >= 10
    return truth[pairs], found[index[pairs]]


def test_fluxes_are_true(stars):
    truth, found = stars
    ratio = (found["aper_total_flux"] / truth["flux"]).to_value("")
    assert np.median(ratio) == pytest.approx(1, abs=0.02)
    assert ratio.std() < 0.03


def test_positions_are_true(stars):
    truth, found = stars
    offsets = SkyCoord(truth["ra"], truth["dec"]).spherical_offsets_to(found["sky_centroid"])
    for offset in offsets:
        assert abs(np.median(offset.mas)) < 1
        assert offset.mas.std() < 2


@pytest.mark.parametrize("suffix", ["rate", "rateints", "cal"])
@pytest.mark.parametrize("index", range(4))
def test_products_of_exposures_agree(both, suffix, index):
    ours, theirs = both.pair(both.roots[index], suffix)
    with ours, theirs:
        np.testing.assert_array_equal(ours["DQ"].data, theirs["DQ"].data)
        good = theirs["DQ"].data & 1 == 0
        assert good.mean() > 0.9
        data, err = theirs["SCI"].data[good], theirs["ERR"].data[good]
        assert np.abs((ours["SCI"].data[good] - data) / err).max() < 1e-4
        np.testing.assert_allclose(ours["ERR"].data[good], err, rtol=1e-5)
        assert ours[0].header["CRDS_CTX"] == theirs[0].header["CRDS_CTX"] == "jwst_0001.pmap"


def test_mosaics_agree(both):
    with fits.open(both.mosaic) as ours, fits.open(both.theirs / "plain_i2d.fits") as theirs:
        data, err = theirs["SCI"].data, theirs["ERR"].data
        np.testing.assert_array_equal(np.isnan(ours["SCI"].data), np.isnan(data))
        assert np.isfinite(data).mean() > 0.5
        assert np.nanmax(np.abs(ours["SCI"].data - data) / err) < 1e-3
        np.testing.assert_allclose(ours["ERR"].data, err, rtol=1e-5)


def test_the_peer_takes_every_step_s_references_from_the_cache(both):
    with fits.open(both.theirs / f"{both.roots[0]}_cal.fits") as cal:
        header = cal[0].header
        named = {key: header[key] for key in header if key.startswith("R_") and "jwst_" in str(header[key])}
    cache = both.truth.parent / "crds_cache/references/jwst/nircam"
    assert len(named) >= 12
    for value in named.values():
        assert (cache / value.removeprefix("crds://")).is_file(), value


def test_the_peer_reads_our_products(both):
    """Our cal files are members of the peer's own association model."""
    code = (
        "import json, sys; from jwst import datamodels\n"
        "names = {}\n"
        "for path in sys.argv[1:]:\n"
        "    with datamodels.open(path) as model:\n"
        "        names[path] = [type(model).__name__, model.meta.cal_step.photom, model.meta.wcs(5.0, 6.0)]\n"
        "print(json.dumps(names))\n"
    )
    paths = [both.ours / f"{both.roots[0]}_cal.fits", both.theirs / f"{both.roots[0]}_cal.fits"]
    done = subprocess.run(
        [peer.interpreter(), "-W", "ignore", "-c", code, *map(str, paths)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = json.loads(done.stdout.splitlines()[-1]).values()
    assert ours[:2] == theirs[:2] == ["ImageModel", "COMPLETE"]
    np.testing.assert_allclose(ours[2], theirs[2], atol=1e-9)
