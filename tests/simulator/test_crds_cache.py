from __future__ import annotations

import ast
import hashlib
import os
import shutil
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from schemas.errors import Unprocessable
from simulator.crds_cache import KEYS, CrdsCache
from simulator.observation import plan
from simulator.references.build import add_exposure, add_files, header_of
from tests.simulator.conftest import REQUEST
from tests.simulator.crds_client import best_references, match_keys

RAW = Path(__file__).parents[2].parent / "shared/data/raw"
NIRISS = RAW / "jw00793001001_01101_00001_nis_uncal.fits"
STAGE1 = ["mask", "saturation", "superbias", "linearity", "gain", "readnoise", "dark"]

NEAR_INFRARED = [reftype for reftype in KEYS if reftype not in ("reset", "rscd", "emicorr")]
"""What a camera other than MIRI's needs up to a catalogue."""


@pytest.fixture(scope="module")
def niriss_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not NIRISS.exists():
        pytest.skip("needs the shared data")
    root = tmp_path_factory.mktemp("niriss")
    add_files(root, [NIRISS])
    return root


@pytest.fixture
def niriss(niriss_cache: Path, tmp_path: Path) -> Path:
    """A cache for the NIRISS exposure, to be changed: written files never are, so links to them do."""
    shutil.copytree(niriss_cache, tmp_path / "cache", copy_function=os.link)
    return tmp_path / "cache"


def exposure_header(**changes: object) -> dict[str, object]:
    header: dict[str, object] = {
        "INSTRUME": "NIRSPEC",
        "DETECTOR": "NRS1",
        "SUBARRAY": "SUBS200A1",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1057,
        "SUBSIZE1": 2048,
        "SUBSIZE2": 64,
        "READPATT": "NRSRAPID",
        "NGROUPS": 3,
        "NFRAMES": 1,
        "GROUPGAP": 0,
        "TFRAME": 1.56,
        "FILTER": "F100LP",
        "GRATING": "G140H",
        "EXP_TYPE": "NRS_FIXEDSLIT",
        "DATE-OBS": "2023-01-01",
        "TIME-OBS": "00:00:00",
    }
    return header | changes


def test_client_reads_it_with_crds_path_alone(downlink: Path) -> None:
    header = match_keys(fits.getheader(next(downlink.glob("*nrca1_uncal.fits"))))
    found = best_references(
        downlink / "crds_cache", header, [*NEAR_INFRARED, "ipc", "persat", "pars-jumpstep"]
    )
    for reftype in NEAR_INFRARED:
        assert Path(found[reftype]).exists(), reftype
    for absent in ("ipc", "persat", "pars-jumpstep"):
        assert "N/A" in found[absent].upper()


def test_detectors_have_references_of_their_own(downlink: Path) -> None:
    gains = set()
    for path in downlink.glob("*00001_nrca?_uncal.fits"):
        found = best_references(downlink / "crds_cache", match_keys(fits.getheader(path)), ["gain"])
        with datamodels.GainModel(found["gain"]) as model:
            assert model.meta.instrument.detector == fits.getval(path, "DETECTOR")
        gains.add(found["gain"])
    assert len(gains) == 2


def test_unknown_detector_is_an_error_of_the_client(downlink: Path) -> None:
    header = match_keys(fits.getheader(next(downlink.glob("*nrca1_uncal.fits"))))
    header["META.INSTRUMENT.DETECTOR"] = "NRCB2"
    assert "CrdsLookupError" in best_references(downlink / "crds_cache", header, ["gain"])["error"]


def test_a_mapping_carries_its_own_checksum(downlink: Path) -> None:
    for path in (downlink / "crds_cache/mappings/jwst").iterdir():
        text = path.read_text()
        kept = "".join(line for line in text.splitlines(keepends=True) if "sha1sum" not in line)
        header = ast.literal_eval(text[len("header = ") : text.index("}\n") + 1])
        assert header["sha1sum"] == hashlib.sha1(kept.encode()).hexdigest()
        assert header["name"] == path.name


def test_merging_keeps_what_was_there(niriss: Path) -> None:
    first = f"jwst_{CrdsCache(niriss)._serial:04d}.pmap"
    cache = CrdsCache(niriss)
    add_exposure(cache, exposure_header())
    second = cache.commit()
    assert second != first
    old = best_references(
        niriss, match_keys(fits.getheader(NIRISS)), [*STAGE1, "distortion", "photom", "flat"]
    )
    assert all(Path(path).exists() for path in old.values())
    new = best_references(niriss, match_keys(exposure_header()), STAGE1)
    assert all("nirspec" in path for path in new.values())
    assert add_files(niriss, [NIRISS]) == second, "nothing was missing, so nothing may change"


def test_longer_exposure_gets_a_longer_dark_and_keeps_the_rest(niriss: Path) -> None:
    header = match_keys(fits.getheader(NIRISS))
    before = best_references(niriss, header, ["dark", "gain", "apcorr"])
    add_files(niriss, [NIRISS], dark_groups=9)
    after = best_references(niriss, header, ["dark", "gain", "apcorr"])
    assert fits.getdata(before["dark"], "SCI").shape == (6, 80, 80)
    assert fits.getdata(after["dark"], "SCI").shape == (9, 80, 80)
    assert {after[t] == before[t] for t in ("gain", "apcorr")} == {True}


def test_another_filter_extends_the_tables(niriss: Path) -> None:
    cache = CrdsCache(niriss)
    header = header_of(NIRISS) | {"FILTER": "CLEAR", "PUPIL": "F150W"}
    add_exposure(cache, header)
    cache.commit()
    found = best_references(niriss, match_keys(header), ["apcorr", "flat"])
    with datamodels.NisImgApcorrModel(found["apcorr"]) as model:
        assert {(row["filter"], row["pupil"]) for row in model.apcorr_table} == {
            ("F480M", "NRM"),
            ("CLEAR", "F150W"),
        }
    assert fits.getval(found["flat"], "PUPIL") == "F150W"


@pytest.mark.parametrize(
    ("reftype", "model"),
    [
        ("mask", "MaskModel"),
        ("saturation", "SaturationModel"),
        ("superbias", "SuperBiasModel"),
        ("linearity", "LinearityModel"),
        ("gain", "GainModel"),
        ("readnoise", "ReadnoiseModel"),
        ("dark", "DarkModel"),
        ("flat", "FlatModel"),
        ("photom", "NrcImgPhotomModel"),
        ("area", "PixelAreaModel"),
        ("apcorr", "NrcImgApcorrModel"),
        ("distortion", "DistortionModel"),
        ("filteroffset", "FilteroffsetModel"),
        ("abvegaoffset", "ABVegaOffsetModel"),
    ],
)
def test_files_open_in_their_models_with_strict_validation(downlink: Path, reftype: str, model: str) -> None:
    folder = downlink / "crds_cache/references/jwst/nircam"
    path = next(folder.glob(f"jwst_nircam_{reftype}_*"))
    with getattr(datamodels, model)(path, strict_validation=True) as opened:
        opened.validate()
        assert opened.meta.pedigree == "SIMULATION"
        assert opened.meta.author == "CALSTREAM simulator"
        assert opened.meta.useafter
        assert opened.meta.description


def test_reference_pixels_survive_in_the_mask(downlink: Path) -> None:
    path = next((downlink / "crds_cache/references/jwst/nircam").glob("*_mask_*"))
    with datamodels.MaskModel(path) as mask:
        reference = (mask.dq & np.uint32(1 << 31)) != 0
    assert reference.sum() == 2048**2 - 2040**2
    assert not reference[4:-4, 4:-4].any()


def test_filter_offsets_cover_the_filters_of_the_channel(downlink: Path) -> None:
    path = next((downlink / "crds_cache/references/jwst/nircam").glob("*_filteroffset_*"))
    with asdf.open(path) as tree:
        rows = {(row["filter"], row["pupil"]): row for row in tree["filters"]}
    assert {("F115W", "CLEAR"), ("F150W", "CLEAR"), ("F200W", "CLEAR"), ("F150W2", "F162M")} <= rows.keys()
    assert all(abs(row["column_offset"]) < 1 for row in rows.values())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DETECTOR": "NRCX9"}, "no references for detector NRCX9"),
        ({"SUBSTRT1": None}, "lacks SUBSTRT1"),
    ],
)
def test_what_it_cannot_serve_is_said(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(Unprocessable, match=sentence):
        add_exposure(CrdsCache(tmp_path), exposure_header(**changes))


def test_irs2_readouts_have_references_of_their_own(tmp_path: Path) -> None:
    full = {"SUBARRAY": "FULL", "SUBSTRT2": 1, "SUBSIZE2": 2048, "NGROUPS": 2}
    headers = {name: exposure_header(READPATT=name, **full) for name in ("NRSRAPID", "NRSIRS2RAPID")}
    cache = CrdsCache(tmp_path)
    for header in headers.values():
        add_exposure(cache, header)
    cache.commit()
    found = {n: best_references(tmp_path, match_keys(h), [*STAGE1, "refpix"]) for n, h in headers.items()}
    plain, interleaved = found["NRSRAPID"], found["NRSIRS2RAPID"]
    assert "N/A" in plain["refpix"].upper()
    assert interleaved["gain"] == plain["gain"]
    assert fits.getdata(plain["mask"], "DQ").shape == (2048, 2048)
    for reftype, name in (("mask", "DQ"), ("superbias", "SCI")):
        assert fits.getdata(interleaved[reftype], name).shape == (3200, 2048)
        assert fits.getval(interleaved[reftype], "SUBSIZE2") == 2048
    with datamodels.IRS2Model(interleaved["refpix"]) as model:
        assert len(model.irs2_table) == 2 * 712 * 2048
        assert model.dq_table["MASK"].tolist().count(0) == 7


def test_a_broken_mapping_is_said(tmp_path: Path) -> None:
    cache = CrdsCache(tmp_path)
    add_exposure(cache, exposure_header())
    context = cache.commit()
    (tmp_path / "mappings/jwst" / context).write_text("not a mapping (")
    with pytest.raises(Unprocessable, match="no CRDS mapping"):
        CrdsCache(tmp_path)


def test_dark_is_cut_to_the_subarray(downlink: Path) -> None:
    exposure = plan(REQUEST)[0]
    path = CrdsCache(downlink / "crds_cache").find("NIRCAM", "dark", ("NRCA1", "RAPID", "SUB160"))
    with datamodels.DarkModel(path) as dark:
        assert dark.data.shape == (REQUEST.ngroups, *exposure.window.shape)
        corner = dark.meta.subarray.xstart, dark.meta.subarray.ystart
        assert corner == (exposure.window.xstart, exposure.window.ystart)
        np.testing.assert_allclose(dark.data[1], 2 * dark.data[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("instrument", "name", "types"),
    [("FGS", "GUIDER1", NEAR_INFRARED), ("FGS", "GUIDER2", NEAR_INFRARED), ("NIRSPEC", "NRS2", STAGE1)],
)
def test_other_near_infrared_detectors(tmp_path: Path, instrument: str, name: str, types: list[str]) -> None:
    cache = CrdsCache(tmp_path)
    header = exposure_header(INSTRUME=instrument, DETECTOR=name, FILTER=None)
    add_exposure(cache, header)
    cache.commit()
    for reftype in types:
        (file,) = cache.rules[instrument][reftype].values()
        with datamodels.open(tmp_path / "references/jwst" / instrument.lower() / file) as model:
            assert model.meta.instrument.name == instrument
            model.validate()


def test_flat_field_keeps_reference_pixels_out_of_images(downlink: Path) -> None:
    path = CrdsCache(downlink / "crds_cache").find("NIRCAM", "flat", ("NRCA1", "F200W", "CLEAR"))
    with datamodels.FlatModel(path) as flat:
        bad = (flat.dq & 1) != 0
        assert bad[:4].all()
        assert bad[:, -4:].all()
        assert not bad[4:-4, 4:-4].any()
        assert np.isfinite(flat.data).all()


def test_a_cache_can_be_extended_again_and_again(tmp_path: Path) -> None:
    for number in range(1, 4):
        cache = CrdsCache(tmp_path)
        path = cache.new_path("NIRCAM", "gain", "fits")
        path.write_text(f"{number}")
        cache.add("NIRCAM", "gain", (f"NRCA{number}",), path)
        cache.commit()
    for number in range(1, 4):
        found = CrdsCache(tmp_path).find("NIRCAM", "gain", (f"NRCA{number}",))
        assert found is not None
        assert found.read_text() == f"{number}"
