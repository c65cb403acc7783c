"""Kernels of ramps on anything: a value or a flag, never a crash, never an infinity that nobody flagged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from processors.detector1.charge_migration import charge_migration
from processors.detector1.jump import jump
from processors.ramp_fit import average_integrations, gain_scale, ramp_fit
from processors.ramps import (
    chargeloss,
    components,
    diagnostics,
    firstgroups,
    gls,
    goodness,
    jumps,
    ols,
    pedestals,
    resets,
    singles,
    twopoint,
    zeroframe,
)
from processors.ramps.combine import GlsRate, OlsRate
from processors.ramps.covariance import PixelNoise, ReadPattern
from processors.ramps.snowballs import SnowballRules, flag_in_turn
from schemas.dq import DQ
from schemas.errors import Unprocessable
from tests.processors.detector1.build import image, make_ramp, references

LARGEST = float(np.finfo(np.float32).max)
DNU, JUMP, SAT = (np.uint8(bit) for bit in (DQ.DO_NOT_USE, DQ.JUMP_DET, DQ.SATURATED))
COUNTS = st.floats(-1e3, 1e5, width=32) | st.sampled_from([0.0, np.nan, np.inf, -np.inf, LARGEST, -LARGEST])
MANY = st.sampled_from([0, 0, 0, 1, 2, 4, 129])
FLAGS = st.sampled_from([0, 0, 0, 1, 2, 4, 5, 32, 128, 129]) | st.integers(0, 255)
NOISE = st.floats(0.015625, 128, width=32) | st.sampled_from([1.0, 0.0, -4.0, np.nan, np.inf, LARGEST, 1e-30])
DARK = st.floats(0, 1, width=32) | st.sampled_from([0.0, -1.0, np.nan, np.inf])
PIXELS = st.sampled_from([0, 0, 0, 1, int(DQ.HOT), int(DQ.UNRELIABLE_SLOPE), int(DQ.REFERENCE_PIXEL)])
fuzzed = settings(max_examples=60, deadline=None)


@dataclass
class Anything:
    """An exposure of arbitrary values: arrays (nint, ngroup, ny, nx) and (ny, nx), and how it was read."""

    data: np.ndarray
    groupdq: np.ndarray
    pixeldq: np.ndarray
    noise: PixelNoise
    frames: tuple[int, int]

    @property
    def pattern(self):
        return ReadPattern.regular(self.data.shape[1], *self.frames, 10.0)

    @property
    def timing(self):
        return ols.Timing(10.0 * sum(self.frames), 10.0, self.frames[0])


@st.composite
def exposures(draw, nint=1):
    """Some samples are anything; in some examples all groups of all pixels jump, or saturate, or are lost."""
    ngroup, ny = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    nx = draw(st.sampled_from([1, 4, 66]))  # one piece of a row, and more
    shape = (nint, ngroup, ny, nx)
    data = draw(arrays.arrays(np.float32, shape, elements=COUNTS, fill=st.floats(0, 1e4, width=32)))
    flags = draw(arrays.arrays(np.uint8, shape, elements=FLAGS, fill=MANY))

    def plane(elements, fill):
        return draw(arrays.arrays(np.float32, shape[2:], elements=elements, fill=st.just(fill)))

    dark = draw(st.none() | arrays.arrays(np.float32, shape[2:], elements=DARK, fill=st.just(0.0)))
    noise = PixelNoise(plane(NOISE, 2.0), plane(NOISE, 8.0), dark)
    pixeldq = draw(arrays.arrays(np.uint32, shape[2:], elements=PIXELS, fill=st.just(0)))
    return Anything(data, flags, pixeldq, noise, (draw(st.integers(1, 4)), draw(st.integers(0, 2))))


def check(slopes: gls.Slopes, given_noise: PixelNoise) -> None:
    """Each pixel has a rate with an error, or DO_NOT_USE and NaN."""
    bad = (slopes.dq & np.uint32(DNU)) != 0
    np.testing.assert_array_equal(np.isnan(slopes.slope), bad)
    for plane in (slopes.slope, slopes.err, slopes.var_poisson, slopes.var_rnoise, slopes.chi2):
        assert np.isfinite(plane[~bad]).all()
        assert not np.isinf(plane).any()
    for plane in (slopes.err, slopes.var_poisson, slopes.var_rnoise, slopes.chi2):
        assert (plane[~bad] >= 0).all()
    with np.errstate(invalid="ignore"):
        usable = (given_noise.gain > 0) & (given_noise.readnoise > 0)
    assert bad[~usable].all()
    no_gain = ~(np.nan_to_num(given_noise.gain) > 0)
    assert (slopes.dq[no_gain] & np.uint32(DQ.NO_GAIN_VALUE) != 0).all()


@fuzzed
@given(given=exposures(), single=st.booleans())
def test_generalised_least_squares(given, single):
    data, flags = given.data[0], given.groupdq[0]
    how = {"pixeldq": given.pixeldq, "suppress_one_group": single}
    slopes = gls.fit_slopes(data, flags, given.pattern, given.noise, **how)
    check(slopes, given.noise)
    judged = goodness.judged(slopes, 1e-3)
    tested = (slopes.ndof > 0) & np.isfinite(slopes.chi2)
    np.testing.assert_array_equal(np.isfinite(judged.probability), tested)
    assert ((judged.probability[tested] >= 0) & (judged.probability[tested] <= 1)).all()
    said = diagnostics.diagnose(data, flags, given.pattern, given.noise, slopes)
    assert not np.isinf(said.pedestal).any()
    assert not np.isinf(said.worst).any()
    np.testing.assert_array_equal(said.worst_group > 0, np.isfinite(said.worst))
    kept = (given.pixeldq != 0) & (np.arange(flags.shape[2]) % 2 == 0)
    begin = pedestals.pedestal(slopes, kept, (data, flags), given.pattern)
    assert np.isfinite(begin).all()
    made = firstgroups.without_excess(slopes, kept, (data, flags), given.pattern, given.noise, pedestal=begin)
    check(made, given.noise)
    check(chargeloss.restored_gls(slopes, (data, flags), given.pattern, given.noise), given.noise)


@fuzzed
@given(given=exposures(), single=st.booleans())
def test_ordinary_least_squares(given, single):
    data, flags, how = given.data[0], given.groupdq[0], {"suppress_one_group": single}
    rate = ols.median_rate(data, flags, given.timing, **how)
    assert np.isfinite(rate).all()
    slopes = ols.fit_slopes(
        data, flags, given.timing, given.noise, pixeldq=given.pixeldq & ~np.uint32(2), rate=rate, **how
    )
    check(slopes, given.noise)
    restored = chargeloss.restored_ols(slopes, (data, flags), given.timing, given.noise)
    assert (restored.var_rnoise >= 0).all()
    assert np.isfinite(restored.var_rnoise).all()


@fuzzed
@given(given=exposures(), frame=COUNTS, level=COUNTS, how=st.sampled_from(["first", "saturated", "as drawn"]))
def test_single_groups_and_the_noise_of_the_reset(given, frame, level, how):
    """Most ramps have one good group or none; what nothing is known of is never called estimated."""
    data, flags = given.data[0], given.groupdq[0].copy()
    odd = np.arange(flags.shape[2]) % 4 > 0
    flags[1:, :, odd] |= SAT if how != "as drawn" else np.uint8(0)
    flags[0, :, odd] |= SAT if how == "saturated" else np.uint8(0)
    zero = np.where(np.isfinite(data[0]), data[0] / 2, np.float32(frame))
    slopes = gls.fit_slopes(
        data, flags, given.pattern, given.noise, pixeldq=given.pixeldq, suppress_one_group=False
    )
    alone = singles.single_groups(slopes)
    pixels = zeroframe.without_groups(flags, zero)
    if pixels[0].size:
        planes = (data, flags, zero, given.pixeldq)
        slopes = zeroframe.fit_gls(slopes, pixels, planes, given.pattern, given.noise, 10.0)
    check(slopes, given.noise)
    for where in (
        singles.unlit(alone, flags, given.pixeldq),
        singles.unlike_zero_frame(slopes, alone, (zero, 10.0), given.noise),
        singles.in_events(alone, np.concatenate([flags, flags])),
    ):
        assert where.shape == alone[0].shape
    slopes = singles.without_rates(slopes, singles.chosen(alone, singles.unlit(alone, flags, given.pixeldq)))
    begin = np.full(zero.shape, level, np.float64)
    levels = [(alone, float(given.pattern.mean_t[0])), (pixels, 10.0)]
    before = slopes.err.copy()
    made = resets.estimated(
        slopes, levels, (data, flags), given.pattern, given.noise, pedestal=begin if how == "first" else None
    )
    check(made, given.noise)
    rated = np.isfinite(made.slope)
    assert (made.err[rated] >= before[rated] * np.float32(1 - 1e-6)).all()
    said = (made.dq & np.uint32(DQ.FLUX_ESTIMATED)) != 0
    assert not said[~rated].any()
    assert said[alone][np.isfinite(made.slope[alone])].all()
    assert made.shares is None or np.isfinite(made.shares[:, rated]).all()


@fuzzed
@given(given=exposures(nint=2), frame=COUNTS)
def test_zero_frames_and_averages(given, frame):
    totals = {"gls": GlsRate(given.pattern, given.noise), "ols": OlsRate(given.pixeldq.shape)}
    zero = np.full(given.pixeldq.shape, frame, np.float32)
    for data, flags in zip(given.data, given.groupdq, strict=True):
        pixels = zeroframe.without_groups(flags, zero)
        planes = (data, flags, zero, given.pixeldq)
        fit = gls.fit_slopes(data, flags, given.pattern, given.noise, pixeldq=given.pixeldq)
        if pixels[0].size:
            fit = zeroframe.fit_gls(fit, pixels, planes, given.pattern, given.noise, 10.0)
        check(fit, given.noise)
        totals["gls"].add(fit)
        rate = ols.median_rate(data, flags, given.timing)
        fit = ols.fit_slopes(data, flags, given.timing, given.noise, pixeldq=given.pixeldq, rate=rate)
        if pixels[0].size:
            fit = zeroframe.fit_ols(fit, pixels, planes, given.timing, given.noise, rate)
        check(fit, given.noise)
        totals["ols"].add(fit)
    for name, total in totals.items():
        found = total.result()
        bad = np.isnan(found.slope)
        assert (found.dq[bad] & np.uint32(DNU) != 0).all()
        for plane in (found.slope, found.err, found.var_poisson, found.var_rnoise):
            assert np.isfinite(plane[~bad]).all(), name
            assert not np.isinf(plane).any(), name


@fuzzed
@given(given=exposures(), after=st.booleans())
def test_jumps_by_likelihood(given, after):
    limits = jumps.JumpThresholds(after=((100.0, 1), (1e4, 3)) if after else ())
    data, flags = given.data[0], given.groupdq[0]
    found = jumps.find_jumps(data, flags, given.pattern, given.noise, limits, pixeldq=given.pixeldq)
    np.testing.assert_array_equal(found & ~JUMP, flags & ~JUMP)
    assert ((found & JUMP) >= (flags & JUMP)).all()
    new = ((found & JUMP) != 0) & ((flags & JUMP) == 0)
    assert not (new & ((flags & (SAT | DNU)) != 0)).any()


@fuzzed
@given(given=exposures(nint=2), clip=st.booleans(), after=st.booleans())
def test_two_point_jumps(given, clip, after):
    how = twopoint.TwoPoint(
        after=((100.0, 1), (1e4, 3)) if after else (), clip_integrations=2 if clip else 100, single_pass=5
    )
    found = twopoint.find_jumps(given.data, given.groupdq, given.frames[0], given.noise, how)
    np.testing.assert_array_equal(found & ~JUMP, given.groupdq & ~JUMP)
    unusable = (given.groupdq & (SAT | DNU)) != 0
    assert not (found[unusable] & JUMP).any()


@fuzzed
@given(flags=arrays.arrays(np.uint8, (2, 3, 9, 12), elements=FLAGS, fill=st.sampled_from([0, 4, 2])))
def test_snowballs_and_regions(flags):
    from scipy import ndimage

    for group in range(1, 3):
        plane, before = flags[0, group], flags[0, group - 1]
        _, number = ndimage.label((plane & ~before & JUMP) != 0, np.ones((3, 3)))
        assert len(components.regions(plane, int(JUMP), 1, before)) == number
        pixels, values = np.flatnonzero(plane & JUMP), np.sin(np.arange(plane.size) + 0.5)
        peaks = components.peaks_of_regions(pixels, plane.shape[1], values[pixels])
        labels, number = ndimage.label(plane & JUMP, np.ones((3, 3)))
        regions = [values[labels.ravel() == k + 1] for k in range(number)]
        expected = [region[np.abs(region).argmax()] for region in regions]
        np.testing.assert_array_equal(np.sort(peaks), np.sort(expected))
        found = components.regions(plane, int(JUMP), 1)
        assert sum(region.area for region in found) == np.count_nonzero(plane & JUMP)
    grown = flags.copy()
    flag_in_turn(grown, SnowballRules(min_jump_area=1.0, edge_size=2), 2, None)
    assert ((grown & flags) == flags).all() or ((grown | JUMP) & flags == flags).all()


@fuzzed
@given(
    given=exposures(nint=2),
    algorithm=st.sampled_from(["gls", "ols"]),
    method=st.booleans(),
    suppress=st.booleans(),
    early=st.booleans(),
)
def test_steps_from_jumps_to_the_rate(given, algorithm, method, suppress, early):
    """What cannot be fitted is NaN and DO_NOT_USE; where nothing can, the exposure is refused."""
    flags = given.groupdq.copy()
    flags[:, 0 if early else 1 :, :, 1::2] |= SAT if method else np.uint8(0)
    ramp = make_ramp(given.data, flags, given.pixeldq, zeroframe=given.data[:, -1])
    cards = {"NFRAMES": given.frames[0], "GROUPGAP": given.frames[1], "TGROUP": 10.0 * sum(given.frames)}
    if early:  # groups were left out where they do not saturate early, as MIRI's are
        cards |= {"INT1SKIP": 1, "INT2SKIP": 2}
    ramp = ramp.with_meta(ramp.meta.with_primary(EXP_TYPE="NIS_IMAGE", **cards))
    ramp = replace(ramp, average_dark_current=given.noise.dark_rate)
    refs = references(image("gain", given.noise.gain), image("readnoise", given.noise.readnoise))
    if not all(
        (np.isfinite(plane) & (plane > 0)).any() for plane in (given.noise.gain, given.noise.readnoise)
    ):
        with pytest.raises(Unprocessable, match="finite and positive"):
            ramp_fit(ramp, refs, algorithm=algorithm)
        return
    found = jump(charge_migration(ramp), refs, method="two_point" if method else "likelihood")
    ints = ramp_fit(found, refs, algorithm=algorithm, suppress_one_group=suppress, fit_diagnostics=True)
    for rate in (ints, average_integrations(ints, refs)):
        bad = (rate.dq & np.uint32(DNU)) != 0
        for plane in (rate.data, rate.err, rate.var_poisson, rate.var_rnoise):
            np.testing.assert_array_equal(np.isnan(plane), bad)
            assert not np.isinf(plane).any()


FACTORS = (
    st.floats(1e-4, 1e4) | st.floats() | st.sampled_from([0, 0.0, -1.0, 1, 2.0, 1e30, 1e-30, True, "2.0"])
)


@fuzzed
@given(given=exposures(nint=2), factor=FACTORS, own=st.booleans(), algorithm=st.sampled_from(["gls", "ols"]))
def test_gains_of_another_scale(given, factor, own, algorithm):
    """A factor that is none is refused; rates that it takes out of range become NaN and DO_NOT_USE."""
    ramp = make_ramp(given.data, given.groupdq, given.pixeldq, EXP_TYPE="NIS_IMAGE")
    good = np.ones(given.pixeldq.shape)
    refs = references(image("gain", 2 * good, GAINFACT=factor), image("readnoise", 8 * good))
    rate = ramp_fit(ramp, refs, algorithm=algorithm)
    if own and (isinstance(factor, str) or np.isfinite(factor)):  # FITS headers hold nothing else
        rate = rate.with_meta(rate.meta.with_primary(GAINFACT=factor))
        refs = references(image("gain", 2 * good), image("readnoise", 8 * good))
    if isinstance(factor, str) or not 1e-6 <= factor <= 1e6:
        with pytest.raises(Unprocessable, match="not a positive number"):
            gain_scale(rate, refs)
        return
    scaled = gain_scale(rate, refs)
    bad = np.isnan(scaled.data)
    np.testing.assert_array_equal(bad, (scaled.dq & np.uint32(DNU)) != 0)
    assert bad[np.isnan(rate.data)].all()
    beyond = np.isnan(rate.data)
    for name in ("data", "err", "var_poisson", "var_rnoise"):
        expected = getattr(rate, name).astype(float) * float(factor) ** (2 if name.startswith("var") else 1)
        np.testing.assert_allclose(getattr(scaled, name)[~bad], expected[~bad], rtol=1e-5, atol=1e-37)
        beyond |= np.abs(expected) > LARGEST * (1 - 1e-6)
    assert beyond[bad].all()
