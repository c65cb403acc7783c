"""A detector: its pixel maps, and the ramp that a rate image makes on a near-infrared one.

Forward from physics: photons and dark current arrive (Poisson, shared by all later reads), cosmic rays hit,
the well fills, the pixel's response bends, the bias and its drifts and the read noise come on top, and the
converter clips.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.dq import DQ
from simulator.flicker import pink_frame
from simulator.instruments import BORDER, FULL_SIZE, Detector
from simulator.persistence import DAY, DENSITY, Traps
from simulator.readout import Readout

Image = NDArray[np.float32]

ADC_LIMIT = 65535
SATURATION_MARGIN = 0.97
"""The saturation reference's threshold lies at so much of the full well."""
KTC_NOISE = 10.0
"""Scatter of a pixel's level from reset to reset, DN."""
AMPLIFIER_DRIFT = 6.0
"""Scatter of an amplifier's offset from group to group, DN."""
ODD_EVEN_DRIFT = 2.0
"""Scatter of the difference of odd and even columns, DN."""
ROW_DRIFT = 1.0
"""Scatter of the slow drift along the rows of a full frame, DN."""
ROW_SCALE = 150.0
"""Correlation length of that drift, rows."""
COUPLING = 0.005
"""Share of a pixel's signal that each of its four neighbours gets, where there is coupling."""


def generator(*names: object) -> np.random.Generator:
    """Return a random generator that depends on the names and nothing else."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


@dataclass(frozen=True)
class Maps:
    """Properties of every pixel; images of shape ``(ny, nx)``."""

    gain: Image
    """Electrons per DN."""
    read_noise: Image
    """Single read, DN."""
    bias: Image
    """Superbias, DN."""
    dark: Image
    """e-/s."""
    response: Image
    """Relative response to light without pixel area: the detector's own flat field."""
    quadratic: Image
    """Coefficient of the second power of the signal in the linearity correction, 1/DN."""
    cubic: Image
    """1/DN^2."""
    well: Image
    """Measured signal above the bias at which the pixel is full, DN."""
    dq: NDArray[np.uint32]
    """Standard data quality bits."""

    def cut(self, slices: tuple[slice, slice]) -> Maps:
        """Return the maps of a window, as contiguous copies."""
        return Maps(*(np.ascontiguousarray(getattr(self, field.name)[slices]) for field in fields(self)))

    @property
    def reference_pixels(self) -> NDArray[np.bool_]:
        """Pixels that see no light."""
        return np.asarray((self.dq & np.uint32(DQ.REFERENCE_PIXEL)) != 0)

    @property
    def true_well(self) -> Image:
        """Linear signal at which the pixel is full, DN."""
        return linearised(self.well, self)

    @property
    def traps(self) -> Image:
        """What the traps hold that a full well exposes, DN."""
        uneven = 1 + np.float32(0.5) * (self.bias - self.bias.mean()) / np.abs(self.bias).max()
        return np.where(self.reference_pixels, 0, np.float32(DENSITY) * uneven * self.true_well)

    @property
    def saturation(self) -> Image:
        """Raw level from which a pixel counts as saturated, DN."""
        return self.bias + np.float32(SATURATION_MARGIN) * self.well


@lru_cache(maxsize=1)
def maps(detector: Detector) -> Maps:
    """Return the full-frame maps of a detector; they depend on its name only."""
    rng = generator("detector", detector.name)
    shape = detector.shape
    dq = _bad_pixels(rng, shape, rows=not detector.mid_infrared)
    reference = (dq & np.uint32(DQ.REFERENCE_PIXEL)) != 0
    response = 1 + _smooth(rng, 0.02, shape) + np.float32(0.004) * normal(rng, shape)
    response[(dq & np.uint32(DQ.DEAD)) != 0] = 0.05
    dark = np.float32(detector.dark) * np.exp(np.float32(0.3) * normal(rng, shape))
    dark[(dq & np.uint32(DQ.HOT)) != 0] = 20.0
    dark[(dq & np.uint32(DQ.WARM)) != 0] = 0.2
    dark[reference] = 0
    response[reference] = 1
    columns = np.where(np.arange(shape[detector.amplifier_axis]) % 2, 40, -40).astype(np.float32)
    bias = detector.bias + _smooth(rng, 300.0, shape) + np.float32(25) * normal(rng, shape)
    bias += columns if detector.amplifier_axis == 1 else columns[:, None]
    return Maps(
        gain=detector.gain * (1 + _smooth(rng, 0.01, shape)),
        read_noise=np.float32(detector.read_noise) * (1 + np.float32(0.05) * normal(rng, shape)),
        bias=bias,
        dark=dark,
        response=response,
        quadratic=np.float32(8e-7) * (1 + np.float32(0.05) * normal(rng, shape)),
        cubic=np.float32(2e-12) * (1 + np.float32(0.05) * normal(rng, shape)),
        well=np.float32(detector.well) * (1 + np.float32(0.01) * normal(rng, shape)),
        dq=dq,
    )


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Image:
    """Return an image of standard normal numbers."""
    return rng.standard_normal(shape, dtype=np.float32)


def _smooth(rng: np.random.Generator, amplitude: float, shape: tuple[int, int]) -> Image:
    """Return a smooth full-frame image of that scatter: a few low spatial frequencies."""
    rows, columns = (_waves(size) for size in shape)
    weights = rng.normal(size=(4, 4)).astype(np.float32)
    weights[0, 0] = 0
    image = rows.T @ weights @ columns
    return np.asarray(image * np.float32(amplitude / image.std()), dtype=np.float32)


def _waves(size: int) -> Image:
    axis = np.linspace(0, np.pi, size, dtype=np.float32)
    return np.stack([np.cos(k * axis) for k in range(4)])


def _bad_pixels(rng: np.random.Generator, shape: tuple[int, int], rows: bool) -> NDArray[np.uint32]:
    """Return flags of bad and of reference pixels; the outermost rows are such only if `rows` is true."""
    dq = np.zeros(shape, dtype=np.uint32)
    draw = rng.random(shape, dtype=np.float32)
    dq[draw < 0.0006] = DQ.DEAD | DQ.DO_NOT_USE
    dq[(draw >= 0.0006) & (draw < 0.0010)] = DQ.HOT | DQ.DO_NOT_USE
    dq[(draw >= 0.0010) & (draw < 0.0020)] = DQ.WARM
    inner = (slice(BORDER, -BORDER) if rows else slice(None), slice(BORDER, -BORDER))
    border = np.ones(shape, dtype=bool)
    border[inner] = False
    dq[border] = DQ.REFERENCE_PIXEL
    return dq


@dataclass(frozen=True)
class CosmicRays:
    """Charge deposited by cosmic rays; arrays of shape ``(nhit,)``, one element per pixel and event."""

    integration: NDArray[np.int32]
    frame: NDArray[np.int32]
    """1-based frame during which the charge arrived."""
    group: NDArray[np.int32]
    """First group (0-based) in which it shows."""
    y: NDArray[np.int32]
    x: NDArray[np.int32]
    electrons: NDArray[np.float32]
    event: NDArray[np.int32]


CR_RATE = 5.0 * (1.8e-3) ** 2
"""Events per pixel and second: 5 per cm^2 and second on pixels of 18 micron."""


def cosmic_rays(
    shape: tuple[int, int], readout: Readout, rng: np.random.Generator, rate: float = CR_RATE
) -> CosmicRays:
    """Draw cosmic rays: isotropic straight tracks through a layer of 5 micron, with straggling.

    Parameters
    ----------
    shape : tuple of int
        Window ``(ny, nx)``.
    readout : Readout
        Frames to spread the events over, the gaps included.
    rng : numpy.random.Generator
        Source of randomness.
    rate : float
        Events per pixel and second.
    """
    frames = round(readout.integration_time / readout.tframe)
    n = rng.poisson(rate * shape[0] * shape[1] * readout.integration_time * readout.nints)
    y, x = rng.uniform(-0.5, shape[0] - 0.5, n), rng.uniform(-0.5, shape[1] - 0.5, n)
    cosine = np.sqrt(rng.uniform(0.01, 1, n))
    azimuth = rng.uniform(0, 2 * np.pi, n)
    length = 5 / 18 * np.sqrt(1 - cosine**2) / cosine
    total = 500 / cosine * np.exp(0.7 * rng.standard_normal(n))
    steps = 16
    along = (np.arange(steps) + 0.5) / steps * length[:, None]
    ty = np.rint(y[:, None] + along * np.sin(azimuth)[:, None]).astype(np.int64)
    tx = np.rint(x[:, None] + along * np.cos(azimuth)[:, None]).astype(np.int64)
    inside = (ty >= 0) & (ty < shape[0]) & (tx >= 0) & (tx < shape[1])
    event = np.broadcast_to(np.arange(n)[:, None], ty.shape)[inside]
    key, index = np.unique((event * shape[0] + ty[inside]) * shape[1] + tx[inside], return_inverse=True)
    charge = np.bincount(
        index, weights=np.repeat(total / steps, steps).reshape(n, steps)[inside], minlength=key.size
    )
    event, place = key // (shape[0] * shape[1]), key % (shape[0] * shape[1])
    frame = rng.integers(1, frames + 1, n)[event]
    group = np.array([readout.group_of(int(f)) for f in range(1, frames + 1)])[frame - 1] if n else frame
    integration = rng.integers(0, readout.nints, n)[event]
    y32, x32 = (place // shape[1]).astype(np.int32), (place % shape[1]).astype(np.int32)
    return CosmicRays(
        integration.astype(np.int32),
        frame.astype(np.int32),
        group.astype(np.int32),
        y32,
        x32,
        charge.astype(np.float32),
        event.astype(np.int32),
    )


def linearised(signal: Image, maps: Maps) -> Image:
    """Return the true signal of a measured one, both DN above the bias: the correction of the linearity
    reference.
    """
    return signal * (1 + signal * (maps.quadratic + signal * maps.cubic))


@njit(cache=True)
def read(charge, gain, quadratic, cubic, well, total):  # type: ignore[no-untyped-def]
    """Add to `total` what a noiseless read of `charge` (electrons) measures, DN above the bias.

    Newton's method on the linearity polynomial; its derivative is above 1, so it converges from the true
    signal.
    """
    for y in range(charge.shape[0]):
        for x in range(charge.shape[1]):
            full = well[y, x]
            limit = full * (1 + full * (quadratic[y, x] + full * cubic[y, x]))
            true = min(charge[y, x] / gain[y, x], limit)
            f = true
            for _ in range(4):
                value = f * (1 + f * (quadratic[y, x] + f * cubic[y, x])) - true
                f -= value / (1 + f * (2 * quadratic[y, x] + 3 * f * cubic[y, x]))
            total[y, x] += f


def coupled(signal: Image, sensitive: NDArray[np.bool_]) -> Image:
    """Return what is read of a signal where capacitance between pixels shows each of it to its neighbours.

    Reference pixels neither give nor get; beyond a window there is as much light as at its edge.
    """
    seen = np.where(sensitive, signal, np.float32(0))
    around = np.pad(seen, 1, mode="edge")
    near = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    given = np.float32(COUPLING) * np.where(sensitive, near - 4 * seen, np.float32(0))
    return np.asarray(signal + given, dtype=np.float32)


@dataclass(frozen=True)
class Electronics:
    """What the outputs, and the charge in traps, add to a window."""

    outputs: int
    amplifier_axis: int
    """Axis along which amplifiers and odd and even columns alternate."""
    first: int
    """Detector coordinate (0-based) of the window's first pixel along that axis."""
    drifts: bool = True
    traps: Traps | None = None
    """Of the exposures before; at the beginning of this one."""
    flicker: float = 0.0
    """1/f noise: DN for each electron that it has in `simulator.flicker`."""
    coupling: bool = False
    """Whether neighbours are coupled by the capacitance between them."""


def ramp(
    rate: Image,
    maps: Maps,
    readout: Readout,
    electronics: Electronics,
    rays: CosmicRays,
    rng: np.random.Generator,
    zeroframe: NDArray[np.uint16] | None = None,
) -> NDArray[np.uint16]:
    """Return the raw exposure that a rate of photoelectrons makes.

    Parameters
    ----------
    rate : ndarray
        Photoelectrons per second, shape ``(ny, nx)``; dark current is added here.
    maps : Maps
        The window's pixels.
    readout : Readout
        Sampling.
    electronics : Electronics
        Outputs and their drifts.
    rays : CosmicRays
        Charge to add.
    rng : numpy.random.Generator
        Source of randomness.
    zeroframe : ndarray of uint16, optional
        Shape ``(nint, ny, nx)``; gets the first frame of each integration, with a noise of its own.

    Returns
    -------
    ndarray of uint16
        Shape ``(nint, ngroup, ny, nx)``, DN.
    """
    light = np.where(maps.reference_pixels, 0, np.maximum(rate, 0) + maps.dark).astype(np.float64)
    data = np.empty((readout.nints, readout.ngroups, *rate.shape), dtype=np.uint16)
    order = np.argsort(rays.frame, kind="stable")
    sensitive = ~maps.reference_pixels
    traps = electronics.traps
    for i in range(readout.nints):
        charge = np.zeros(rate.shape, dtype=np.float32)
        reset = maps.bias + np.where(
            sensitive, np.float32(KTC_NOISE) * normal(rng, rate.shape), np.float32(0)
        )
        hits = order[rays.integration[order] == i]
        last = 0
        for g in range(readout.ngroups):
            total = np.zeros(rate.shape, dtype=np.float32)
            for frame in readout.frames(g):
                passed = readout.tframe * (frame - last)
                charge += rng.poisson(light * passed).astype(np.float32)
                if traps is not None:
                    charge += rng.poisson(traps.frame(passed)).astype(np.float32)
                now = hits[(rays.frame[hits] > last) & (rays.frame[hits] <= frame)]
                np.add.at(
                    charge,
                    (rays.y[now], rays.x[now]),
                    rays.electrons[now] * sensitive[rays.y[now], rays.x[now]],
                )
                if traps is not None:
                    traps.see(charge, passed)
                read(charge, maps.gain, maps.quadratic, maps.cubic, maps.well, total)
                if zeroframe is not None and frame == 1:
                    first = reset + _shown(total, electronics, sensitive)
                    first += _drift(rate.shape, electronics, rng)
                    first += maps.read_noise * normal(rng, rate.shape) + _flicker(
                        rate.shape, electronics, rng
                    )
                    zeroframe[i] = np.rint(first).clip(0, ADC_LIMIT)
                last = frame
            total = _shown(total, electronics, sensitive) / np.float32(readout.nframes)
            level = reset + total + _drift(rate.shape, electronics, rng)
            noise = maps.read_noise * normal(rng, rate.shape) + _flicker(rate.shape, electronics, rng)
            level += noise / np.float32(np.sqrt(readout.nframes))
            data[i, g] = np.rint(level).clip(0, ADC_LIMIT)
        if traps is not None:
            traps.reset()
            traps.wait(traps.moment + readout.tframe / DAY)
    return data


def _flicker(shape: tuple[int, int], electronics: Electronics, rng: np.random.Generator) -> Image:
    """Return the 1/f noise of one read, DN; nothing is drawn where there is none."""
    if not electronics.flicker:
        return np.zeros((1, 1), np.float32)
    frame = pink_frame(shape, electronics.outputs, electronics.amplifier_axis, rng)
    return np.float32(electronics.flicker) * frame


def _shown(signal: Image, electronics: Electronics, sensitive: NDArray[np.bool_]) -> Image:
    return coupled(signal, sensitive) if electronics.coupling else signal


def _drift(shape: tuple[int, int], electronics: Electronics, rng: np.random.Generator) -> Image:
    """Return one group's bias drift: an offset per amplifier and column parity, and a slow one along the
    rows.
    """
    axis = electronics.amplifier_axis
    position = electronics.first + np.arange(shape[axis])
    amplifier = (
        position * electronics.outputs // FULL_SIZE if electronics.outputs > 1 else np.zeros_like(position)
    )
    offset = AMPLIFIER_DRIFT * rng.normal(size=electronics.outputs)
    parity = ODD_EVEN_DRIFT * rng.normal(size=electronics.outputs)
    along = offset[amplifier] + np.where(position % 2, 0.5, -0.5) * parity[amplifier]
    across = np.zeros(shape[1 - axis])
    if electronics.outputs > 1:
        nodes = np.arange(-1, shape[1 - axis] / ROW_SCALE + 2)
        across = np.interp(
            np.arange(shape[1 - axis]) / ROW_SCALE, nodes, ROW_DRIFT * rng.normal(size=nodes.size)
        )
    scale = 1.0 if electronics.drifts else 0.0
    drift = along[None, :] + across[:, None] if axis == 1 else along[:, None] + across[None, :]
    return (scale * drift).astype(np.float32)
