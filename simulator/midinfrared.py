"""A MIRI detector: the ramp that a rate image makes on it.

Its ramps begin at a pedestal that goes through the converter's non-linearity with the light. On top come the
anomaly after each reset, the trace of the integration before (reset switch charge decay), the first-frame and
last-frame effects, drifts of the four outputs, and interference in step with the clock (JWST User
Documentation, MIRI detector pages; Ressler et al. 2015, PASP 127, 675).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UsageError
from simulator.detector import (
    ADC_LIMIT,
    KTC_NOISE,
    CosmicRays,
    Image,
    Maps,
    coupled,
    generator,
    linearised,
    normal,
    read,
)
from simulator.instruments import Detector
from simulator.readout import SAMPLE, Readout

PATTERNS: Final = {"FASTR1": (1, 0), "FASTGRPAVG": (4, 0), "SLOWR1": (1, 0)}
"""Read patterns: averaged frames of a group, dropped frames between groups."""
CLOCKS: Final = {
    "FULL": (271, 277504),
    "BRIGHTSKY": (162, 86528),
    "SUB256": (96, 29952),
    "SUB128": (44, 11904),
    "SUB64": (28, 8512),
    "SLITLESSPRISM": (28, 15904),
    "MASK1065": (82, 23968),
    "MASK1140": (82, 23968),
    "MASK1550": (82, 23968),
    "MASKLYOT": (90, 32400),
}
"""Ticks of the pixel clock that a row takes and that a frame takes, in fast readouts."""
SLOW_FULL: Final = (2333, 2388992)
"""The same for a full frame in slow readouts, which there are for no subarray."""
OUTPUTS: Final = 4
"""Outputs, each of which reads every fourth column."""
HITS: Final = (25 / 18) ** 2
"""Cosmic rays per pixel relative to the near infrared: pixels are of 25 micron."""

RESET_LEVEL: Final = 60.0
"""How far the first group after the first reset lies below the ramp, DN."""
RESET_DECAY: Final = 1.5
"""Groups in which that falls to 1/e."""
RESET_LATER: Final = 0.6
"""The anomaly of later integrations relative to that of the first."""
FIRST_FRAME: Final = -25.0
"""What the first group has too much, DN."""
AFTER_OTHERS: Final = (-0.02, -0.004)
"""What the first groups of later integrations have too much, as a fraction of the last signal before."""
LAST_FRAME: Final = -0.01
"""What the last group has too much, as a fraction of its signal, in every other row."""
DARK_TRANSIENT: Final = 5.0
"""What the dark of the first integration has in the end that those of later ones have not, DN."""
DARK_RISE: Final = 3.0
"""Groups in which it rises to 1 - 1/e."""
DRIFT: Final = 6.0
"""Scatter of an output's offset from group to group, DN, and of odd rows against even ones."""
FREQUENCY: Final = 406.0
"""Of the interference, Hz: near one of the real ones, and no window's frame takes about a whole number of
periods, else ramps of few groups would not tell it from a slope."""

GROUPS_LEFT_OUT: Final = (1, 2)
"""Groups that the effects above spoil in the first and in later integrations."""


@dataclass(frozen=True)
class Placement:
    """Which window of which detector is read, and how it is disturbed.

    Attributes
    ----------
    detector : Detector
        The detector.
    subarray : str
        Name of the window.
    slices : tuple of slice
        That cut it out of a full frame.
    interference : float
        Amplitude of the interference, DN.
    coupling : bool
        Whether neighbours are coupled by the capacitance between them.
    """

    detector: Detector
    subarray: str
    slices: tuple[slice, slice]
    interference: float = 0.0
    coupling: bool = False


def clock(subarray: str, pattern: str) -> tuple[int, int]:
    """Return the ticks that a row and a frame take.

    Raises
    ------
    UsageError
        If there is no such readout.
    """
    name = subarray.upper()
    slow = pattern.upper().startswith("SLOW")
    if name not in CLOCKS or (slow and name != "FULL"):
        raise UsageError(
            f"MIRI does not read {name} in {pattern}; choose from {', '.join(CLOCKS)}, or FULL if slow"
        )
    return SLOW_FULL if slow else CLOCKS[name]


def frame_time(subarray: str, pattern: str) -> float:
    """Return the time to read a window, s."""
    return clock(subarray, pattern)[1] * SAMPLE


def samples(pattern: str) -> int:
    """Return how often each pixel is sampled in a frame."""
    return 9 if pattern.upper().startswith("SLOW") else 1


def reset_anomaly(detector: Detector, slices: tuple[slice, slice], ngroups: int) -> Image:
    """Return what a reset adds to the groups that follow, DN, shape (2, ngroup, ny, nx).

    The first is for the first integration, the second for all others.
    """
    ny, nx = detector.shape
    level = RESET_LEVEL * (1 + 0.2 * generator("reset", detector.name).standard_normal((ny, nx)))[slices]
    level[_reference_columns(detector, slices, level.shape)] = 0
    decay = np.exp(-np.arange(ngroups) / RESET_DECAY)
    scale = np.array([1, RESET_LATER])[:, None] * decay
    return np.asarray(-scale[:, :, None, None] * level, dtype=np.float32)


def dark_transient(detector: Detector, slices: tuple[slice, slice], ngroups: int) -> Image:
    """Return what the dark of the first integration has more than its current, DN, shape (ngroup, ny, nx)."""
    level = DARK_TRANSIENT * generator("transient", detector.name).uniform(0.5, 1.5, detector.shape)[slices]
    level[_reference_columns(detector, slices, level.shape)] = 0
    rise = 1 - np.exp(-(np.arange(ngroups) + 1) / DARK_RISE)
    return np.asarray(rise[:, None, None] * level, dtype=np.float32)


def _reference_columns(
    detector: Detector, slices: tuple[slice, slice], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    x = np.arange(detector.shape[1])[slices[1]]
    return np.broadcast_to((x < 4) | (x >= detector.shape[1] - 4), shape)


def waveform(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the interference at phases, in units of its amplitude."""
    turn = 2 * np.pi * np.asarray(phase)
    return np.asarray(np.sin(turn) + 0.3 * np.sin(2 * turn + 1.0), dtype=np.float64)


def interference(shape: tuple[int, int], place: Placement, pattern: str, frame: int, start: float) -> Image:
    """Return the disturbance of one frame, DN, from the times at which its pixels are read.

    Parameters
    ----------
    shape : tuple of int
        Window (ny, nx).
    place : Placement
        Where it is; the amplitude.
    pattern : str
        Read pattern.
    frame : int
        Frames since the exposure began, those between integrations included.
    start : float
        Phase at the beginning of the exposure.
    """
    ny, nx = shape
    row, whole = clock(place.subarray, pattern)
    columns = np.arange(nx)[None, :] // OUTPUTS * samples(pattern)
    ticks = np.arange(ny)[:, None] * row + columns + frame * whole
    phase = np.asarray(start + ticks * SAMPLE * FREQUENCY, dtype=np.float64)
    return np.asarray(place.interference * waveform(phase), dtype=np.float32)


def ramp(
    rate: Image, maps: Maps, readout: Readout, place: Placement, rays: CosmicRays, rng: np.random.Generator
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
    place : Placement
        Where the window is.
    rays : CosmicRays
        Charge to add.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of uint16
        Shape ``(nint, ngroup, ny, nx)``, DN.
    """
    sensitive = ~maps.reference_pixels
    light = np.where(sensitive, np.maximum(rate, 0) + maps.dark, 0).astype(np.float64)
    resets = reset_anomaly(place.detector, place.slices, readout.ngroups)
    transient = dark_transient(place.detector, place.slices, readout.ngroups) * maps.gain
    data = np.empty((readout.nints, readout.ngroups, *rate.shape), dtype=np.uint16)
    before = np.zeros(rate.shape, dtype=np.float32)
    phase = float(rng.uniform())
    for i in range(readout.nints):
        pedestal = maps.bias + np.float32(KTC_NOISE) * normal(rng, rate.shape)
        charge, last = _linearised(pedestal, maps, sensitive) * maps.gain, 0
        for g in range(readout.ngroups):
            total = np.zeros(rate.shape, dtype=np.float32)
            for frame in readout.frames(g):
                charge += rng.poisson(light * (readout.tframe * (frame - last))).astype(np.float32)
                _hit(charge, rays, (i, last, frame), sensitive)
                extra = transient[g] if i == 0 else np.float32(0)
                seen = np.zeros(rate.shape, dtype=np.float32)
                _measure(charge + extra, maps, sensitive, seen)
                total += coupled(seen, sensitive) if place.coupling else seen
                if place.interference:
                    count = i * (readout.frames(readout.ngroups - 1)[-1] + 1) + frame - 1
                    total += interference(rate.shape, place, readout.pattern, count, phase)
                last = frame
            level = total / np.float32(readout.nframes) + resets[min(i, 1), g]
            signal = np.where(sensitive, level - pedestal, 0)
            level += _spoilt(signal, before, (i, g, readout.ngroups), sensitive)
            level += _drift(rate.shape, place.detector, rng)
            level += maps.read_noise / np.float32(np.sqrt(readout.nframes)) * normal(rng, rate.shape)
            data[i, g] = np.rint(level).clip(0, ADC_LIMIT)
        before = signal
    return data


def _linearised(level: Image, maps: Maps, sensitive: NDArray[np.bool_]) -> Image:
    """Return the linear signal; reference pixels are not corrected, so they are linear here."""
    return np.where(sensitive, linearised(level, maps), level)


def _hit(charge: Image, rays: CosmicRays, when: tuple[int, int, int], sensitive: NDArray[np.bool_]) -> None:
    """Add the cosmic rays of an integration after one frame up to another."""
    i, last, frame = when
    now = np.flatnonzero((rays.integration == i) & (rays.frame > last) & (rays.frame <= frame))
    where = rays.y[now], rays.x[now]
    np.add.at(charge, where, rays.electrons[now] * sensitive[where])


def _measure(charge: Image, maps: Maps, sensitive: NDArray[np.bool_], total: Image) -> None:
    """Add to `total` what a noiseless read measures, DN: the well is full at its level above the pedestal."""
    bent = sensitive.astype(np.float32)
    read(charge, maps.gain, maps.quadratic * bent, maps.cubic * bent, maps.bias + maps.well, total)


def _spoilt(signal: Image, before: Image, when: tuple[int, int, int], sensitive: NDArray[np.bool_]) -> Image:
    """Return what a group has too much because it is among the first or is the last one, DN."""
    i, g, ngroups = when
    extra = np.zeros(signal.shape, dtype=np.float32)
    if g == 0:
        extra += np.float32(FIRST_FRAME)
    if i and g < len(AFTER_OTHERS):
        extra += np.float32(AFTER_OTHERS[g]) * before
    if g == ngroups - 1:
        extra[1::2] += np.float32(LAST_FRAME) * signal[1::2]
    return np.where(sensitive, extra, np.float32(0))


def _drift(shape: tuple[int, int], detector: Detector, rng: np.random.Generator) -> Image:
    """Return one group's drift of each output in odd and in even rows.

    Subarrays have none: nothing could remove it there.
    """
    if shape != detector.shape:
        return np.zeros(shape, dtype=np.float32)
    offset = DRIFT * rng.normal(size=(2, OUTPUTS))
    rows, columns = np.arange(shape[0]) % 2, np.arange(shape[1]) % OUTPUTS
    return np.asarray(offset[rows[:, None], columns[None, :]], dtype=np.float32)
