"""Mosaics: variances against Monte Carlo, flux, flags, bad input, files."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from stdatamodels.jwst import datamodels

from processors.drizzling.accumulate import Drizzling, Mosaic
from processors.drizzling.grid import Grid
from processors.image3 import ImageSet, ResampleOptions, resample
from processors.image3.resample import bad_bits, prepare
from schemas.content import content_digest
from schemas.dq import DQ
from schemas.errors import Unprocessable, UsageError
from schemas.products import Rate
from schemas.reading import read
from schemas.writing import write
from tests.processors.image3 import fields

KINDS = {
    "square": {},
    "small drops, fine pixels": {"pixfrac": 0.8, "pixel_scale_ratio": 0.6},
    "exposure time": {"weight_type": "exptime"},
    "turbo": {"kernel": "turbo", "pixfrac": 0.7},
    "gaussian": {"kernel": "gaussian"},
    "lanczos3": {"kernel": "lanczos3"},
}


class Simulation:
    """Mosaics of the same images with other noise, cut to where all images are."""

    def __init__(self, members, **values):
        self.options = ResampleOptions(**values)
        self.first = resample(fields.together(members), options=self.options)
        meta = self.first.meta
        scale = meta.get("CDELT2") * 3600
        grid = Grid(meta.wcs, self.first.data.shape, scale, meta.get("PXSCLRT"))
        self.how = Drizzling(
            kernel=self.options.kernel, pixfrac=self.options.pixfrac, ratio=grid.ratio, fillval=np.nan
        )
        self.images = [prepare(member, grid, self.options, "an image") for member in members]
        deep = np.bitwise_count(self.first.con[0].view(np.uint32)) == len(members)
        y, x = np.nonzero(deep)
        self.core = np.s_[y.min() + 8 : y.max() - 7, x.min() + 8 : x.max() - 7]
        self.err = self.first.err[self.core].astype(float)

    def once(self, rng):
        mosaic = Mosaic(self.first.data.shape, len(self.images), self.how, names=())
        for image in self.images:
            variance = image.variances["var_poisson"] + image.variances["var_rnoise"]
            noise = (rng.normal(size=variance.shape) * np.sqrt(variance)).astype(np.float32)
            mosaic.add(replace(image, data=noise))
        return mosaic.finish()["data"][self.core]

    def stack(self, count, rng):
        return np.stack([self.once(rng) for _ in range(count)])


@pytest.mark.filterwarnings("ignore:Kernel")
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_variances_are_the_scatter(options):
    simulation = Simulation(fields.images((64, 64)), **options)
    ratio = simulation.stack(200, np.random.default_rng(5)).var(axis=0) / simulation.err**2
    assert abs(ratio.mean() - 1) < 0.02
    # The scatter of a variance of 200 values is sqrt(2 / 200), if no pixel's error is wrong.
    assert abs(ratio.std() / np.sqrt(2 / 200) - 1) < 0.15


@pytest.mark.parametrize("options", [{}, {"pixfrac": 0.8, "pixel_scale_ratio": 0.6}], ids=["square", "fine"])
def test_noise_of_apertures_is_as_the_header_says(options):
    """Sums over blocks scatter by what the independent errors add up to times NOISECOR, less at the edges."""
    members = fields.images((96, 96), count=2, var_poisson=(1, 1), var_rnoise=(1, 1))
    simulation = Simulation(members, **options)
    stack, err, mosaic = simulation.stack(60, np.random.default_rng(6)), simulation.err, simulation.first
    size = 16
    ny, nx = (length // size * size for length in err.shape)
    blocks = stack[:, :ny, :nx].reshape(len(stack), ny // size, size, nx // size, size).sum(axis=(2, 4))
    expected = (err[:ny, :nx] ** 2).reshape(ny // size, size, nx // size, size).sum(axis=(1, 3))
    found = np.sqrt((blocks**2 / expected).mean())
    ratio = mosaic.meta.get("NOISECOR")
    assert ratio * (1 - 1.2 / size) < found < ratio * 1.05
    assert mosaic.meta.quality["noise_correlation"] == ratio


def test_interpolated_errors_are_those_of_large_apertures():
    members = fields.images((64, 64), count=2, var_poisson=(1, 1), var_rnoise=(1, 1))
    propagated = resample(fields.together(members))
    interpolated = resample(fields.together(members), variance="interpolated")
    ratio = np.nanmedian(interpolated.err) / np.nanmedian(propagated.err)
    assert_allclose(ratio, propagated.meta.get("NOISECOR"), rtol=0.04)
    assert interpolated.meta.get("NOISECOR") == 1
    assert_array_equal(propagated.data, interpolated.data)


@pytest.mark.parametrize(
    "options", [{}, {"pixfrac": 0.7, "pixel_scale_ratio": 0.8}, {"weight_type": "exptime"}]
)
def test_surface_brightness_is_kept(options):
    members = [replace(image, data=image.data + np.float32(3.5)) for image in fields.images((48, 64))]
    mosaic = resample(fields.together(members), **options)
    assert_allclose(mosaic.data[mosaic.wht > 0], 3.5, rtol=1e-6)


def test_flux_is_kept():
    """Stars are integrated over pixels on the detector; on the mosaic all their light is still there."""
    base = fields.images((96, 96), var_rnoise=(1, 1))
    sky = base[0].meta.wcs(np.array([35.3, 60.8]), np.array([40.2, 55.6]))
    flux = np.array([2e-6, 5e-7])
    mosaic = resample(fields.together([fields.with_stars(image, sky, flux) for image in base]))
    total = np.nansum(mosaic.data, dtype=float) * 1e6 * mosaic.meta.get("PIXAR_SR")
    assert_allclose(total, flux.sum(), rtol=1e-3)


def test_stars_are_where_they_are():
    base = fields.images((96, 96), var_rnoise=(1, 1))
    sky = base[0].meta.wcs(np.array([45.3]), np.array([49.2]))
    mosaic = resample(fields.together([fields.with_stars(image, sky, [1e-5]) for image in base]))
    data = np.nan_to_num(mosaic.data.astype(float))
    y, x = np.indices(data.shape)
    at = (data * x).sum() / data.sum(), (data * y).sum() / data.sum()
    ra, dec = mosaic.meta.wcs(*at)
    off = np.hypot((ra - sky[0]) * np.cos(np.deg2rad(dec)), dec - sky[1]) * 3.6e6
    assert off.item() < 0.1


def test_nan_and_flags_leave_pixels_out():
    first, second = fields.images((48, 48), count=2)
    bad = replace(first, data=first.data.copy(), dq=first.dq.copy())
    bad.data[20, 20] = np.nan
    bad.data[10:13, 10:13] = np.nan
    bad.data[21, 21] = 1e30
    bad.dq[21, 21] = DQ.DO_NOT_USE
    bad.data[22, 22] = 1e30
    bad.dq[22, 22] = DQ.NON_SCIENCE
    bad.dq[23, 23] = DQ.HOT
    mosaic = resample(fields.together([bad, second]))
    assert np.nanmax(np.abs(mosaic.data)) == 0
    alone, whole = resample(bad), resample(first)
    # Each output pixel sees four input pixels: only the block leaves a hole, where none of the four is left.
    assert 1 <= np.isnan(alone.data[3:-3, 3:-3]).sum() <= 4
    assert 12 <= (alone.wht < whole.wht).sum() <= 4 * 4 + 3 * 4 + 4
    assert_array_equal(np.isnan(alone.data), np.isnan(alone.err))
    assert_array_equal(np.isnan(alone.data), alone.wht == 0)


def test_read_noise_that_is_not_known_weighs_nothing():
    image = fields.images((48, 48), count=1)[0]
    image.var_rnoise[:24] = np.nan
    mosaic = resample(image)
    assert 0.4 < np.isnan(mosaic.data).mean() < 0.6


def test_nothing_usable():
    image = fields.images((48, 48), count=1)[0]
    with pytest.raises(Unprocessable, match=r"nrca1_cal\.fits: none of the pixels of the 1 images is usable"):
        resample(replace(image, data=np.full_like(image.data, np.nan)))


def test_without_wcs():
    image = fields.images((48, 48), count=1)[0]
    with pytest.raises(Unprocessable, match="has no WCS; run assign_wcs"):
        resample(replace(image, meta=replace(image.meta, wcs=None)))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"BUNIT": "DN/s"}, "BUNIT = DN/s where the other images of the set have MJy/sr"),
        ({"PUPIL": "F162M"}, "FILTER = F150W, PUPIL = F162M where .* have F150W, CLEAR"),
        ({"FILTER": "F200W"}, "FILTER = F200W, PUPIL = CLEAR where .* have F150W, CLEAR"),
    ],
)
def test_one_member_of_another_kind_is_named(changed, sentence):
    members = fields.images((16, 16), count=3)
    about = members[1].meta
    about = about.with_science(**changed) if "BUNIT" in changed else about.with_primary(**changed)
    members[1] = replace(members[1], meta=about)
    with pytest.raises(Unprocessable, match=rf"^jw01234001001_02101_00002_nrca1_cal\.fits: {sentence}"):
        fields.together(members)


def test_empty_set():
    with pytest.raises(Unprocessable, match="no images"):
        ImageSet.of([])


def test_cubes_are_not_resampled():
    image = fields.images((48, 48), count=1)[0]
    planes = {name: np.stack([array, array]) for name, array in image.arrays().items() if name != "area"}
    made = resample(Rate(meta=image.meta, **planes))
    assert made.meta.provenance.steps[-1].outcome == "not applicable"


def test_context_of_many_inputs():
    image = fields.images((40, 40), count=1)[0]
    mosaic = resample(fields.together([image] * 35))
    assert mosaic.con.shape[0] == 2
    assert mosaic.con.dtype == np.int32
    middle = mosaic.con[:, 20, 20].view(np.uint32)
    assert_array_equal(middle, [0xFFFFFFFF, 0b111])
    assert mosaic.meta.quality["mean_depth"] == 35


def test_one_input_at_a_time():
    """Nothing of an image is left when the next one is loaded."""
    base = fields.images((48, 48), count=3)
    alive, most = [], []

    def loader(image):
        def load():
            gc.collect()
            most.append(sum(reference() is not None for reference in alive))
            made = replace(image, data=image.data.copy())
            alive.append(weakref.ref(made.data))
            return made

        return load

    resample(ImageSet.of([loader(image) for image in base], headers=[image.meta for image in base]))
    assert len(most) == 4
    assert max(most) == 0


def test_header():
    members = fields.images((48, 48))
    mosaic = resample(fields.together(members), pixfrac=0.9)
    assert mosaic.meta.get("NDRIZ") == 4
    assert mosaic.meta.get("EFFEXPTM") == 400
    assert mosaic.meta.get("XPOSURE") == 400
    assert mosaic.meta.get("PIXFRAC") == 0.9
    assert mosaic.meta.get("RESWHT") == "ivm"
    assert mosaic.meta.get("S_RESAMP") == "COMPLETE"
    assert mosaic.meta.get("BUNIT") == "MJy/sr"
    assert_allclose(mosaic.meta.get("PIXAR_A2"), (mosaic.meta.get("CDELT2") * 3600) ** 2, rtol=1e-12)
    assert [record.step for record in mosaic.meta.provenance.steps] == ["assign_wcs", "photom", "resample"]


def test_s_region_is_not_needed():
    """It is rounded to 1e-9 degrees, so the grid without it is off by a thousandth of a pixel at most."""
    members = fields.images((48, 48))
    bare = [replace(image, meta=image.meta.with_science(S_REGION=None)) for image in members]
    found, expected = resample(fields.together(bare)), resample(fields.together(members))
    assert found.data.shape == expected.data.shape
    assert_allclose(found.meta.get("CRPIX1"), expected.meta.get("CRPIX1"), atol=1e-3)


def test_good_bits():
    assert bad_bits("~DO_NOT_USE+NON_SCIENCE") == DQ.DO_NOT_USE | DQ.NON_SCIENCE
    assert bad_bits("JUMP_DET, 2") == 0xFFFFFFFF & ~(DQ.JUMP_DET | DQ.SATURATED)
    assert bad_bits("0") == 0xFFFFFFFF
    with pytest.raises(UsageError, match="did you mean 'DO_NOT_USE'"):
        bad_bits("~DO_NOT_USED")


def test_options_out_of_bounds():
    image = fields.images((48, 48), count=1)[0]
    for wrong in ({"pixfrac": 1.5}, {"kernel": "round"}, {"fillval": "much"}, {"pixel_scale": 0.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            resample(image, **wrong)


def test_fill_value():
    mosaic = resample(fields.together(fields.images((48, 48))), fillval="-9")
    empty = mosaic.wht == 0
    assert empty.sum() > 10
    assert_array_equal(mosaic.data[empty], -9)
    assert np.isnan(mosaic.err[empty]).all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), single=st.booleans())
def test_inputs_are_left_alone(seed, single):
    rng = np.random.default_rng(seed)
    members = [fields.noisy(image, rng) for image in fields.images((40, 40), count=2, seed=seed)]
    for image in members:
        image.data[rng.random(image.data.shape) < 0.05] = np.nan
        image.dq[...] = rng.choice([0, 1, 4, 512], image.dq.shape)
    before = [content_digest(image) for image in members]
    resample(members[0] if single else fields.together(members))
    assert [content_digest(image) for image in members] == before


def test_file_opens_in_stdatamodels(tmp_path):
    path = tmp_path / "jw01234_c1001_t001_nircam_clear-f150w_i2d.fits"
    mosaic = resample(fields.together(fields.images((48, 48))))
    digest = write(mosaic, path)
    with datamodels.open(path, strict_validation=True) as model:
        assert isinstance(model, datamodels.ImageModel)
        assert_array_equal(model.con, mosaic.con)
        assert_array_equal(model.wht, mosaic.wht)
        assert model.meta.resample.pointings == 4
        assert model.meta.resample.pixel_scale_ratio == 1
        assert model.meta.wcs(5.0, 6.0) == mosaic.meta.wcs(5.0, 6.0)
        assert model.meta.cal_step.resample == "COMPLETE"
    assert content_digest(read(path)) == digest
