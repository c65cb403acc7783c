"""Reference files: images cut to a window, flags translated, groups read one by one."""

import numpy as np
import pytest
from astropy.io import fits

from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.reference_files import load
from schemas.references import Window

FULL = Window(0, 0, 10, 8)
PART = Window(3, 2, 4, 5)


def write(path, definitions=(), primary=None, **images):
    hdus = [fits.PrimaryHDU(header=fits.Header(primary or {}))]
    hdus += [fits.ImageHDU(array, name=name) for name, array in images.items()]
    if definitions:
        rows = np.array(
            [(bit, 1 << bit, name) for bit, name in definitions],
            dtype=[("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40")],
        )
        hdus.append(fits.BinTableHDU(rows, name="DQ_DEF"))
    fits.HDUList(hdus).writeto(path)
    return path


def counted(*shape, dtype="f4"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u2", "i4"])
def test_images_of_any_type_are_cut_to_the_window(tmp_path, dtype):
    values = counted(8, 10, dtype=dtype)
    path = write(tmp_path / "gain.fits", SCI=values)
    for window, cut in ((FULL, np.s_[:, :]), (PART, np.s_[2:7, 3:7]), (Window(0, 6, 10, 2), np.s_[6:, :])):
        got = load(path, "gain", "", window)
        np.testing.assert_array_equal(got.data, values[cut])
        assert got.data.dtype == np.float32
        assert got.data.flags.c_contiguous
        assert got.dq.shape == got.data.shape
        assert not got.dq.any()


def test_all_planes_are_cut(tmp_path):
    values = counted(3, 8, 10)
    path = write(tmp_path / "linearity.fits", COEFFS=values, DQ=np.zeros((8, 10), "u4"))
    np.testing.assert_array_equal(load(path, "linearity", "", PART).data, values[:, 2:7, 3:7])


def test_a_reference_of_a_subarray_begins_at_its_own_corner(tmp_path):
    values = counted(6, 7)
    corner = {"SUBSTRT1": 3, "SUBSTRT2": 2, "SUBSIZE1": 7, "SUBSIZE2": 6}
    path = write(tmp_path / "gain.fits", primary=corner, SCI=values)
    np.testing.assert_array_equal(load(path, "gain", "", PART).data, values[1:6, 1:5])
    with pytest.raises(Unprocessable, match="do not cover"):
        load(path, "gain", "", Window(1, 1, 4, 5))


def test_groups_are_read_one_by_one(tmp_path):
    values, flags = counted(5, 8, 10), np.zeros((1, 1, 8, 10), "u4")
    flags[..., 4, 4] = 1
    path = write(tmp_path / "dark.fits", SCI=values, DQ=flags)
    dark = load(path, "dark", "", PART)
    assert dark.ngroup == 5
    for index in range(5):
        np.testing.assert_array_equal(dark.group(index), values[index, 2:7, 3:7])
    assert dark.dq.sum() == dark.dq[2, 1] == 1


def test_flags_are_translated(tmp_path):
    flags = np.zeros((8, 10), "u4")
    flags[0, 0], flags[1, 1], flags[2, 2], flags[3, 3] = 1, 2, 4, 1 | 2 | 8
    names = [(0, "DO_NOT_USE"), (1, "HOT"), (2, "NOBODY_KNOWS"), (3, "REFERENCE_PIXEL"), (20, "DEAD")]
    dq = load(write(tmp_path / "mask.fits", names, DQ=flags), "mask", "", FULL).dq
    assert dq[0, 0] == DQ.DO_NOT_USE
    assert dq[1, 1] == DQ.HOT
    assert dq[2, 2] == 0
    assert dq[3, 3] == DQ.DO_NOT_USE | DQ.HOT | DQ.REFERENCE_PIXEL
    assert np.count_nonzero(dq) == 3


def test_flags_without_definitions_are_the_standard_ones(tmp_path):
    flags = np.zeros((8, 10), "u4")
    flags[5, 5] = DQ.REFERENCE_PIXEL
    dq = load(write(tmp_path / "mask.fits", DQ=flags), "mask", "", FULL).dq
    assert dq[5, 5] == DQ.REFERENCE_PIXEL
    assert np.count_nonzero(dq) == 1


def test_flags_that_are_numbers_with_fractions_are_refused(tmp_path):
    path = write(tmp_path / "mask.fits", DQ=np.zeros((8, 10), "f4"))
    with pytest.raises(Unprocessable, match=r"mask\.fits: extension DQ: .* floating-point"):
        load(path, "mask", "", FULL)
