"""1/f noise of the simulated detector."""

import numpy as np
import pytest

from schemas.errors import UsageError
from simulator.detector import generator
from simulator.flicker import CORRELATED, UNCORRELATED, pink_frame, pink_series
from simulator.lamp import Lamp, expose
from simulator.readout import OVERHEAD


def test_power_falls_with_frequency():
    power = np.mean(
        [np.abs(np.fft.rfft(pink_series(1 << 14, generator("pink", i)))) ** 2 for i in range(30)], axis=0
    )
    frequency = np.arange(power.size)
    part = slice(10, 4000)
    slope, _ = np.polyfit(np.log(frequency[part]), np.log(power[part]), 1)
    assert slope == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize(("axis", "outputs"), [(1, 1), (0, 1), (1, 4), (0, 4)])
def test_stripes_lie_along_the_direction_of_reading(axis, outputs):
    frame = pink_frame((256, 256), outputs, axis, generator("frame", axis, outputs)).astype(float)
    assert frame.std() == pytest.approx(np.hypot(CORRELATED, UNCORRELATED), rel=0.2)
    along, across = frame.mean(axis=axis).std(), frame.mean(axis=1 - axis).std()
    assert along > 4 * across


def test_outputs_share_what_they_read_at_the_same_time():
    frame = pink_frame((512, 2048), 4, 1, generator("outputs")).astype(float)
    first, second = frame[:, :512], frame[:, 512:1024]
    expected = CORRELATED**2 / (CORRELATED**2 + UNCORRELATED**2)
    assert np.corrcoef(first.ravel(), second[:, ::-1].ravel())[0, 1] == pytest.approx(expected, abs=0.07)
    fast = first[:, 1:] - first[:, :-1], second[:, ::-1][:, 1:] - second[:, ::-1][:, :-1]
    assert np.corrcoef(*(part.ravel() for part in fast))[0, 1] == pytest.approx(expected, abs=0.03)
    assert OVERHEAD > 0


def test_other_noise_does_not_depend_on_it():
    lamp = Lamp(detector="NRCA1", exp_type="NRC_IMAGE", pattern="RAPID", size=(64, 64), ngroups=2, spots=0)
    from dataclasses import replace

    quiet, loud = (expose(replace(lamp, flicker=factor))[0].astype(float) for factor in (0.0, 1.0))
    assert 0.5 < (loud[0, 0] - quiet[0, 0]).std() < 5


def test_irs2_readouts_have_none():
    lamp = Lamp(detector="NRS1", exp_type="NRS_IFU", pattern="NRSIRS2", flicker=1.0)
    with pytest.raises(UsageError, match="IRS2"):
        lamp.check()
