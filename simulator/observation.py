"""A small observing programme: which exposures are taken, where the telescope points, and what is on the sky
there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UsageError
from simulator import midinfrared
from simulator.detector import generator
from simulator.geometry import Pointing, Window, distortion, window
from simulator.instruments import (
    DETECTORS,
    LONG_FILTERS,
    MIRI_FILTERS,
    SHORT_FILTERS,
    Detector,
    bandpass,
    detector,
    photmjsr,
    wheels,
)
from simulator.readout import PATTERNS, Readout, frame_time, readout
from simulator.references.camera import camera_psf
from simulator.scene import Field, Population, Scene, draw

TARGET = (80.4875, -69.4975)
"""Right ascension and declination of the field, deg."""
POSITION_ANGLE = 37.0
"""Position angle of V3 at the target, deg."""
START = 59780.5
"""Start of the first exposure, MJD (UTC)."""
VELOCITY_ABERRATION = 1.00001
MID_INFRARED_SKY = 10.0
"""Zodiacal light at 7.7 micron, MJy/sr."""


@dataclass(frozen=True)
class Request:
    """What is asked of the observatory."""

    exp_type: str = "NRC_IMAGE"
    detectors: tuple[str, ...] = ("NRCA1", "NRCA3")
    filter: str = "F200W"
    subarray: str = "SUB320"
    pattern: str = "RAPID"
    ngroups: int = 6
    nints: int = 1
    dithers: int = 4
    seed: int = 1
    sources: int | None = None
    """Sources at most; all that fit, unless said."""
    program: str = "01234"
    observation: str = "001"
    cosmic_rays: bool = True
    interference: float = 2.0
    """Amplitude of the interference that disturbs MIRI, DN."""
    snowballs: float = 0.0
    """Large events per pixel and second."""
    persistence: bool = False
    """Whether traps of near-infrared detectors keep charge from one exposure to the next."""
    flicker: float = 0.0
    """1/f noise of the near-infrared detectors, relative to what `simulator.flicker` says is typical."""
    showers: float = 0.0
    """Extended faint events per pixel and second."""
    coupling: bool = False
    """Whether neighbours are coupled by the capacitance between them; there is a reference for it then."""


@dataclass(frozen=True)
class Exposure:
    """One exposure of one detector."""

    name: str
    detector: Detector
    window: Window
    readout: Readout
    pair: tuple[str, str]
    """FILTER and PUPIL."""
    pointing: Pointing
    """At the window's reference point."""
    dither: int
    """1-based."""
    offset: tuple[float, float]
    """Dither offset in V2 and V3, arcsec."""
    start: float
    """MJD (UTC)."""
    request: Request

    @property
    def outputs(self) -> int:
        """Number of outputs that the window is read through."""
        return outputs(self.detector, self.window)


def outputs(camera: Detector, part: Window) -> int:
    """Return the number of outputs that read a window.

    MIRI's four outputs share every row. NIRCam's read a full frame together, and one reads a small window.
    """
    return 4 if camera.mid_infrared or part.nx == camera.shape[1] else 1


@dataclass(frozen=True)
class Usual:
    """What an exposure type is taken with unless said."""

    instrument: str
    detectors: tuple[str, ...]
    filter: str
    subarray: str
    pattern: str


IFU: Final = ("MIRIFULONG", "MIRIFUSHORT")
"""Detectors that take no images."""
USUAL: Final = {
    "NRC_IMAGE": Usual("NIRCAM", ("NRCA1", "NRCA3"), "F200W", "SUB320", "RAPID"),
    "MIR_IMAGE": Usual("MIRI", ("MIRIMAGE",), "F770W", "SUB256", "FASTR1"),
}
EXP_TYPES = tuple(USUAL)
"""Exposure types that can be simulated."""


def plan(request: Request) -> list[Exposure]:
    """Return the exposures of a request.

    Raises
    ------
    UsageError
        If something in the request is not known or does not go together.
    """
    if request.exp_type.upper() not in EXP_TYPES:
        raise UsageError(f"{request.exp_type} cannot be simulated; choose from {', '.join(EXP_TYPES)}")
    if request.dithers < 1:
        raise UsageError(f"{request.dithers} dithers: there must be at least 1")
    cameras = [_camera(name, request) for name in request.detectors]
    windows = [window(camera, request.subarray) for camera in cameras]
    middle = tuple(np.mean([w.v2v3 for w in windows], axis=0))
    exposures, start = [], START
    for dither, offset in enumerate(_dithers(request.dithers, windows[0], cameras[0]), 1):
        base = Pointing(*TARGET, POSITION_ANGLE, (middle[0] + offset[0], middle[1] + offset[1]))
        for camera, part in zip(cameras, windows, strict=True):
            sampling = _readout(request, camera, part)
            name = f"jw{request.program}{request.observation}001_02101_{dither:05d}_{camera.name.lower()}"
            exposures.append(
                Exposure(
                    name,
                    camera,
                    part,
                    sampling,
                    wheels(request.filter),
                    replace(base.at(part.v2v3), va_scale=VELOCITY_ABERRATION),
                    dither,
                    offset,
                    start,
                    request,
                )
            )
        start += (exposures[-1].readout.integration_time * request.nints + 60) / 86400
    return exposures


def _readout(request: Request, camera: Detector, part: Window) -> Readout:
    if camera.mid_infrared:
        tframe, patterns = midinfrared.frame_time(part.name, request.pattern), midinfrared.PATTERNS
    else:
        tframe, patterns = frame_time(part.shape, outputs(camera, part)), PATTERNS
    return readout(request.pattern, request.ngroups, request.nints, tframe, patterns)


def _camera(name: str, request: Request) -> Detector:
    camera = detector(name)
    wanted = USUAL[request.exp_type.upper()]
    known = [d.name for d in DETECTORS.values() if d.instrument == wanted.instrument and d.name not in IFU]
    if camera.name not in known:
        raise UsageError(f"{request.exp_type} is taken with {', '.join(known)}, not with {camera.name}")
    if request.filter.upper() not in (filters := _filters(camera)):
        raise UsageError(f"{camera.name} has no filter {request.filter}; choose from {', '.join(filters)}")
    return camera


def _filters(camera: Detector) -> tuple[str, ...]:
    if camera.mid_infrared:
        return MIRI_FILTERS
    return LONG_FILTERS if camera.channel == "LONG" else SHORT_FILTERS


def _dithers(count: int, part: Window, camera: Detector) -> list[tuple[float, float]]:
    """Return offsets that step several pixels and sub-pixel phases: points of a golden-angle spiral."""
    scale = np.sqrt(distortion(camera).nominal_area) * 180 / np.pi * 3600
    reach = 0.06 * part.nx * scale
    k = np.arange(count)
    radius, angle = reach * np.sqrt(k / max(count - 1, 1)), k * np.pi * (3 - np.sqrt(5))
    return [(float(x), float(y)) for x, y in zip(radius * np.cos(angle), radius * np.sin(angle), strict=True)]


def corners(exposure: Exposure) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return right ascension and declination of a window's four corners, deg."""
    ny, nx = exposure.window.shape
    x = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5]) + exposure.window.xstart - 1
    y = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5]) + exposure.window.ystart - 1
    return exposure.pointing.to_sky(*distortion(exposure.detector).to_v2v3(x, y))


def sky(exposures: list[Exposure]) -> Scene:
    """Return the scene that covers some exposures.

    The brightest stars fill 45 per cent of the well of their central pixel, and the faintest have a tenth of
    their light, so that the signal-to-noise ratio of all is high whatever the readout. One more is brighter
    by 3.5 mag and saturates.
    """
    request, first = exposures[0].request, exposures[0]
    ra0, dec0 = TARGET
    xi, eta = [], []
    for exposure in exposures:
        ra, dec = np.deg2rad(corners(exposure))
        a0, d0 = np.deg2rad([ra0, dec0])
        cosine = np.sin(d0) * np.sin(dec) + np.cos(d0) * np.cos(dec) * np.cos(ra - a0)
        xi.append(np.cos(dec) * np.sin(ra - a0) / cosine)
        eta.append((np.cos(d0) * np.sin(dec) - np.sin(d0) * np.cos(dec) * np.cos(ra - a0)) / cosine)
    arcsec = 180 / np.pi * 3600
    x, y = np.concatenate(xi) * arcsec, np.concatenate(eta) * arcsec
    field = Field(ra0, dec0, (x.min() - 1, x.max() + 1), (y.min() - 1, y.max() + 1))
    scale = np.sqrt(distortion(first.detector).nominal_area) * arcsec
    spacing = (50 if first.window.nx <= 400 else 64) * scale
    population = Population(spacing=spacing, bright=_brightest(first), count=request.sources)
    if first.detector.mid_infrared:
        population = replace(population, background=MID_INFRARED_SKY)
    return draw(field, population, generator(request.seed, "scene", request.program, request.filter))


def _brightest(exposure: Exposure) -> float:
    """Return the AB magnitude of a star that fills 45 per cent of the well of its brightest pixel."""
    camera = exposure.detector
    area = distortion(camera).nominal_area
    peak = camera_psf(camera, exposure.pair).stamp(0, 0).max()
    rate = 0.45 * camera.well / exposure.readout.integration_time / peak
    flux = rate * photmjsr(bandpass(*exposure.pair), camera, area) * area * 1e6
    return float(-2.5 * np.log10(flux / 3631))
