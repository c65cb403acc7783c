"""MIRI's exposures and the references for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels
from typer.testing import CliRunner

from schemas.dq import DQ
from schemas.errors import UsageError
from simulator import midinfrared
from simulator.cli import simulate as app
from simulator.crds_cache import CrdsCache
from simulator.detector import maps
from simulator.downlink import write_downlink
from simulator.geometry import distortion, siaf
from simulator.instruments import detector
from simulator.observation import Request, plan
from simulator.references.build import add_exposure, header_of
from tests.simulator.crds_client import best_references, match_keys

MIRI = {"exp_type": "MIR_IMAGE", "detectors": ("MIRIMAGE",), "filter": "F770W", "pattern": "FASTR1"}
REQUEST = Request(**MIRI, subarray="SUB128", ngroups=5, nints=3, dithers=1, sources=4)
TYPES = ["mask", "saturation", "linearity", "gain", "readnoise", "dark", "reset", "rscd", "emicorr"]
NAME = "jw01234001001_02101_00001_mirimage"


@pytest.fixture(scope="module")
def downlink(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("miri")
    write_downlink(REQUEST, out)
    return out


def test_level_1b_files_are_valid(downlink: Path) -> None:
    with datamodels.Level1bModel(downlink / f"{NAME}_uncal.fits", strict_validation=True) as model:
        model.validate()
        assert model.data.shape == (3, 5, 128, 136)
    header = fits.getheader(downlink / f"{NAME}_uncal.fits")
    wanted = {
        "INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "EXP_TYPE": "MIR_IMAGE", "FILTER": "F770W", "NSAMPLES": 1,
        "SUBARRAY": "SUB128", "SUBSTRT1": 1, "SUBSTRT2": 891, "SUBSIZE1": 136, "SUBSIZE2": 128, "NFRAMES": 1,
        "READPATT": "FASTR1", "FASTAXIS": 1, "SLOWAXIS": 2, "NOUTPUTS": 4, "TFRAME": pytest.approx(0.11904),
    }  # fmt: skip
    assert {key: header[key] for key in wanted} == wanted
    assert not {"PUPIL", "MODULE", "CHANNEL"} & set(header)


@pytest.mark.parametrize(
    ("subarray", "pattern", "seconds"),
    [("FULL", "FASTR1", 2.775), ("FULL", "SLOWR1", 23.890), ("SUB256", "FASTR1", 0.300),
     ("SUB64", "FASTGRPAVG", 0.085)],
)  # fmt: skip
def test_frame_times_are_those_of_the_handbook(subarray: str, pattern: str, seconds: float) -> None:
    assert midinfrared.frame_time(subarray, pattern) == pytest.approx(seconds, abs=6e-4)


def test_pixels_are_on_the_sky_where_the_siaf_puts_them() -> None:
    camera = detector("MIRIMAGE")
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1031, 20), np.linspace(0, 1023, 20)))
    v2, v3 = distortion(camera).to_v2v3(x, y)
    expected = siaf("MIRI").apertures["MIRIM_FULL"].sci_to_tel(x + 1, y + 1)
    assert np.hypot(v2 - expected[0], v3 - expected[1]).max() < 1e-6
    back = distortion(camera).to_pixel(v2, v3)
    assert np.hypot(back[0] - x, back[1] - y).max() < 1e-9


@pytest.mark.parametrize("name", midinfrared.CLOCKS)
def test_rows_that_are_skipped_take_seven_ticks_each(name: str) -> None:
    """The clocks of the list fit the sizes of the windows in the SIAF."""
    (exposure,) = plan(Request(**MIRI, subarray=name, dithers=1))
    row, frame = midinfrared.CLOCKS[name]
    assert exposure.window.ny * row + (1024 - exposure.window.ny) * 7 == frame


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"detectors": ("NRCA1",)}, "MIR_IMAGE is taken with MIRIMAGE, not with NRCA1"),
        ({"detectors": ("MIRIFULONG",)}, "not with MIRIFULONG"),
        ({"filter": "F200W"}, "MIRIMAGE has no filter F200W; choose from F560W"),
        ({"pattern": "RAPID"}, "no read pattern 'RAPID'; choose from FASTR1"),
        ({"pattern": "SLOWR1"}, "MIRI does not read SUB256 in SLOWR1"),
        ({"subarray": "SUB320"}, "no subarray SUB320"),
    ],
)
def test_what_cannot_be_taken_is_said(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(Request(**MIRI | {"subarray": "SUB256"} | changes))


def test_the_crds_client_finds_all_types(downlink: Path) -> None:
    header = header_of(downlink / f"{NAME}_uncal.fits")
    found = best_references(downlink / "crds_cache", match_keys(header), [*TYPES, "superbias", "ipc"])
    assert all(Path(found[reftype]).exists() for reftype in TYPES)
    assert all("N/A" in found[reftype].upper() for reftype in ("superbias", "ipc"))


@pytest.mark.parametrize(
    ("reftype", "model", "shape"),
    [("dark", datamodels.DarkMIRIModel, (2, 5, 128, 136)), ("reset", datamodels.ResetModel, (2, 5, 128, 136)),
     ("gain", datamodels.GainModel, (1024, 1032)), ("saturation", datamodels.SaturationModel, (1024, 1032))],
)  # fmt: skip
def test_references_open_as_what_they_are(downlink: Path, reftype: str, model: type, shape: tuple) -> None:
    path = next((downlink / "crds_cache").rglob(f"jwst_miri_{reftype}_*.*s"))
    with model(path, strict_validation=True) as opened:
        opened.validate()
        assert opened.data.shape == shape


def test_tables_and_waveforms(downlink: Path) -> None:
    cache = downlink / "crds_cache"
    with datamodels.RSCDModel(next(cache.rglob("jwst_miri_rscd_*.fits")), strict_validation=True) as rscd:
        rows = {(r["subarray"].strip(), r["readpatt"].strip()): r for r in rscd.rscd_group_skip_table}
        row = rows["SUB128", "FASTR1"]
        assert (row["group_skip1"], row["group_skip"]) == midinfrared.GROUPS_LEFT_OUT
    with datamodels.EmiModel(next(cache.rglob("jwst_miri_emicorr_*.asdf"))) as emicorr:
        assert emicorr.subarray_cases.SUB128.rowclocks == 44
        assert emicorr.frequencies.Hz406.frequency == midinfrared.FREQUENCY


def test_only_columns_at_both_ends_are_reference_pixels() -> None:
    reference = maps(detector("MIRIMAGE")).reference_pixels
    assert reference.shape == (1024, 1032)
    assert reference[:, :4].all()
    assert reference[:, -4:].all()
    assert not reference[:, 4:-4].any()


def test_without_light_the_ramp_is_pedestal_anomaly_and_dark(downlink: Path) -> None:
    """In the middle groups, which nothing else spoils, means of many pixels agree."""
    data = fits.getdata(downlink / f"{NAME}_uncal.fits").astype(float)
    camera, part = detector("MIRIMAGE"), plan(REQUEST)[0].window
    window = maps(camera).cut(part.slices)
    reset = midinfrared.reset_anomaly(camera, part.slices, 5)
    pixels = window.reference_pixels
    assert abs((data - window.bias)[:, :, pixels].mean()) < 0.5
    dark = (window.dq == 0) & (fits.getdata(downlink / f"truth/{NAME}_truth.fits", "RATE") < 60)
    for i in (1, 2):
        rise = (data[i, 3] - data[i, 2] - reset[1, 3] + reset[1, 2])[dark].mean()
        assert rise == pytest.approx(40 * 0.11904, abs=2.0)
    assert reset[:, 0, dark].mean(axis=1) == pytest.approx([-60, -36], abs=2)


@pytest.mark.parametrize("name", ["MIRIFULONG", "MIRIFUSHORT"])
def test_spectroscopic_detectors_are_served(name: str, tmp_path: Path) -> None:
    header = {
        "INSTRUME": "MIRI", "DETECTOR": name, "SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1,
        "SUBSIZE1": 1032, "SUBSIZE2": 1024, "READPATT": "SLOWR1", "NGROUPS": 2, "EXP_TYPE": "MIR_MRS",
        "DATE-OBS": "2023-01-01", "TIME-OBS": "01:02:03", "CHANNEL": "34", "BAND": "SHORT",
    }  # fmt: skip
    cache = CrdsCache(tmp_path)
    add_exposure(cache, header)
    cache.commit()
    found = best_references(tmp_path, match_keys(header), TYPES)
    assert all(Path(found[reftype]).exists() for reftype in TYPES)
    assert fits.getheader(found["dark"])["DATAMODL"] == "DarkMIRIModel"
    assert not np.any(fits.getdata(found["mask"], "DQ") & int(DQ.RESERVED))


def test_the_commands(downlink: Path, tmp_path: Path) -> None:
    uncal = downlink / f"{NAME}_uncal.fits"
    done = CliRunner().invoke(app, ["references", str(uncal), "--crds", str(tmp_path / "crds")])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "crds").rglob("jwst_miri_*.rmap"))) == len(TYPES)
    few = ["--ngroups", "3", "--dithers", "1", "--subarray", "SUB64", "--sources", "2"]
    done = CliRunner().invoke(app, ["MIR_IMAGE", "--out", str(tmp_path / "sky"), *few])
    assert done.exit_code == 0, done.output
    header = fits.getheader(next((tmp_path / "sky").glob("*_uncal.fits")))
    assert (header["FILTER"], header["READPATT"], header["SUBARRAY"]) == ("F770W", "FASTR1", "SUB64")
