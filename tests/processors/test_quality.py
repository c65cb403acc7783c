"""Quality figures of stage 1 against what was simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processors.detector1 import jump
from processors.quality import RampFigures, rate_figures
from processors.ramp_fit import average_integrations, ramp_fit
from schemas.dq import DQ
from schemas.quality import FIGURES, told
from tests.processors.detector1.build import image, make_ramp, references
from tests.processors.examples import cut

SHAPE = (2, 10, 256, 512)
NOISE = 6.0
PIXEL = 18e-4
GROUP_TIME = 10.0


def exposure(seed=1, drift=0.0, axis=-1, **more):
    """Read noise alone, offsets of the rows as drifts of the bias leave them, and reference pixels."""
    rng = np.random.default_rng(seed)
    data = rng.normal(0, NOISE, SHAPE) + 3.0 * np.arange(1, SHAPE[1] + 1)[:, None, None]
    rows = SHAPE[2] if abs(axis) == 1 else SHAPE[3]
    offsets = rng.normal(0, drift, (*SHAPE[:2], rows))
    data += offsets[..., None] if abs(axis) == 1 else offsets[..., None, :]
    ramp = make_ramp(data, FASTAXIS=axis, S_JUMP="COMPLETE", **more)
    ramp.pixeldq[:4] |= np.uint32(DQ.REFERENCE_PIXEL | DQ.NON_SCIENCE)
    ramp.pixeldq[100:110, 100:110] |= np.uint32(DQ.DO_NOT_USE)
    return ramp


def hit(ramp, per_group, seed=2):
    """Flag hits with their neighbours, and give them charge; a part of them goes on in the next group."""
    rng = np.random.default_rng(seed)
    for i, g in np.ndindex(*SHAPE[:2]):
        if g == 0:
            continue
        number = rng.poisson(per_group)
        y, x = (rng.integers(5, size - 1, number) for size in SHAPE[2:])
        for dy, dx in ((0, 0), (0, 1), (1, 0), (-1, 0), (0, -1)):
            ramp.groupdq[i, g, y + dy, x + dx] |= np.uint8(DQ.JUMP_DET)
        ramp.data[i, g:, y, x] += 500
        if g + 1 < SHAPE[1]:
            ramp.groupdq[i, g + 1, y[::3], x[::3]] |= np.uint8(DQ.JUMP_DET)
    return ramp


def measured(ramp):
    found = RampFigures(SHAPE[0])
    found.add(ramp)
    return found.figures()


def test_cosmic_ray_rate():
    per_group = 150
    ramp = hit(exposure(), per_group)
    area = ((ramp.pixeldq & np.uint32(DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL)) == 0).sum() * PIXEL**2
    found = measured(ramp)["cosmic_ray_rate"]
    assert found == pytest.approx(per_group / area / GROUP_TIME, rel=4 / np.sqrt(4 * per_group) + 0.02)
    assert "cosmic_ray_rate" not in measured(ramp.with_meta(ramp.meta.with_primary(S_JUMP="SKIPPED")))


@pytest.mark.parametrize("method", ["likelihood", "two_point"])
@pytest.mark.parametrize(
    ("time", "per_area", "nframes"),
    [(0.28, 5, 1), (0.28, 0, 1), (2.8, 5, 1), (10.0, 5, 1), (10.0, 0, 1), (100.0, 5, 8)],
)
def test_cosmic_ray_rate_of_what_is_found(method, time, per_area, nframes):
    """False alarms do not count, however many there are; hits flagged in two groups count once."""
    rng = np.random.default_rng(int(time) + per_area)
    shape = (1, 20, *((1024, 1024) if time < 1 else (256, 512)))
    data = np.cumsum(rng.poisson(20, shape), axis=1) / 2.0 + rng.normal(0, NOISE / np.sqrt(nframes), shape)
    number = rng.poisson(per_area * shape[2] * shape[3] * PIXEL**2 * time * shape[1])
    hits = [rng.integers(size, size=number) for size in shape[1:]]
    for g, y, x, size in zip(*hits, rng.exponential(1000, number) + 150, strict=True):
        data[0, g:, y, x] += size
    given = references(
        image("gain", np.full(shape[2:], 2.0)), image("readnoise", np.full(shape[2:], NOISE * np.sqrt(2)))
    )
    cards = {"TGROUP": time, "TFRAME": time / nframes, "NFRAMES": nframes}
    ramp = jump(make_ramp(data, **cards), given, method=method)
    found = RampFigures(1)
    found.add(ramp)
    assert found.figures()["cosmic_ray_rate"] == pytest.approx(per_area, rel=0.3, abs=0.3)


def test_saturated_fraction():
    ramp = exposure()
    ramp.groupdq[0, 7:, 40:80] |= np.uint8(DQ.SATURATED)
    ramp.groupdq[1, 9:, 60:100] |= np.uint8(DQ.SATURATED)
    ramp.groupdq[:, 7:, :4] |= np.uint8(DQ.SATURATED)
    assert measured(ramp)["saturated_fraction"] == pytest.approx(60 / 252)


def test_the_saturated_fraction_of_a_rate_is_that_of_its_ramp():
    ramp = exposure()
    ramp.groupdq[0, 7:, 40:80] |= np.uint8(DQ.SATURATED)
    ramp.groupdq[1, 5:, 60:100] |= np.uint8(DQ.SATURATED)
    given = references(
        image("gain", np.full(SHAPE[2:], 2.0)), image("readnoise", np.full(SHAPE[2:], NOISE * np.sqrt(2)))
    )
    rate = average_integrations(ramp_fit(ramp, given), given)
    assert rate_figures(rate)["saturated_fraction"] == measured(ramp)["saturated_fraction"]


def test_reference_pixel_scatter():
    ramp = exposure()
    ramp.data[..., :4, :20] = 1e4 * np.arange(10)[:, None, None]  # a few bad ones
    assert measured(ramp)["reference_pixel_scatter"] == pytest.approx(NOISE, rel=0.05)
    ramp.data[..., :2, :] *= 50
    ramp.pixeldq[:2] |= np.uint32(DQ.DO_NOT_USE)  # which correct nothing
    assert measured(ramp)["reference_pixel_scatter"] == pytest.approx(NOISE, rel=0.05)
    ramp.pixeldq[:4] = 0
    assert "reference_pixel_scatter" not in measured(ramp)


@pytest.mark.filterwarnings("error")
def test_a_frame_without_values_is_left_out():
    ramp = hit(exposure(), 100)
    whole = measured(ramp)
    ramp.data[0, 3] = np.nan
    found = measured(ramp)
    assert set(found) == set(whole)
    assert all(np.isfinite(value) for value in found.values())
    assert found["reference_pixel_scatter"] == pytest.approx(NOISE, rel=0.05)
    ramp.data[:] = np.nan
    assert set(measured(ramp)) == {"cosmic_ray_rate", "saturated_fraction"}


def test_reference_pixels_of_whole_numbers_scatter_as_much():
    """Where references correct nothing: values of a median absolute deviation would lie 1 DN apart."""
    ramp = exposure()
    ramp.data[:] = np.round(ramp.data)
    whole = np.hypot(NOISE, np.sqrt(1 / 12))
    assert measured(ramp)["reference_pixel_scatter"] == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("drift", [0.0, 1.0, 3.0])
def test_residual_power_of_the_rows(axis, drift):
    """Stars change nothing, hits are left out."""
    ramp = hit(exposure(drift=drift, axis=axis), 100)
    y, x = np.mgrid[:256, :512]
    star = 3000 * np.exp(-((y - 130) ** 2 + (x - 200) ** 2) / 200)
    ramp.data[...] += (star * np.arange(10)[:, None, None]).astype(np.float32)
    found = measured(ramp)["residual_1f_power"]
    white = 1 / (128 if axis == -1 else 85)  # pixels of a row that are looked at
    assert abs(found - (drift / NOISE) ** 2) < 5 * np.sqrt(2 / 256) * (white + (drift / NOISE) ** 2)


@pytest.mark.parametrize("outputs", [4, 5])
def test_rows_of_four_amplifiers_drift_on_their_own(outputs):
    """NIRSpec's IRS2 counts the output of its reference pixels as a fifth."""
    ramp = exposure(axis=2, NOUTPUTS=outputs, INSTRUME="NIRSPEC")
    drifts = np.random.default_rng(3).normal(0, 3, (*SHAPE[:2], 4, SHAPE[3]))
    ramp.data[...] += np.repeat(drifts, SHAPE[2] // 4, axis=2).astype(np.float32)
    assert measured(ramp)["residual_1f_power"] == pytest.approx((3 / NOISE) ** 2, rel=0.2)


@pytest.mark.parametrize("width", [16, 8])
def test_short_rows_tell_of_drifts_too(width):
    rng = np.random.default_rng(4)
    data = rng.normal(0, NOISE, (1, 6, width, 512)) + rng.normal(0, 3, (1, 6, 1, 512))
    ramp = make_ramp(data, FASTAXIS=2, S_JUMP="COMPLETE")
    found = RampFigures(1)
    found.add(ramp)
    assert found.figures()["residual_1f_power"] == pytest.approx((3 / NOISE) ** 2, rel=0.25)


def test_any_division_into_blocks_gives_the_same_figures():
    ramp = hit(exposure(drift=2.0), 50)
    found = RampFigures(SHAPE[0])
    for i in range(SHAPE[0]):
        found.add(cut(ramp, i, i + 1))
    assert found.figures() == measured(ramp)
    assert set(found.figures()) <= set(FIGURES)


@pytest.mark.parametrize("ngroup", [1, 2, 3])
def test_short_and_empty_ramps(ngroup):
    ramp = exposure()
    short = replace(ramp, data=ramp.data[:, :ngroup], groupdq=ramp.groupdq[:, :ngroup])
    short = short.with_meta(short.meta.with_primary(S_JUMP="SKIPPED"))
    assert ("residual_1f_power" in measured(short)) == (ngroup > 2)
    short.groupdq[:] = int(DQ.SATURATED | DQ.DO_NOT_USE)
    assert "residual_1f_power" not in measured(short)
    assert measured(short)["saturated_fraction"] == 1
    blind = replace(short, pixeldq=np.full_like(short.pixeldq, int(DQ.NON_SCIENCE)))
    assert measured(blind).get("saturated_fraction") is None


def fitted(**how):
    ramp = exposure()
    ramp.data[..., 120:140, 300:340] += np.float32(200) * np.arange(10)[:, None, None]  # a source
    ramp.data[:, 5:, 200:, :] += 60  # something that no line fits
    ramp.groupdq[:, 7:, 50:60] |= np.uint8(DQ.SATURATED)
    one = cut(ramp, 0, 1)
    given = references(
        image("gain", np.full(SHAPE[2:], 2.0)), image("readnoise", np.full(SHAPE[2:], NOISE * np.sqrt(2)))
    )
    ints = ramp_fit(one, given, **how)
    arrays = {name: plane[0] for name, plane in ints.arrays().items() if name != "shares"}
    return replace(ints, shares=None, **arrays)


def test_figures_of_a_rate():
    found = rate_figures(fitted())
    assert found["median_background"] == pytest.approx(3.0 / GROUP_TIME, abs=0.03)
    assert found["saturated_fraction"] == pytest.approx(10 / 252, abs=0.01)
    assert found["chisq_per_dof_q50"] == pytest.approx(1, abs=0.15)
    assert found["chisq_per_dof_q05"] < 0.5 < 2 < found["chisq_per_dof_q95"]
    assert found["poor_fit_fraction"] == pytest.approx(56 / 252, abs=0.03)
    assert set(found) <= set(FIGURES)
    assert len(told(found)) == len(found)


def test_figures_without_chi_squared_and_without_any_value():
    plain = fitted(algorithm="ols")
    assert set(rate_figures(plain)) == {"median_background", "saturated_fraction"}
    plain.data[:] = np.nan
    assert set(rate_figures(plain)) == {"saturated_fraction"}
