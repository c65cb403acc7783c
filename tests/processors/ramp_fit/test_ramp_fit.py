import numpy as np
import pytest

from processors.ramp_fit import Average, average_integrations, gain_scale, ramp_fit
from schemas.dq import DQ
from schemas.errors import Unprocessable, UsageError
from schemas.meta import Keywords, Meta
from schemas.products import Rate
from simulator.quick import FlatRamp, flat_ramp
from tests.processors.detector1.build import everything, image, make_ramp, references

DNU = int(DQ.DO_NOT_USE)


def simulated(**more):
    wanted = FlatRamp(shape=(96, 96), **more)
    made = flat_ramp(wanted)
    given = references(image("gain", made.gain), image("readnoise", made.cds_noise))
    cards = {
        "TFRAME": wanted.tframe,
        "TGROUP": wanted.readout.tgroup,
        "NFRAMES": wanted.nframes,
        "GROUPGAP": wanted.groupgap,
    }
    return make_ramp(made.data, **cards), given, made.rate


@pytest.mark.parametrize("rate", [1.0, 300.0])
@pytest.mark.parametrize("algorithm", ["gls", "ols"])
def test_truth(rate, algorithm):
    ramp, given, truth = simulated(rate=rate, ngroups=10, nints=3, nframes=2, groupgap=1)
    out = ramp_fit(ramp, given, algorithm=algorithm)
    assert out.data.shape == (3, 96, 96)
    off = (out.data - truth).astype("f8")
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(off.size)
    pull = off / out.err
    assert pull.std() == pytest.approx(1, abs=0.02 if algorithm == "gls" else 0.05)
    np.testing.assert_allclose(out.err**2, out.var_poisson + out.var_rnoise, rtol=1e-5)
    if algorithm == "gls":
        assert out.chisq.mean() / out.dof.mean() == pytest.approx(1, abs=0.02)
    assert out.meta.science["BUNIT"] == "DN/s"
    assert out.meta.get("S_RAMP") == "COMPLETE"


def test_the_dark_current_leaves_its_noise():
    ramp, given, _ = simulated(rate=0.5, ngroups=6)
    dark = np.full((96, 96), 40.0, np.float32)
    quiet = ramp_fit(ramp, given)
    noisy = ramp_fit(type(ramp)(**{**vars(ramp), "average_dark_current": dark}), given)
    span = 50.0  # Poisson variance of 40 e-/s over it, in (DN/s)^2, and a little more for the weights
    assert np.median(noisy.var_poisson - quiet.var_poisson) == pytest.approx(40 / 4 / span, rel=0.25)


def test_pixels_that_cannot_be_fitted_are_nan_and_do_not_use():
    ramp, given, _ = simulated(rate=30.0, ngroups=5)
    ramp.groupdq[:, :, 3, 3] = int(DQ.SATURATED)
    ramp.groupdq[:, :, 4, 4] = DNU
    ramp.groupdq[:, 1:, 5, 5] = int(DQ.SATURATED)
    ramp.pixeldq[6, 6] = DNU
    gain = given.image("gain").data.copy()
    gain[7, 7], gain[8, 8] = 0, np.nan
    given = references(image("gain", gain), given["readnoise"])
    for algorithm, suppress in (("gls", True), ("ols", True), ("gls", False), ("ols", False)):
        out = ramp_fit(ramp, given, algorithm=algorithm, suppress_one_group=suppress)
        bad = np.isnan(out.data[0])
        single = set() if suppress else {(5, 5)}
        assert set(zip(*np.nonzero(bad), strict=True)) == {(i, i) for i in range(3, 9)} - single
        np.testing.assert_array_equal(bad, out.dq[0] & DNU != 0)
        np.testing.assert_array_equal(bad, np.isnan(out.err[0]))
        assert out.dq[0, 3, 3] & int(DQ.SATURATED)
        assert out.dq[0, 7, 7] & out.dq[0, 8, 8] & int(DQ.NO_GAIN_VALUE)


def test_everything_saturated():
    ramp, given, _ = simulated(ngroups=4)
    ramp.groupdq[:] = int(DQ.SATURATED)
    out = ramp_fit(ramp, given)
    assert np.isnan(out.data).all()
    assert (out.dq & DNU).all()


def test_chosen_groups():
    ramp, given, truth = simulated(rate=50.0, ngroups=8)
    ramp.data[:, 0] += 5000
    ramp.data[:, 7] -= 5000
    out = ramp_fit(ramp, given, firstgroup=1, lastgroup=6)
    assert np.median(out.data) == pytest.approx(truth, rel=0.01)
    assert (ramp.groupdq == 0).all()
    with pytest.raises(UsageError, match="leave nothing to fit"):
        ramp_fit(ramp, given, firstgroup=7, lastgroup=3)


def test_a_later_group_alone_has_no_rate():
    """Of the charge that is in it nothing says when it came."""
    shape = (4, 6)
    data = np.broadcast_to(100.0 * np.arange(1, 5)[:, None, None], (1, 4, *shape)).copy()
    flags = np.zeros(data.shape, np.uint8)
    flags[:, 2:, :, :3] = DQ.SATURATED
    for algorithm in ("ols", "gls"):
        rate = ramp_fit(make_ramp(data, flags), everything(shape), algorithm=algorithm, firstgroup=1)
        assert np.isnan(rate.data[..., :3]).all()
        assert (rate.dq[..., :3] & np.uint32(DQ.DO_NOT_USE)).all()
        np.testing.assert_allclose(rate.data[..., 3:], 10, rtol=1e-5)


def miri(ngroup, pedestal=8000.0, excess=500.0, shape=(64, 64)):
    """Steady light above a pedestal, with too much in the first group; a star saturates the second."""
    rate = np.full(shape, 40.0)
    rate[30:34, 30:34] = 20000.0
    data = (
        pedestal
        - excess * (np.arange(ngroup) == 0)[:, None, None]
        + rate * (3.0 * np.arange(1, ngroup + 1)[:, None, None])
    )
    flags = np.zeros((1, *data.shape), np.uint8)
    flags[:, 1:, 30:34, 30:34] = DQ.SATURATED
    if ngroup > 2:
        flags[:, -1] |= np.uint8(DQ.DO_NOT_USE)
    cards = {
        "INSTRUME": "MIRI",
        "DETECTOR": "MIRIMAGE",
        "EXP_TYPE": "MIR_IMAGE",
        "TFRAME": 3.0,
        "TGROUP": 3.0,
    }
    return make_ramp(data[np.newaxis], flags, **cards), rate


@pytest.mark.parametrize("ngroup", [2, 3])
def test_rates_from_miris_first_groups_alone_say_so(ngroup):
    given, true = miri(ngroup)
    rate = ramp_fit(given, everything(true.shape))
    said = np.uint32(DQ.FLUX_ESTIMATED | DQ.UNRELIABLE_SLOPE)
    assert np.isfinite(rate.data).all()
    assert ((rate.dq & said) == said).all()
    star = true > 1000
    np.testing.assert_allclose(rate.data[0][star], true[star], rtol=0.02)  # without the pedestal
    plain = ramp_fit(given, everything(true.shape), algorithm="ols")
    assert not (plain.dq & said).any()


def test_where_miris_first_group_is_left_out_nothing_is_said():
    given, true = miri(4)
    given.groupdq[:, 0] |= np.uint8(DQ.DO_NOT_USE)
    given = given.with_meta(given.meta.with_primary(INT1SKIP=1))
    rate = ramp_fit(given, everything(true.shape))
    assert (rate.dq[0][true < 1000] == 0).all()


def test_one_group_of_miri_is_refused():
    given, true = miri(1)
    with pytest.raises(Unprocessable, match=r"test_uncal\.fits: one group is too few.*algorithm=ols"):
        ramp_fit(given, everything(true.shape))
    assert np.isfinite(ramp_fit(given, everything(true.shape), algorithm="ols").data).all()


def test_fit_quality_is_an_option():
    ramp, given, _ = simulated(ngroups=4)
    assert ramp_fit(ramp, given).dof.max() == 2
    bare = ramp_fit(ramp, given, fit_quality=False)
    for name in ("chisq", "dof", "probability"):
        assert getattr(bare, name) is None
        assert getattr(ramp_fit(ramp, given, algorithm="ols"), name) is None


def test_fits_that_are_poor_are_flagged_whether_their_quality_is_kept_or_not():
    ramp, given, _ = simulated(rate=50.0, ngroups=6, nints=3)
    ramp.data[:, 3:, 10:20, 10:20] += 5000
    ramp.data[1, 3:, 30, 30] += 5000
    ramp.data[:, 3:, 40:, 40:] += 40
    for quality in (True, False):
        ints = ramp_fit(ramp, given, fit_quality=quality)
        poor = ints.dq & int(DQ.UNRELIABLE_SLOPE) != 0
        assert poor[:, 10:20, 10:20].all()
        assert poor[1, 30, 30]
        assert poor.sum() < 310 + 0.05 * poor[:, 40:, 40:].size
    ints = ramp_fit(ramp, given)
    rate = average_integrations(ints, given)
    poor = rate.dq & int(DQ.UNRELIABLE_SLOPE) != 0
    assert poor[10:20, 10:20].all()
    assert poor[30, 30]
    assert (rate.probability[poor] < 1e-5).all()
    # together, three integrations show what none of them does
    faint = ints.dq[:, 40:, 40:] & int(DQ.UNRELIABLE_SLOPE) != 0
    assert poor[40:, 40:].mean() > 3 * faint.mean()


def test_a_poor_pixel_of_the_mask_stays_one():
    ramp, given, _ = simulated(rate=50.0, ngroups=6, nints=2)
    ramp.pixeldq[5, 5] = int(DQ.UNRELIABLE_SLOPE)
    rate = average_integrations(ramp_fit(ramp, given), given)
    assert rate.dq[5, 5] == int(DQ.UNRELIABLE_SLOPE)


def test_diagnostics_are_kept_where_asked_for():
    ramp, given, _ = simulated(ngroups=6, nints=2)
    names = ("pedestal", "ndiff", "worst", "worst_group")
    assert all(getattr(ramp_fit(ramp, given), name) is None for name in names)
    ints = ramp_fit(ramp, given, fit_diagnostics=True)
    assert all(getattr(ints, name).shape == ints.data.shape for name in names)
    assert (ints.ndiff == 5).all()
    doubled = gain_scale(ints, references(image("gain", given.image("gain").data, GAINFACT=2.0)))
    np.testing.assert_array_equal(doubled.pedestal, 2 * ints.pedestal)
    np.testing.assert_array_equal(doubled.worst, ints.worst)


@pytest.mark.parametrize("algorithm", ["gls", "ols"])
def test_average_is_true_and_the_same_for_any_division(algorithm):
    ramp, given, truth = simulated(rate=40.0, ngroups=5, nints=6)
    ramp.groupdq[2, 3:, :, ::3] |= int(DQ.SATURATED)
    ramp.groupdq[4, 2, ::2] |= int(DQ.JUMP_DET)
    ramp.groupdq[:, :, 0, 0] |= DNU
    ints = ramp_fit(ramp, given, algorithm=algorithm)
    whole = average_integrations(ints, given)
    assert whole.data.shape == (96, 96)
    off = (whole.data - truth)[1:].astype("f8")
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(off.size)
    pull = off / whole.err[1:]
    assert pull.std() == pytest.approx(1, abs=0.05)
    assert np.isnan(whole.data[0, 0])
    assert whole.dq[0, 0] & DNU
    assert (whole.dq[1:, ::3] & int(DQ.SATURATED) != 0).all()
    for size in (1, 2, 4):
        average = Average(given)
        for first in range(0, 6, size):
            average.add(block_of(ints, first, first + size))
        for name, array in average.result().arrays().items():
            np.testing.assert_array_equal(array, getattr(whole, name), err_msg=name)


def block_of(rate, first, last):
    return Rate(meta=rate.meta, **{name: array[first:last] for name, array in rate.arrays().items()})


@pytest.mark.parametrize(("nints", "kept"), [(1, False), (2, True), (None, True)])
def test_shares_are_kept_where_an_average_may_come(nints, kept):
    ramp, given, _ = simulated(ngroups=4)
    ramp = ramp.with_meta(ramp.meta.with_primary(NINTS=nints))
    assert (ramp_fit(ramp, given).shares is not None) == kept


def test_average_of_one_is_that_one():
    ramp, given, _ = simulated(ngroups=4)
    ints = ramp_fit(ramp, given)
    for name, array in average_integrations(ints, given).arrays().items():
        np.testing.assert_array_equal(array, getattr(ints, name)[0])


def test_average_of_rates_that_were_scaled():
    ramp, given, truth = simulated(rate=40.0, ngroups=5, nints=3)
    ramp.groupdq[1, 3:] |= int(DQ.SATURATED)
    doubled = references(image("gain", given.image("gain").data, GAINFACT=2.0), given["readnoise"])
    ints = ramp_fit(ramp, doubled)
    plain, scaled = (
        average_integrations(ints, doubled),
        average_integrations(gain_scale(ints, doubled), doubled),
    )
    np.testing.assert_allclose(scaled.data, 2 * plain.data, rtol=1e-5)
    np.testing.assert_allclose(scaled.err, 2 * plain.err, rtol=1e-5)
    assert np.median(scaled.data) == pytest.approx(2 * truth, rel=0.02)


def test_nothing_to_average():
    ramp, given, _ = simulated(ngroups=4)
    with pytest.raises(Unprocessable, match="no integrations to average"):
        Average(given).result()
    image_2d = average_integrations(ramp_fit(ramp, given), given)
    with pytest.raises(Unprocessable, match="give a _rateints product"):
        average_integrations(image_2d, given)


def flat_rate(**cards):
    planes = {name: np.full((4, 4), 3.0, np.float32) for name in ("data", "err", "var_poisson", "var_rnoise")}
    return Rate(meta=Meta(primary=Keywords(cards)), dq=np.zeros((4, 4), np.uint32), **planes)


def test_gain_scale():
    gain = references(image("gain", np.ones((4, 4)), GAINFACT=1.5))
    out = gain_scale(flat_rate(), gain)
    assert (out.data == 4.5).all()
    assert (out.err == 4.5).all()
    assert (out.var_poisson == 6.75).all()
    assert (out.var_rnoise == 6.75).all()
    assert out.meta.get("GAINFACT") == 1.5
    assert out.meta.get("S_GANSCL") == "COMPLETE"
    assert (gain_scale(flat_rate(GAINFACT=2.0), gain).data == 6).all()
    without = gain_scale(flat_rate(), references(image("gain", np.ones((4, 4)))))
    assert without.meta.get("S_GANSCL") == "SKIPPED"
    with pytest.raises(Unprocessable, match="GAINFACT = -1"):
        gain_scale(flat_rate(), references(image("gain", np.ones((4, 4)), GAINFACT=-1.0)))
