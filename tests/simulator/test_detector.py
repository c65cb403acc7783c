from __future__ import annotations

import numpy as np
import pytest

from schemas.dq import DQ
from schemas.errors import UsageError
from simulator.detector import (
    CosmicRays,
    Electronics,
    Maps,
    cosmic_rays,
    generator,
    linearised,
    maps,
    ramp,
)
from simulator.instruments import detector
from simulator.quick import FlatRamp, flat_ramp
from simulator.readout import Readout, frame_time, readout

NO_RAYS = CosmicRays(*[np.zeros(0, np.int32)] * 5, np.zeros(0, np.float32), np.zeros(0, np.int32))
QUIET = Electronics(outputs=1, amplifier_axis=1, first=0, drifts=False)


def even(shape: tuple[int, int] = (64, 64), **changes: float) -> Maps:
    """Pixels that are all alike."""
    values = {
        "gain": 2.0,
        "read_noise": 5.0,
        "bias": 10000.0,
        "dark": 0.0,
        "response": 1.0,
        "quadratic": 8e-7,
        "cubic": 2e-12,
        "well": 40000.0,
    } | changes
    return Maps(
        **{k: np.full(shape, v, np.float32) for k, v in values.items()}, dq=np.zeros(shape, np.uint32)
    )


def expose(pixels: Maps, rate: float, sampling: Readout, rays: CosmicRays = NO_RAYS) -> np.ndarray:
    flux = np.full(pixels.gain.shape, rate, np.float32)
    return ramp(flux, pixels, sampling, QUIET, rays, generator("test", rate, sampling.pattern))


@pytest.mark.parametrize("pattern", ["RAPID", "SHALLOW4", "MEDIUM2"])
def test_noise_is_that_of_photons_and_reads_with_its_correlations(pattern: str) -> None:
    """Variance and covariance of group differences against the formulae (Brandt 2024a, PASP 136, 045004)."""
    sampling = readout(pattern, 6, 1, 10.0)
    pixels = even((200, 200), quadratic=0.0, cubic=0.0)
    data = expose(pixels, 20.0, sampling)[0].astype(float) * 2.0
    d = np.diff(data, axis=0)
    times = [np.array(sampling.frames(g)) * 10.0 for g in range(6)]
    mean = np.array([t.mean() for t in times])
    tau = np.array([(t * (2 * (len(t) - np.arange(len(t))) - 1)).sum() / len(t) ** 2 for t in times])
    read = (2.0 * 5.0) ** 2 / sampling.nframes + 2 * 4 / 12
    variance = 20.0 * (tau[1:] + tau[:-1] - 2 * mean[:-1]) + 2 * read - 4 / 6
    covariance = 20.0 * (mean[1:-1] - tau[1:-1]) - read
    np.testing.assert_allclose(d.mean(axis=(1, 2)), 20.0 * np.diff(mean), rtol=3e-3)
    np.testing.assert_allclose(d.var(axis=(1, 2)), variance, rtol=0.03)
    measured = [np.cov(d[i].ravel(), d[i + 1].ravel())[0, 1] for i in range(4)]
    np.testing.assert_allclose(measured, covariance, atol=0.03 * variance[0])
    far = [np.cov(d[i].ravel(), d[i + 2].ravel())[0, 1] for i in range(3)]
    np.testing.assert_allclose(far, 0, atol=0.03 * variance[0])


def test_the_linearity_polynomial_undoes_the_response() -> None:
    pixels = even((100, 100), read_noise=0.01)
    sampling = readout("RAPID", 8, 1, 100.0)
    data = expose(pixels, 90.0, sampling)[0]
    true = linearised((data - pixels.bias).astype(np.float32), pixels).mean(axis=(1, 2))
    expected = 90.0 * 100.0 * np.arange(1, 9) / 2.0
    # Pixels scatter from reset to reset, which the polynomial stretches; in the mean that is far below a DN.
    np.testing.assert_allclose(np.diff(true), np.diff(expected), rtol=2e-3)
    bent = (data - pixels.bias).mean(axis=(1, 2))
    assert bent[-1] < 0.985 * expected[-1], "the raw ramp has to bend"


def test_a_full_well_stays_full() -> None:
    pixels = even()
    data = expose(pixels, 5000.0, readout("RAPID", 6, 1, 10.0))[0]
    last = data[-1].astype(float)
    assert abs(last.mean() - 50000) < 5
    assert (data[-1] >= pixels.saturation).all()
    assert (data[0] < pixels.saturation).all()


def test_the_converter_clips() -> None:
    data = expose(even(bias=30000.0), 5000.0, readout("RAPID", 6, 1, 10.0))[0]
    assert (data[-1] == 65535).all()
    assert (expose(even(bias=-50000.0), 1.0, readout("RAPID", 2, 1, 10.0)) == 0).all()


def test_cosmic_rays_arrive_where_and_when_the_truth_says() -> None:
    sampling = readout("SHALLOW4", 5, 2, 10.0)
    rays = cosmic_rays((64, 64), sampling, generator("rays"), rate=1e-5)
    assert len(np.unique(rays.event)) > 10
    pixels = even(read_noise=0.5)
    with_hits = expose(pixels, 0.0, sampling, rays).astype(float)
    without = expose(pixels, 0.0, sampling).astype(float)
    gained = 2.0 * (with_hits - without)
    expected = np.zeros_like(gained)
    last = np.zeros_like(gained)
    for i, frame, group, y, x, electrons in zip(
        rays.integration, rays.frame, rays.group, rays.y, rays.x, rays.electrons, strict=True
    ):
        for g in range(sampling.ngroups):
            expected[i, g, y, x] += electrons * np.mean([frame <= f for f in sampling.frames(g)])
            last[i, g, y, x] += electrons if g >= group else 0
    faint = last.max(axis=(0, 1)) < 3000
    np.testing.assert_allclose(gained[:, :, faint], expected[:, :, faint], atol=12)
    assert (expected[last == 0] == 0).all(), "nothing shows before the group that the truth names"
    assert (expected[last > 0] > 0).all()


def test_reference_pixels_see_no_light_and_carry_the_drifts() -> None:
    pixels = even((2048, 64))
    dq = np.zeros((2048, 64), np.uint32)
    dq[:4] = DQ.REFERENCE_PIXEL
    pixels = Maps(
        **{
            k: getattr(pixels, k)
            for k in ("gain", "read_noise", "bias", "dark", "response", "quadratic", "cubic", "well")
        },
        dq=dq,
    )
    sampling = readout("RAPID", 5, 1, 10.0)
    flux = np.full((2048, 64), 100.0, np.float32)
    drifting = Electronics(outputs=1, amplifier_axis=1, first=7)
    data = ramp(flux, pixels, sampling, drifting, NO_RAYS, generator("drift"))[0].astype(float)
    offset = data[:, :4].mean(axis=(1, 2)) - 10000
    assert np.abs(offset).max() < 40
    assert offset.std() > 1
    level = data[:, 4:].mean(axis=(1, 2)) - 10000 - offset
    np.testing.assert_allclose(np.diff(level), 500, rtol=0.02)
    odd_even = data[:, :, 0::2].mean(axis=(1, 2)) - data[:, :, 1::2].mean(axis=(1, 2))
    in_reference = data[:, :4, 0::2].mean(axis=(1, 2)) - data[:, :4, 1::2].mean(axis=(1, 2))
    np.testing.assert_allclose(odd_even, in_reference, atol=2.5)
    assert np.abs(odd_even).max() > 0.5


def test_maps_are_the_detectors_own() -> None:
    pixels = maps(detector("NRCB2")).cut((slice(0, 64), slice(0, 64)))
    again = maps(detector("NRCB2")).cut((slice(0, 64), slice(0, 64)))
    other = maps(detector("NRCB3")).cut((slice(0, 64), slice(0, 64)))
    assert np.array_equal(pixels.bias, again.bias)
    assert not np.array_equal(pixels.bias, other.bias)
    assert pixels.reference_pixels[:4].all()
    assert pixels.reference_pixels[:, :4].all()
    assert not pixels.reference_pixels[4:, 4:].any()


@pytest.mark.parametrize(
    ("shape", "outputs", "seconds"),
    [
        ((2048, 2048), 4, 10.73676),
        ((640, 640), 1, 4.18584),
        ((320, 320), 1, 1.06904),
        ((160, 160), 1, 0.27864),
        ((64, 64), 1, 0.05016),
    ],
)
def test_frame_times_are_nircams(shape: tuple[int, int], outputs: int, seconds: float) -> None:
    assert frame_time(shape, outputs) == pytest.approx(seconds, abs=1e-5)


def test_groups_and_frames() -> None:
    sampling = readout("MEDIUM8", 3, 1, 10.0)
    assert [list(sampling.frames(g))[::7] for g in range(3)] == [[1, 8], [11, 18], [21, 28]]
    assert [sampling.group_of(f) for f in (1, 8, 9, 10, 11, 28)] == [0, 0, 1, 1, 1, 2]
    assert sampling.integration_time == 280
    with pytest.raises(UsageError, match="SHALLOW4"):
        readout("FASTR1", 3, 1, 10.0)


def test_quick_ramps_are_unbiased_and_reproducible() -> None:
    settings = FlatRamp(rate=50.0, shape=(100, 100), ngroups=5, nframes=2, groupgap=1, hits=0.05)
    quick, again = flat_ramp(settings), flat_ramp(settings)
    assert np.array_equal(quick.data, again.data)
    clean = ~quick.hit_groups.any(axis=1)[0]
    slope = (quick.data[0, -1] - quick.data[0, 0])[clean].mean() / (4 * quick.readout.tgroup)
    assert slope == pytest.approx(quick.rate, rel=2e-3)
    hit = quick.hit_groups[0, 2] & (quick.hit_groups[0].sum(axis=0) == 1)
    jump = np.diff(quick.data[0], axis=0)[1][hit].mean()
    assert jump > 2 * np.diff(quick.data[0], axis=0)[1][clean].mean()
