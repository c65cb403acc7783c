"""NIRSpec's IRS2 readouts: the layout, and what the interleaved reference pixels take away."""

from dataclasses import replace

import numpy as np
import pytest

from processors.detector1 import dq_init, refpix, saturation, superbias
from processors.detector1.irs2 import Interleaving
from processors.detector1.irs2_reference import Filters
from processors.pipelines import Pipeline
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.products import concatenate
from schemas.references import TableReference
from simulator import irs2
from simulator.instruments import detector
from tests.processors.detector1.build import image, make_ramp, mask, references

NX = 32
LAYOUT = Interleaving()
BOTH = pytest.mark.parametrize("name", ["NRS1", "NRS2"])


def table(length=712 * NX, beta=712 / 256, alpha=0.0, bad=()):
    """A refpix reference with the same factors for all frequencies below a tenth of Nyquist's."""
    low = np.minimum(np.arange(length), length - np.arange(length)) < length / 60
    columns = [f"{what}_{k}" for what in ("alpha", "beta") for k in range(4)]
    rows = np.zeros(2 * length, [(name, "f4") for name in columns])
    for name in columns:
        rows[name][0::2] = low * (alpha if name.startswith("alpha") else beta)
    flags = np.array(list(bad), [("output", "u2"), ("odd_even", "u2"), ("mask", "u4")])
    return TableReference(
        reftype="refpix", name="test_refpix.fits", digest="0" * 64, tables={"IRS2": rows, "DQ": flags}
    )


def ramp(data, name="NRS1", zeroframe=None, pixeldq=None):
    return make_ramp(
        data, INSTRUME="NIRSPEC", DETECTOR=name, READPATT="NRSIRS2RAPID", SUBARRAY="FULL", SUBSTRT1=1,
        SUBSTRT2=1, SUBSIZE2=2048, NRS_NORM=16, NRS_REF=4, zeroframe=zeroframe, pixeldq=pixeldq,
    )  # fmt: skip


def drifting(name, nint=1, ngroup=3, seed=1):
    """Raw ramps whose outputs drift slowly in time, all that they read alike, and the ramps without."""
    rng = np.random.default_rng(seed)
    layout = Interleaving(turned=name == "NRS2")
    pixels = rng.normal(1000, 3, (nint, ngroup, layout.rows, NX)).astype(np.float32)
    still = layout.without_references(pixels)
    time = np.arange(NX * 712).reshape(NX, 712)
    for frame in pixels.reshape(-1, layout.rows, NX):
        frame[~layout.science] = 9000
        native = frame.T[::-1, ::-1] if name == "NRS2" else frame.T
        for k in range(5):
            waves = [rng.normal(0, 20) * np.cos(2 * np.pi * j * time / time.size + j) for j in (1, 2, 5)]
            reads = sum(waves)[:, irs2.TIMES]
            native[:, k * 640 : (k + 1) * 640] += reads[:, ::-1] if k % 2 == 0 else reads
    return pixels, still


@BOTH
def test_the_layout_is_that_of_the_simulator(name):
    layout = Interleaving(turned=name == "NRS2")
    pixels = np.arange(2048 * 2048, dtype=np.float32).reshape(2048, 2048)
    stored = irs2.interleaved(pixels, detector(name), -1, -2)
    assert stored.shape == (layout.rows, 2048) == (3200, 2048)
    np.testing.assert_array_equal(layout.without_references(stored), pixels)
    np.testing.assert_array_equal(np.flatnonzero(layout.interleaved & (stored[:, 0] == -1)).size, 512)
    series = layout.in_time(stored)
    assert series.shape == (5, 2048, 712)
    np.testing.assert_array_equal(layout.of_the_sky(series[1:]), pixels)
    np.testing.assert_array_equal(layout.slots, irs2.TIMES)


@BOTH
def test_slow_drifts_are_subtracted_and_the_interleaved_pixels_go(name):
    pixels, still = drifting(name)
    made = refpix(ramp(pixels, name), references(table()))
    assert made.shape == (1, 3, 2048, NX)
    assert made.groupdq.shape == made.data.shape
    assert made.pixeldq.shape == (2048, NX)
    before = np.diff(Interleaving(turned=name == "NRS2").without_references(pixels) - still, axis=1)
    after = np.diff(made.data - still, axis=1)
    assert before.std() > 15
    assert after.std() < 0.15 * before.std()


def test_the_reference_output_counts_as_alpha_says():
    pixels, _ = drifting("NRS1")
    without, half = (refpix(ramp(pixels), references(table(alpha=a))) for a in (0.0, 0.5))
    whole = refpix(ramp(pixels), references(table(alpha=1.0)))
    np.testing.assert_allclose(half.data - without.data, (whole.data - without.data) / 2, atol=0.01)
    assert np.abs(whole.data - without.data).max() > 1


def test_bad_reference_pixels_do_no_harm():
    pixels, _ = drifting("NRS1")
    clean = refpix(ramp(pixels), references(table()))
    spoilt = pixels.copy()
    spoilt[:, :, 648:650] += np.random.default_rng(3).normal(0, 5000, (1, 3, 2, NX))  # first jump, output 1
    flags = np.zeros((3200, NX), np.uint32)
    flags[648:650] = DQ.BAD_REF_PIXEL
    named = table(bad=[(1, 1, 1)])
    found = refpix(ramp(spoilt), references(table()))
    flagged = refpix(ramp(spoilt, pixeldq=flags), references(table()), ovr_corr_mitigation_ftr=1000.0)
    listed = refpix(ramp(spoilt), references(named), ovr_corr_mitigation_ftr=1000.0)
    left = refpix(ramp(spoilt), references(table()), ovr_corr_mitigation_ftr=1000.0)
    for mended in (found, flagged, listed):
        assert np.abs(mended.data - clean.data).max() < 1
    assert np.abs(left.data - clean.data).max() > 20


def test_one_nan_stays_where_it_is():
    pixels, _ = drifting("NRS1")
    for row in (900, 649):  # a pixel, and a reference pixel
        spoilt = pixels.copy()
        spoilt[0, 1, row, 7] = np.nan
        bad = ~np.isfinite(refpix(ramp(spoilt), references(table())).data)
        assert bad.sum() == (3 if LAYOUT.science[row] else 0)  # its mean over the ramp is not known


@BOTH
def test_only_pixels_of_the_detector_saturate(name):
    layout = Interleaving(turned=name == "NRS2")
    data = np.full((1, 3, 3200, NX), 5000.0)
    data[0, 2, ~layout.science] = 65535
    rows = np.flatnonzero(layout.science)
    data[0, 1:, rows[100], 5] = 60000
    limits = image("saturation", np.full((2048, NX), 50000.0))
    found = saturation(ramp(data, name), references(limits))
    assert not (found.groupdq[:, :, ~layout.science] & 2).any()
    saturated = layout.without_references(found.groupdq) & 2 != 0
    assert saturated[0].sum(axis=(1, 2)).tolist() == [0, 9, 9]
    assert saturated[0, 1, 99:102, 4:7].all()


def test_a_reference_of_another_length_is_refused():
    with pytest.raises(Unprocessable, match="no table IRS2 of"):
        Filters.of(table(712 * 8), 712 * NX)
    with pytest.raises(Unprocessable, match="there is no 'refpix' reference"):
        refpix(ramp(drifting("NRS1")[0]), references())


def test_a_table_of_bad_pixels_that_lacks_a_column_is_refused():
    good = table()
    flags = np.zeros(1, [("output", "u2"), ("mask", "u4")])
    given = replace(good, tables={**good.tables, "DQ": flags})
    with pytest.raises(Unprocessable, match=r"test_refpix\.fits: .* no column odd_even; give another file"):
        refpix(ramp(drifting("NRS1")[0]), references(given))


def test_images_that_are_no_irs2_readout_are_refused():
    with pytest.raises(Unprocessable, match="does not go with images of 3000 rows"):
        refpix(ramp(np.zeros((1, 2, 3000, NX))), references(table()))


def cut(product, first, last):
    return replace(
        product,
        first_integration=first,
        data=product.data[first:last].copy(),
        groupdq=product.groupdq[first:last].copy(),
        zeroframe=product.zeroframe[first:last].copy(),
        pixeldq=product.pixeldq.copy(),
    )


def test_inputs_stay_and_blocks_change_no_byte():
    pixels, _ = drifting("NRS2", nint=3)
    zero = pixels[:, 0].copy()
    zero[:, 5] = 0
    given = ramp(pixels, "NRS2", zeroframe=zero)
    held = references(
        mask(np.zeros((3200, NX), np.uint32)), image("saturation", np.full((2048, NX), 1e5)),
        image("superbias", np.full((3200, NX), 500.0)), table(),
    )  # fmt: skip
    road = Pipeline("road", (dq_init, saturation, superbias, refpix))
    kept = {name: array.tobytes() for name, array in given.arrays().items()}
    whole = road(given, held)
    assert {name: array.tobytes() for name, array in given.arrays().items()} == kept
    assert (whole.zeroframe == 0).sum() == 3 * NX * Interleaving(turned=True).science[5]
    for size in (1, 2):
        blocks = [cut(given, first, min(3, first + size)) for first in range(0, 3, size)]
        joined = concatenate(list(road.stream(blocks, held, {})))
        for name, array in whole.arrays().items():
            assert joined.arrays()[name].tobytes() == array.tobytes(), name
