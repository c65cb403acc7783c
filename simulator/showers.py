"""Showers: extended events of MIRI's detectors, tens of electrons in each of hundreds or thousands of pixels.

A cosmic ray that passes through the matter around leaves clouds of faint charge, round or drawn out, and some
of the charge is released in the seconds that follow (Regan 2023, JWST-STScI-008545). The profile here is a
Gaussian, the release exponential.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.detector import CosmicRays
from simulator.readout import Readout
from simulator.snowballs import arrived, joined

RATE: Final = 1 / (1024 * 1024 * 20)
"""Events per pixel and second: one in 20 s on a full frame."""
PEAK: Final = (20.0, 300.0)
"""Electrons in the central pixel, in the logarithm uniform."""
RADII: Final = (5.0, 30.0)
"""Standard deviation along the longer axis, pixels, in the logarithm uniform; the shorter one has half of it
at least."""
LATER: Final = 0.1
"""Part of the charge that is released later."""
RELEASE: Final = 6.0
"""Seconds in which that falls to 1/e."""


def showers(
    shape: tuple[int, int], readout: Readout, rng: np.random.Generator, rate: float = RATE
) -> CosmicRays:
    """Draw showers, anywhere in time.

    Parameters
    ----------
    shape : tuple of int
        Window `(ny, nx)`.
    readout : Readout
        Frames to spread the events over, the gaps included.
    rng : numpy.random.Generator
        Source of randomness.
    rate : float
        Events per pixel and second.

    Returns
    -------
    CosmicRays
        The charge, by event, pixel and frame.
    """
    frames = round(readout.integration_time / readout.tframe)
    number = rng.poisson(rate * shape[0] * shape[1] * readout.integration_time * readout.nints)
    y, x = np.mgrid[: shape[0], : shape[1]]
    found = []
    for event in range(number):
        y0, x0 = (rng.uniform(-0.5, size - 0.5) for size in shape)
        peak, longer = (float(np.exp(rng.uniform(*np.log(limits)))) for limits in (PEAK, RADII))
        angle, shorter = rng.uniform(0, np.pi), longer * rng.uniform(0.5, 1)
        along = (y - y0) * np.sin(angle) + (x - x0) * np.cos(angle)
        across = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
        cloud = peak * np.exp(-0.5 * ((along / longer) ** 2 + (across / shorter) ** 2))
        integration, first = int(rng.integers(readout.nints)), int(rng.integers(1, frames + 1))
        for frame in range(first, frames + 1):
            part = LATER * (1 - np.exp(-readout.tframe / RELEASE))
            share = (
                1 - LATER if frame == first else part * np.exp((first + 1 - frame) * readout.tframe / RELEASE)
            )
            found.append(arrived(rng.poisson(share * cloud), (integration, frame), event, readout))
    return joined(found)
