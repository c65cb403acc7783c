"""Small ramps with known truth, for tests of single steps: charge and noise, no bias, no non-linearity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.detector import CosmicRays, generator
from simulator.readout import Readout


@dataclass(frozen=True)
class FlatRamp:
    """What to simulate."""

    rate: float = 10.0
    """Electrons per second, the same in all pixels."""
    shape: tuple[int, int] = (64, 64)
    ngroups: int = 10
    nints: int = 1
    nframes: int = 1
    groupgap: int = 0
    tframe: float = 10.73677
    """s."""
    gain: float = 2.0
    """Electrons per DN."""
    read_noise: float = 5.0
    """Of a single read, DN. A ``readnoise`` reference would hold `QuickRamp.cds_noise`."""
    hits: float = 0.0
    """Cosmic rays per pixel and integration."""
    hit_electrons: tuple[float, float] = (200.0, 20000.0)
    """Range of their charge, uniform in the logarithm."""
    seed: int = 1

    @property
    def readout(self) -> Readout:
        """The sampling."""
        return Readout("QUICK", self.nframes, self.groupgap, self.ngroups, self.nints, self.tframe)


@dataclass(frozen=True)
class QuickRamp:
    """A simulated ramp and its truth."""

    data: NDArray[np.float32]
    """Linear signal, DN, shape ``(nint, ngroup, ny, nx)``."""
    rate: float
    """True rate, DN/s."""
    gain: NDArray[np.float32]
    """Electrons per DN, shape ``(ny, nx)``."""
    cds_noise: NDArray[np.float32]
    """Noise of a difference of two reads, DN, shape ``(ny, nx)``: what a ``readnoise`` reference holds."""
    readout: Readout
    rays: CosmicRays

    @property
    def hit_groups(self) -> NDArray[np.bool_]:
        """Groups in which charge of a cosmic ray first shows, shape ``(nint, ngroup, ny, nx)``."""
        mask = np.zeros(self.data.shape, dtype=bool)
        mask[self.rays.integration, self.rays.group, self.rays.y, self.rays.x] = True
        return mask


def flat_ramp(settings: FlatRamp) -> QuickRamp:
    """Simulate evenly lit pixels: Poisson noise that later groups share, averaged frames, read noise, cosmic
    rays.

    Parameters
    ----------
    settings : FlatRamp
        What to simulate; equal settings give equal bytes.
    """
    rng = generator("quick", repr(settings))
    sampling = settings.readout
    rays = _hits(settings, rng)
    data = np.empty((settings.nints, settings.ngroups, *settings.shape), dtype=np.float32)
    for i in range(settings.nints):
        charge, last = np.zeros(settings.shape), 0
        for g in range(settings.ngroups):
            total = np.zeros(settings.shape)
            for frame in sampling.frames(g):
                charge += rng.poisson(settings.rate * sampling.tframe * (frame - last), settings.shape)
                now = (rays.integration == i) & (rays.frame > last) & (rays.frame <= frame)
                np.add.at(charge, (rays.y[now], rays.x[now]), rays.electrons[now])
                total += charge + settings.gain * settings.read_noise * rng.standard_normal(settings.shape)
                last = frame
            data[i, g] = total / sampling.nframes / settings.gain
    gain = np.full(settings.shape, settings.gain, dtype=np.float32)
    noise = np.full(settings.shape, np.sqrt(2) * settings.read_noise, dtype=np.float32)
    return QuickRamp(data, settings.rate / settings.gain, gain, noise, sampling, rays)


def _hits(settings: FlatRamp, rng: np.random.Generator) -> CosmicRays:
    sampling = settings.readout
    frames = sampling.frames(settings.ngroups - 1)[-1]
    ny, nx = settings.shape
    n = rng.poisson(settings.hits * settings.nints * ny * nx)
    frame = rng.integers(1, frames + 1, n).astype(np.int32)
    group = np.array([sampling.group_of(int(f)) for f in frame], dtype=np.int32)
    low, high = (float(np.log(electrons)) for electrons in settings.hit_electrons)
    charge = np.exp(rng.uniform(low, high, n)).astype(np.float32)
    y, x = (rng.integers(0, size, n).astype(np.int32) for size in (ny, nx))
    integration = rng.integers(0, settings.nints, n).astype(np.int32)
    return CosmicRays(integration, frame, group, y, x, charge, np.arange(n, dtype=np.int32))
