"""Snowballs: alpha particles that stop in a near-infrared detector, with a core far beyond the full well.

Around the core lies a round halo that falls from the full well to below the noise within a few tens of
pixels (Regan 2024, PASP 136, 024502). The profile here is a Moffat function.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simulator.detector import CosmicRays
from simulator.readout import Readout

RATE: Final = 1 / (2048 * 2048 * 50)
"""Events per pixel and second: one in 50 s on a full frame."""
CHARGE: Final = 2e6
"""Electrons in the central pixel."""
RADII: Final = (1.5, 5.0)
"""Core radii of the profile, pixels, in which the logarithm is uniform."""
POWER: Final = 3.0
FAINTEST: Final = 1.0
"""Electrons; the halo ends below."""


def snowballs(
    shape: tuple[int, int], readout: Readout, rng: np.random.Generator, rate: float = RATE
) -> CosmicRays:
    """Draw snowballs, round ones, anywhere in time.

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
        The charge, by event and pixel.
    """
    frames = round(readout.integration_time / readout.tframe)
    number = rng.poisson(rate * shape[0] * shape[1] * readout.integration_time * readout.nints)
    events = [_event(n, shape, readout, frames, rng) for n in range(number)] or [(np.zeros(0),) * 7]
    integration, frame, group, y, x, charge, event = (
        np.concatenate(column) for column in zip(*events, strict=True)
    )
    return CosmicRays(
        integration.astype(np.int32),
        frame.astype(np.int32),
        group.astype(np.int32),
        y.astype(np.int32),
        x.astype(np.int32),
        charge.astype(np.float32),
        event.astype(np.int32),
    )


def _event(
    number: int, shape: tuple[int, int], readout: Readout, frames: int, rng: np.random.Generator
) -> tuple[NDArray[Any], ...]:
    """Return the columns of an event."""
    y0, x0 = (rng.uniform(-0.5, size - 0.5) for size in shape)
    core = float(np.exp(rng.uniform(*np.log(RADII))))
    reach = core * np.sqrt((CHARGE / FAINTEST) ** (1 / POWER) - 1)
    y = np.arange(max(0, int(y0 - reach)), min(shape[0], int(y0 + reach) + 2))[:, None]
    x = np.arange(max(0, int(x0 - reach)), min(shape[1], int(x0 + reach) + 2))[None, :]
    charge = rng.poisson(CHARGE * (1 + ((y - y0) ** 2 + (x - x0) ** 2) / core**2) ** -POWER)
    hit = np.nonzero(charge)
    frame = int(rng.integers(1, frames + 1))
    one = np.ones(hit[0].size, int)
    place = hit[0] + y[0, 0], hit[1] + x[0, 0]
    when = rng.integers(readout.nints) * one, frame * one, readout.group_of(frame) * one
    return *when, *place, charge[hit], number * one


def together(first: CosmicRays, second: CosmicRays) -> CosmicRays:
    """Return the charge of both, their events numbered on."""
    pairs = [(getattr(first, name), getattr(second, name)) for name in CosmicRays.__dataclass_fields__]
    columns = [np.concatenate(pair) for pair in pairs]
    columns[-1][first.event.size :] += first.event.max(initial=-1) + 1
    return CosmicRays(*columns)
