"""Our files open in stdatamodels under strict validation, and its files open here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels import dqflags

from schemas.content import content_digest
from schemas.dq import DQ
from schemas.keywords import DATAMODEL_PATH
from schemas.products import Product, Ramp, Rate, Resampled, Segmentation
from schemas.reading import read, read_ramp
from schemas.stored_content import digest_of_path
from schemas.writing import write
from tests.schemas import sample_products as sample

MODELS = {
    "ramp": datamodels.RampModel,
    "image": datamodels.ImageModel,
    "cube": datamodels.CubeModel,
    "resampled": datamodels.ImageModel,
    "segmentation": datamodels.SegmentationMapModel,
}
X, Y = np.array([0.0, 3.5, 8.0]), np.array([1.0, 2.5, 5.0])


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


@pytest.mark.parametrize("layout", sample.LAYOUTS)
def test_ours_in_theirs(layout: str, tmp_path: Path) -> None:
    product = sample.make(layout, wcs=sample.sky_wcs())
    path = tmp_path / "x.fits"
    write(product, path)
    with datamodels.open(path, strict_validation=True) as guessed:
        assert type(guessed) is MODELS[layout]
    with MODELS[layout](path, strict_validation=True) as model:
        model.validate()
        _same_arrays(product, model)
        assert model.meta.instrument.filter == "F200W"
        assert model.meta.filename == "x.fits"
        assert model.meta.model_type == MODELS[layout].__name__
        if layout != "segmentation":
            assert model.meta.wcs(3.5, 2.5) == pytest.approx(sample.sky_wcs()(3.5, 2.5), abs=1e-12)
            assert model.meta.wcsinfo.roll_ref == 12.25
        if layout in ("ramp", "cube"):
            assert list(model.int_times["integration_number"]) == [1, 2, 3]


OURS = {"chisq", "dof", "probability", "pedestal", "ndiff", "worst", "worst_group"}
"""Arrays that JWST's products do not have."""


def _same_arrays(product: Product, model: Any) -> None:
    for name, array in product.arrays().items():
        if name in OURS:
            continue
        np.testing.assert_array_equal(getattr(model, name), array, err_msg=name)


def _fill(model: Any, shape: tuple[int, ...]) -> None:
    model.meta.instrument.name = "NIRCAM"
    model.meta.instrument.detector = "NRCA1"
    model.meta.exposure.type = "NRC_IMAGE"
    model.meta.subarray.xsize, model.meta.subarray.ysize = shape[-1], shape[-2]
    model.meta.bunit_data = "DN/s"


def test_their_raw_exposure_in_ours(tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(0, 65536, (2, 3, 5, 7)).astype("u2")
    model = datamodels.Level1bModel()
    model.data = counts
    _fill(model, counts.shape)
    model.meta.exposure.ngroups, model.meta.exposure.nints = 3, 2
    model.group = np.zeros(6, model.get_dtype("group"))
    model.group["group_number"] = [1, 2, 3, 1, 2, 3]
    model.group["group_end_time"] = "2026-01-02T03:04:05"
    model.save(tmp_path / "x_uncal.fits")
    ramp = read_ramp(tmp_path / "x_uncal.fits")
    assert ramp.data.dtype == np.float32
    np.testing.assert_array_equal(ramp.data, counts)
    assert not ramp.groupdq.any()
    assert ramp.pixeldq.shape == (5, 7)
    assert ramp.meta.require("INSTRUME") == "NIRCAM"
    assert list(ramp.meta.tables["GROUP"]["group_number"]) == [1, 2, 3, 1, 2, 3]
    assert set(ramp.meta.tables["GROUP"]["group_end_time"]) == {"2026-01-02T03:04:05"}


def test_their_ramp_in_ours(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    model = datamodels.RampModel((2, 3, 5, 7))
    model.data = random.normal(size=(2, 3, 5, 7)).astype("f4")
    model.groupdq = random.integers(0, 255, (2, 3, 5, 7)).astype("u1")
    model.pixeldq = random.integers(0, 2**32 - 1, (5, 7)).astype("u4")
    _fill(model, (5, 7))
    model.save(tmp_path / "x_ramp.fits")
    _same_arrays(_without(read(tmp_path / "x_ramp.fits"), Ramp), model)


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7)])
def test_their_rate_in_ours(shape: tuple[int, ...], tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    model = (datamodels.ImageModel if len(shape) == 2 else datamodels.CubeModel)(shape)
    for name in ("data", "err", "var_poisson", "var_rnoise", "var_flat"):
        setattr(model, name, random.normal(size=shape).astype("f4"))
    model.dq = random.integers(0, 2**32 - 1, shape).astype("u4")
    _fill(model, shape)
    model.meta.wcs = sample.sky_wcs()
    path = tmp_path / "x.fits"
    model.save(path)
    rate = read(path)
    _same_arrays(_without(rate, Rate), model)
    np.testing.assert_array_equal(rate.meta.wcs(X, Y), sample.sky_wcs()(X, Y))
    assert content_digest(rate) == digest_of_path(path) == write(rate, tmp_path / "again.fits")


def test_their_mosaic_and_segmentation_in_ours(tmp_path: Path) -> None:
    shape = (5, 7)
    model = datamodels.ImageModel(shape)
    for name in ("data", "err", "wht", "var_poisson", "var_rnoise", "var_flat"):
        setattr(model, name, np.random.default_rng(4).normal(size=shape).astype("f4"))
    model.con = np.arange(70, dtype="i4").reshape(2, *shape)
    _fill(model, (2048, 2048))
    model.save(tmp_path / "x_i2d.fits")
    mosaic = read(tmp_path / "x_i2d.fits")
    assert isinstance(mosaic, Resampled)
    _same_arrays(mosaic, model)
    labels = datamodels.SegmentationMapModel(np.arange(35, dtype="u4").reshape(shape))
    labels.save(tmp_path / "labels.fits")
    found = read(tmp_path / "labels.fits")
    assert isinstance(found, Segmentation)
    np.testing.assert_array_equal(found.data, labels.data)


def test_our_file_saved_by_theirs_is_still_the_same_content(tmp_path: Path) -> None:
    product = sample.make("image", wcs=sample.sky_wcs())
    content = write(product, tmp_path / "x.fits")
    with datamodels.ImageModel(tmp_path / "x.fits") as model:
        model.save(tmp_path / "y.fits")
    again = read(tmp_path / "y.fits")
    assert content_digest(again) == digest_of_path(tmp_path / "y.fits")
    for name in ("data", "err", "dq", "var_poisson", "var_rnoise", "var_flat", "area"):
        np.testing.assert_array_equal(getattr(again, name), getattr(product, name))
    np.testing.assert_array_equal(again.meta.wcs(X, Y), product.meta.wcs(X, Y))
    assert again.meta.provenance.steps == product.meta.provenance.steps
    assert again.meta.provenance.run == product.meta.provenance.run
    assert content_digest(product) == content


def _without(product: Product, kind: type) -> Product:
    assert isinstance(product, kind)
    return product


def test_bits_are_those_of_jwst() -> None:
    """Values as in the table "Data quality flags" of the pipeline's documentation."""
    table = {
        "DO_NOT_USE": 1, "SATURATED": 2, "JUMP_DET": 4, "DROPOUT": 8, "OUTLIER": 16, "PERSISTENCE": 32,
        "AD_FLOOR": 64, "CHARGELOSS": 128, "NON_SCIENCE": 512, "DEAD": 1024, "HOT": 2048, "WARM": 4096,
        "LOW_QE": 8192, "RC": 16384, "TELEGRAPH": 32768, "NONLINEAR": 65536, "BAD_REF_PIXEL": 131072,
        "NO_FLAT_FIELD": 262144, "NO_GAIN_VALUE": 524288, "NO_LIN_CORR": 1048576, "NO_SAT_CHECK": 2097152,
        "UNRELIABLE_BIAS": 4194304, "UNRELIABLE_DARK": 8388608, "UNRELIABLE_SLOPE": 16777216,
        "UNRELIABLE_FLAT": 33554432, "OPEN": 67108864, "ADJ_OPEN": 134217728, "FLUX_ESTIMATED": 268435456,
        "MSA_FAILED_OPEN": 536870912, "OTHER_BAD_PIXEL": 1073741824, "REFERENCE_PIXEL": 2147483648,
    }  # fmt: skip
    assert {name: int(DQ[name]) for name in table} == table
    assert {name: dqflags.pixel[name] for name in table} == table


def test_keywords_are_where_crds_looks_for_them() -> None:
    places: dict[str, set[str]] = {}
    for model in (datamodels.RampModel(), datamodels.ImageModel()):
        for keyword in DATAMODEL_PATH:
            places.setdefault(keyword, set()).update(p.upper() for p in model.find_fits_keyword(keyword))
    assert {k: p in places[k] for k, p in DATAMODEL_PATH.items()} == dict.fromkeys(DATAMODEL_PATH, True)


def _real(name: str) -> Path:
    folder = os.environ.get("CALSTREAM_REAL_DATA")
    if not folder:
        pytest.skip("CALSTREAM_REAL_DATA is not set: no real files to read")
    return Path(folder) / "raw" / name


def test_real_exposure_of_mirage() -> None:
    ramp = read_ramp(_real("jw00793001001_01101_00001_nis_uncal.fits"))
    assert ramp.shape == (5, 6, 80, 80)
    assert ramp.zeroframe is not None
    np.testing.assert_array_equal(ramp.zeroframe, ramp.data[:, 0])
    signal = ramp.data[0, -1] - ramp.data[0, 0]
    assert 2000 < signal[40, 45] < 2600
    group = ramp.meta.tables["GROUP"]
    assert len(group) == 30
    assert list(group["group_number"][:7]) == [1, 2, 3, 4, 5, 6, 1]
    assert ramp.meta.require("DETECTOR") == "NIS"


def test_real_guider_exposure() -> None:
    ramp = read_ramp(_real("fgs_acq1_program01019_uncal.fits"))
    assert ramp.shape == (6, 2, 128, 128)
    difference = ramp.data[:, 1] - ramp.data[:, 0]
    for integration, (y, x) in enumerate([(97, 65)] * 3 + [(93, 62)] * 3):
        assert np.unravel_index(difference[integration].argmax(), (128, 128)) == (y, x)
        assert 39595 <= difference[integration, y, x] <= 41266
    assert ramp.meta.require("EXP_TYPE") == "FGS_ACQ1"
    assert ramp.data.min() >= 0


@pytest.mark.parametrize(
    "name", ["jw00793001001_01101_00001_nis_uncal.fits", "fgs_acq1_program01019_uncal.fits"]
)
def test_real_exposure_goes_through_our_file(name: str, tmp_path: Path) -> None:
    ramp = read_ramp(_real(name))
    content = write(ramp, tmp_path / "x_ramp.fits")
    again = read_ramp(tmp_path / "x_ramp.fits")
    assert content == content_digest(ramp) == content_digest(again)
    np.testing.assert_array_equal(again.data, ramp.data)
