"""Snowballs: alpha particles that stop in a near-infrared detector, with a core far beyond the full well.

Around the core lies a round halo that falls from the full well to below the noise within a few tens of
pixels (Regan 2024, PASP 136, 024502). The profile here is a Moffat function.
"""

from __future__ import annotations

from dataclasses import replace
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


_NO = np.zeros(0, np.int32)
NONE: Final = CosmicRays(_NO, _NO, _NO, _NO, _NO, np.zeros(0, np.float32), _NO)
"""No charge."""


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
    return joined([_event(n, shape, readout, frames, rng) for n in range(number)])


def _event(
    number: int, shape: tuple[int, int], readout: Readout, frames: int, rng: np.random.Generator
) -> CosmicRays:
    """Return the charge of an event."""
    y0, x0 = (rng.uniform(-0.5, size - 0.5) for size in shape)
    core = float(np.exp(rng.uniform(*np.log(RADII))))
    reach = core * np.sqrt((CHARGE / FAINTEST) ** (1 / POWER) - 1)
    y = np.arange(max(0, int(y0 - reach)), min(shape[0], int(y0 + reach) + 2))[:, None]
    x = np.arange(max(0, int(x0 - reach)), min(shape[1], int(x0 + reach) + 2))[None, :]
    charge = rng.poisson(CHARGE * (1 + ((y - y0) ** 2 + (x - x0) ** 2) / core**2) ** -POWER)
    frame = int(rng.integers(1, frames + 1))
    return arrived(charge, (int(rng.integers(readout.nints)), frame), number, readout, (y[0, 0], x[0, 0]))


def arrived(
    charge: NDArray[Any],
    when: tuple[int, int],
    event: int,
    readout: Readout,
    corner: tuple[int, int] = (0, 0),
) -> CosmicRays:
    """Return the charge of an event that arrives in a frame.

    Parameters
    ----------
    charge : ndarray of int
        Electrons in each pixel of a part of the window.
    when : tuple of int
        Integration, and frame (1-based).
    event : int
        Its number.
    readout : Readout
        Sampling.
    corner : tuple of int
        First row and column of the part.
    """
    y, x = np.nonzero(charge)
    numbers = (*when, readout.group_of(when[1]), event)
    integration, frame, group, name = (np.full(y.size, number, np.int32) for number in numbers)
    rows, columns = ((at + first).astype(np.int32) for at, first in zip((y, x), corner, strict=True))
    return CosmicRays(integration, frame, group, rows, columns, charge[y, x].astype(np.float32), name)


def joined(parts: list[CosmicRays]) -> CosmicRays:
    """Return all of some charge, events numbered as they are."""
    parts = parts or [NONE]
    return CosmicRays(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in CosmicRays.__dataclass_fields__)
    )


def together(first: CosmicRays, second: CosmicRays) -> CosmicRays:
    """Return the charge of both, their events numbered on."""
    number = first.event.max(initial=-1) + 1
    return joined([first, replace(second, event=second.event + number)])
