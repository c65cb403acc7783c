"""Steps that look at a pixel's neighbours: ipc and charge_migration."""

import numpy as np
import pytest

from processors.detector1 import charge_migration, ipc
from processors.detector1.irs2 import Interleaving
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.reference_files import load
from schemas.references import Window
from tests.processors.detector1.build import image, make_ramp, references

COUPLING = 0.005
KERNEL = np.array([[0, -COUPLING, 0], [-COUPLING, 1 + 4 * COUPLING, -COUPLING], [0, -COUPLING, 0]])
LOST = np.uint8(DQ.CHARGELOSS | DQ.DO_NOT_USE)
NIRISS = {"INSTRUME": "NIRISS", "EXP_TYPE": "NIS_IMAGE"}


def coupled(data):
    """What a detector without edges reads where each pixel gives a share to its four neighbours."""
    out = data * (1 - 4 * COUPLING)
    for axis in (-1, -2):
        for shift in (1, -1):
            out = out + COUPLING * np.roll(data, shift, axis)
    return out


def star(shape=(1, 2, 16, 20)):
    y, x = np.mgrid[: shape[2], : shape[3]]
    light = 10000 * np.exp(-((y - 8) ** 2 + (x - 9) ** 2) / 3)
    return np.broadcast_to(light, shape).copy()


def test_coupling_is_taken_out_to_first_order():
    data = star()
    made = ipc(make_ramp(coupled(data)), references(image("ipc", KERNEL)))
    before = np.abs(coupled(data) - data).max()
    assert before > 50
    assert np.abs(made.data - data).max() < 0.02 * before


def test_a_kernel_of_each_pixel_makes_that_pixel():
    data = star()
    one = ipc(make_ramp(data), references(image("ipc", KERNEL)))
    kernels = np.broadcast_to(KERNEL[:, :, None, None], (3, 3, 16, 20)).astype("f4").copy()
    same = ipc(make_ramp(data), references(image("ipc", kernels)))
    np.testing.assert_array_equal(same.data, one.data)
    kernels[:, :, 8, 9] *= 2
    kernels[1, 1, 3, 3] = np.nan
    made = ipc(make_ramp(data), references(image("ipc", kernels)))
    np.testing.assert_allclose(made.data[..., 8, 9], 2 * one.data[..., 8, 9], rtol=1e-6)
    np.testing.assert_array_equal(made.data[..., 3, 3], np.float32(data[..., 3, 3]))
    other = np.ones((16, 20), bool)
    other[8, 9] = other[3, 3] = False
    np.testing.assert_array_equal(made.data[..., other], one.data[..., other])


def test_a_kernel_that_is_not_symmetric_is_a_convolution():
    data = np.zeros((1, 1, 9, 9))
    data[..., 4, 4] = 1
    kernel = np.arange(9.0).reshape(3, 3)
    made = ipc(make_ramp(data), references(image("ipc", kernel)))
    np.testing.assert_array_equal(made.data[0, 0, 3:6, 3:6], kernel)


def test_reference_pixels_are_left_alone():
    data = star()
    corner = {"SUBSTRT1": 1, "SUBSTRT2": 2049 - 16}
    made = ipc(make_ramp(data, **corner), references(image("ipc", KERNEL)))
    np.testing.assert_array_equal(made.data[..., :, :4], np.float32(data[..., :, :4]))
    np.testing.assert_array_equal(made.data[..., -4:, :], np.float32(data[..., -4:, :]))
    spoilt = data.copy()
    spoilt[..., :, :4] = 5e5
    again = ipc(make_ramp(spoilt, **corner), references(image("ipc", KERNEL)))
    np.testing.assert_array_equal(again.data[..., :-4, 4:], made.data[..., :-4, 4:])


def test_zeros_of_the_zero_frame_stay_and_couple_nothing():
    zero = np.full((1, 16, 20), 100.0)
    zero[0, 8, 9] = 0
    made = ipc(make_ramp(star(), zeroframe=zero), references(image("ipc", KERNEL))).zeroframe
    assert made[0, 8, 9] == 0
    inner = made[0, 1:-1, 1:-1]
    np.testing.assert_allclose(inner[inner != 0], 100, rtol=1e-5)


def test_irs2_readouts_couple_as_the_detector_does():
    layout = Interleaving()
    raw = np.random.default_rng(2).normal(1000, 100, (1, 1, 3200, 12))
    more = {"READPATT": "NRSIRS2", "DETECTOR": "NRS1", "SUBSTRT1": 101, "SUBSTRT2": 1, "SUBSIZE2": 2048}
    made = ipc(make_ramp(raw, **more), references(image("ipc", KERNEL)))
    np.testing.assert_array_equal(
        made.data[..., ~layout.science, :], np.float32(raw[..., ~layout.science, :])
    )
    own = {"SUBSTRT1": 101, "SUBSTRT2": 1}
    still = ipc(make_ramp(raw[..., layout.science, :], **own), references(image("ipc", KERNEL)))
    np.testing.assert_array_equal(made.data[..., layout.science, :], still.data)


def test_without_a_reference_ipc_does_not_apply():
    made = ipc(make_ramp(star()), references())
    assert made.meta.provenance.steps[-1].outcome == "not applicable"
    assert "no ipc reference" in made.meta.provenance.steps[-1].reason


@pytest.mark.parametrize("shape", [(3, 3, 5, 5), (3, 3, 3)])
def test_a_kernel_of_other_pixels_is_refused(shape):
    with pytest.raises(Unprocessable, match="ipc reference has the shape"):
        ipc(make_ramp(star()), references(image("ipc", np.ones(shape))))


def test_kernels_are_read_whole_and_maps_of_kernels_cut(tmp_path):
    from astropy.io import fits

    maps = np.arange(9 * 30 * 40.0).reshape(3, 3, 30, 40).astype("f4")
    for name, data in (("one", KERNEL), ("map", maps)):
        primary = fits.PrimaryHDU()
        primary.header.update(SUBSTRT1=1, SUBSTRT2=1, SUBSIZE1=40, SUBSIZE2=30)
        hdus = fits.HDUList([primary, fits.ImageHDU(data.astype("f4"), name="SCI")])
        hdus.writeto(tmp_path / f"{name}.fits")
    window = Window(5, 6, 20, 10)
    one = load(tmp_path / "one.fits", "ipc", "", window)
    np.testing.assert_array_equal(one.data, KERNEL.astype("f4"))
    found = load(tmp_path / "map.fits", "ipc", "", window)
    np.testing.assert_array_equal(found.data, maps[..., 6:16, 5:25])


def test_groups_above_the_threshold_are_flagged_with_their_neighbours():
    data = np.zeros((2, 5, 8, 8))
    data[0, 3:, 4, 4] = 25001
    data[0, 2:, 4, 5] = 25001
    data[1, :, 0, 0] = 30000
    made = charge_migration(make_ramp(data, **NIRISS))
    expected = np.zeros(data.shape, np.uint8)
    for y, x, first in (
        (4, 4, 2),
        (4, 5, 2),
        (3, 4, 3),
        (5, 4, 3),
        (4, 3, 3),
        (3, 5, 2),
        (5, 5, 2),
        (4, 6, 2),
    ):
        expected[0, first:, y, x] = LOST
    expected[1, :, [0, 0, 1], [0, 1, 0]] = LOST
    np.testing.assert_array_equal(made.groupdq, expected)


def test_groups_that_are_not_used_tell_nothing():
    data = np.full((1, 4, 3, 3), 26000.0)
    flags = np.zeros(data.shape, np.uint8)
    flags[:, :2] = DQ.DO_NOT_USE
    made = charge_migration(make_ramp(data, groupdq=flags, **NIRISS))
    assert not (made.groupdq[:, :2] & DQ.CHARGELOSS).any()
    assert (made.groupdq[:, 2:] == LOST).all()


def test_the_threshold_is_an_option():
    data = np.full((1, 4, 3, 3), 20000.0)
    assert not charge_migration(make_ramp(data, **NIRISS)).groupdq.any()
    assert charge_migration(make_ramp(data, **NIRISS), signal_threshold=19999).groupdq.all()


def test_charge_migration_does_not_apply_to_two_groups():
    made = charge_migration(make_ramp(np.full((1, 2, 3, 3), 3e4), **NIRISS))
    assert made.meta.provenance.steps[-1].outcome == "not applicable"
    assert "2 groups" in made.meta.provenance.steps[-1].reason


def test_charge_migration_runs_wherever_it_is_asked_for():
    assert charge_migration(make_ramp(np.full((1, 5, 3, 3), 3e4), EXP_TYPE="NRC_IMAGE")).groupdq.all()
