"""The classical ramp kernels against the standard pipeline's own functions, on the same arrays.

| what | tolerance | differences that are meant |
| --- | --- | --- |
| two-point jumps | the same flags | none |
| OLS rates | 0.01 sigma on 99.9 % of pixels | none |
| OLS errors, variances | 0.1 % | none |
| OLS DQ | the same | ramps without any good group that are not all saturated or unusable (a jump in the first
group, then | | | | saturation): NaN and DO_NOT_USE here, a rate of 0 with an error of 0 there |
| GLS against LIKELY | 0.1 sigma in the median | the standard pipeline also drops the difference after a jump,
and takes the | | | | covariance's rate from one pass |
"""

import numpy as np
import pytest

from processors.ramps import combine, gls, ols, twopoint
from processors.ramps.covariance import PixelNoise, ReadPattern
from schemas.dq import DQ
from tests.parity import functions
from tests.processors.ramps.ramps import FRAME, planes, read_times, simulate

pytestmark = pytest.mark.peer
SHAPE = (64, 96)


def exposure(ngroups, nint, nframes=1, gap=0, seed=3, shape=SHAPE):
    """Ramps of all brightnesses with all kinds of flags, by the names that `functions.SCRIPT` reads."""
    rng = np.random.default_rng(seed)
    rate = 10 ** rng.uniform(-1.5, 3.5, shape)
    data = np.array([simulate(read_times(ngroups, nframes, gap), rate, shape, seed + i) for i in range(nint)])
    for _ in range(data.size // 40):
        i, g, y, x = (rng.integers(0, n) for n in data.shape)
        data[i, g:, y, x] += 10 ** rng.uniform(1, 4)
    draw = rng.random(data.shape)
    groupdq = np.zeros(data.shape, np.uint8)
    for low, high, flag in ((0, 0.04, 4), (0.05, 0.07, 1), (0.07, 0.08, 32), (0.08, 0.083, 5)):
        groupdq[(draw >= low) & (draw < high)] |= flag
    groupdq[:, 0] &= ~np.uint8(DQ.JUMP_DET)
    first_saturated = rng.integers(0, 3 * ngroups, (nint, 1, *shape))
    groupdq[np.arange(ngroups)[:, None, None] >= first_saturated] |= np.uint8(DQ.SATURATED)
    pixeldq = np.where(rng.random(shape) < 0.01, DQ.DO_NOT_USE, 0).astype(np.uint32)
    pixeldq |= np.where(rng.random(shape) < 0.02, DQ.HOT, 0).astype(np.uint32)
    gain, readnoise = planes(shape)
    gain = gain * rng.uniform(0.9, 1.1, shape).astype(np.float32)
    gain[0, :3] = np.nan, -1, 0
    dark = np.full(shape, 0.02, np.float32)
    return {
        "data": data,
        "groupdq": groupdq,
        "pixeldq": pixeldq,
        "gain": gain,
        "readnoise": readnoise,
        "dark": dark,
        "tframe": FRAME,
        "nframes": nframes,
        "gap": gap,
    }


JUMPS = {
    f"{ngroups} groups, {nint} integrations, {nframes} frames, after {after}": (
        ngroups,
        nint,
        nframes,
        gap,
        after,
    )
    for ngroups, nint, nframes, gap, after in (
        (3, 1, 1, 0, 0),
        (3, 2, 1, 0, 0),
        (4, 1, 1, 0, 1),
        (5, 1, 8, 2, 0),
        (6, 3, 4, 1, 2),
        (10, 1, 1, 0, 0),
        (16, 1, 8, 2, 3),
    )
}
FITS = {
    f"{ngroups} groups, {nint} integrations, {nframes} frames, {suppress}": (
        ngroups,
        nint,
        nframes,
        gap,
        suppress,
    )
    for ngroups, nint, nframes, gap in (
        (10, 1, 1, 0),
        (6, 3, 4, 1),
        (5, 1, 8, 2),
        (2, 2, 1, 0),
        (1, 1, 1, 0),
    )
    for suppress in (True, False)
}


def odd_values():
    given = exposure(12, 2)
    given["groupdq"][0, 0] |= np.uint8(DQ.DO_NOT_USE)
    given["groupdq"][0, 5] |= np.uint8(DQ.DO_NOT_USE)
    given["readnoise"][3, :2] = 0, np.nan
    given["data"][0, 1, 7, 7:9] = np.nan, np.inf
    return given


def clean():
    given = exposure(10, 1)
    given["groupdq"][:] = 0
    rate = 10 ** np.random.default_rng(1).uniform(-1, 3, SHAPE)
    given["data"] = simulate(read_times(10), rate, SHAPE, 4)[None]
    given["gain"], _ = planes(SHAPE)
    return given


def tasks():
    """Arguments of the standard pipeline's functions, by the name of the task."""
    made = {name: {**exposure(*how[:4]), "task": "jump", "after": how[4]} for name, how in JUMPS.items()}
    made["many"] = {**exposure(5, 104, shape=(16, 16)), "task": "jump", "after": 0}
    made["odd"] = {**odd_values(), "task": "jump", "after": 0}
    made |= {name: {**exposure(*how[:4]), "task": "OLS_C", "suppress": how[4]} for name, how in FITS.items()}
    made["clean"] = {**clean(), "task": "LIKELY", "suppress": True}
    return made


@pytest.fixture(scope="module")
def answers(need_peer, tmp_path_factory):
    """What is given and what the standard pipeline's functions make of it: one start of its interpreter."""
    given = tasks()
    made = functions.answers(given, tmp_path_factory.mktemp("kernels"))
    return {name: (arrays, made[name]) for name, arrays in given.items()}


@pytest.mark.parametrize("name", [*JUMPS, "many", "odd"])
def test_two_point_flags(answers, name):
    given, want = answers[name]
    settings = twopoint.TwoPoint(after=((50.0, given["after"]), (500.0, 2 * given["after"])))
    noise = PixelNoise(given["gain"], given["readnoise"])
    got = twopoint.find_jumps(given["data"], given["groupdq"], given["nframes"], noise, settings)
    assert (want["groupdq"] != given["groupdq"]).sum() > 100
    np.testing.assert_array_equal(got, want["groupdq"])


@pytest.mark.parametrize("name", FITS)
def test_ols_slopes(answers, name):
    given, want = answers[name]
    nframes = given["nframes"]
    timing = ols.Timing(FRAME * (nframes + given["gap"]), FRAME, nframes)
    noise = PixelNoise(given["gain"], given["readnoise"], given["dark"])
    how = {"suppress_one_group": given["suppress"]}
    pairs = list(zip(given["data"], given["groupdq"], strict=True))
    rate = np.mean([ols.median_rate(*pair, timing, **how) for pair in pairs], axis=0)
    total = combine.OlsRate(SHAPE)
    for i, pair in enumerate(pairs):
        fit = ols.fit_slopes(*pair, timing, noise, pixeldq=given["pixeldq"], rate=rate, **how)
        total.add(fit)
        check_slopes(fit, {k[5:]: v[i] for k, v in want.items() if k.startswith("ints_")})
    check_slopes(total.result(), {k[5:]: v for k, v in want.items() if k.startswith("rate_")})


def check_slopes(fit, want):
    made_up = (want["slope"] == 0) & (want["err"] == 0)
    assert np.isnan(fit.slope[made_up]).all()
    assert (fit.dq[made_up] & DQ.DO_NOT_USE).all()
    assert made_up.mean() < 0.1
    np.testing.assert_array_equal(fit.dq[~made_up], want["dq"][~made_up])
    np.testing.assert_array_equal(np.isnan(fit.slope[~made_up]), np.isnan(want["slope"][~made_up]))
    good = np.isfinite(want["slope"]) & ~made_up
    deviation = np.abs(fit.slope - want["slope"])[good] / want["err"][good]
    assert good.mean() > 0.5
    assert (deviation < 0.01).mean() > 0.999
    for name in ("err", "var_poisson", "var_rnoise"):
        np.testing.assert_allclose(
            getattr(fit, name)[~made_up], want[name][~made_up], rtol=1e-3, err_msg=name
        )


def test_gls_slopes_near_likely(answers):
    given, want = answers["clean"]
    pattern = ReadPattern.of_groups(read_times(10))
    noise = PixelNoise(given["gain"], given["readnoise"], given["dark"])
    fit = gls.fit_slopes(given["data"][0], given["groupdq"][0], pattern, noise, pixeldq=given["pixeldq"])
    good = np.isfinite(fit.slope) & (want["rate_dq"] == 0)
    assert good.mean() > 0.9
    deviation = np.abs(fit.slope - want["rate_slope"])[good] / fit.err[good]
    assert np.median(deviation) < 0.1
    assert (deviation < 0.5).mean() > 0.99
    assert abs(np.median(fit.err[good] / want["rate_err"][good]) - 1) < 0.01
