"""From the sky to a raw exposure and its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator import midinfrared
from simulator.detector import CR_RATE, CosmicRays, Electronics, Maps, cosmic_rays, generator, maps, ramp
from simulator.geometry import distortion
from simulator.instruments import bandpass, photmjsr
from simulator.observation import Exposure
from simulator.persistence import Traps
from simulator.references.camera import camera_psf, filter_offset, relative_area
from simulator.scene import Camera, Scene, render
from simulator.showers import showers
from simulator.snowballs import snowballs, together

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Simulated:
    """A raw exposure and what is true of it."""

    exposure: Exposure
    data: NDArray[np.uint16]
    """Raw ramps, DN, shape ``(nint, ngroup, ny, nx)``."""
    rate: Image
    """Noiseless rate of photons as the ``rate`` product should have it, DN/s, shape ``(ny, nx)``; 0 on
    reference pixels.
    """
    electrons: Image
    """The same in photoelectrons per second."""
    cal: Image
    """Noiseless surface brightness as the ``cal`` product should have it, MJy/sr."""
    x: NDArray[np.float64]
    """0-based pixel of each source of the scene, also of those outside, shape ``(nsource,)``."""
    y: NDArray[np.float64]
    rays: CosmicRays


def camera_of(exposure: Exposure) -> Camera:
    """Return the optics of an exposure."""
    d = distortion(exposure.detector)
    column, row = filter_offset(exposure.detector, exposure.pair)
    part = exposure.window

    def to_pixel(
        ra: NDArray[np.float64], dec: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = d.to_pixel(*exposure.pointing.to_v2v3(ra, dec))
        # The distortion is that of no filter: a pixel of this exposure, plus the offset, is its argument. The
        # pipeline adds the offset to full-frame pixels.
        return x - column - part.xstart + 1, y - row - part.ystart + 1

    area = d.nominal_area
    return Camera(
        part.shape,
        to_pixel,
        camera_psf(exposure.detector, exposure.pair),
        photmjsr(bandpass(*exposure.pair), exposure.detector, area),
        area,
        float(np.sqrt(area) * 180 / np.pi * 3600),
        relative_area(exposure.detector)[part.slices].astype(np.float64),
    )


def simulate(exposure: Exposure, scene: Scene, traps: Traps | None = None) -> Simulated:
    """Simulate an exposure; its random numbers depend on the request's seed and the exposure's name only.

    Parameters
    ----------
    exposure : Exposure
        What to take.
    scene : Scene
        What is on the sky.
    traps : Traps, optional
        Of the detector, as the exposures before have left them; followed through this one.
    """
    camera = camera_of(exposure)
    pixels = maps(exposure.detector).cut(exposure.window.slices)
    ideal = np.asarray(render(scene, camera), dtype=np.float32)
    sensitive = ~pixels.reference_pixels
    rate = ideal * pixels.response * sensitive
    electrons = rate * pixels.gain
    rng = generator(exposure.request.seed, exposure.name)
    part = exposure.window
    hits = CR_RATE * (midinfrared.HITS if exposure.detector.mid_infrared else 1)
    rays = cosmic_rays(part.shape, exposure.readout, rng, hits if exposure.request.cosmic_rays else 0.0)
    for name, draw in (("snowballs", snowballs), ("showers", showers)):
        if wanted := getattr(exposure.request, name):
            own = generator(exposure.request.seed, exposure.name, name)
            rays = together(rays, draw(part.shape, exposure.readout, own, wanted))
    data = _raw(exposure, pixels, (electrons, traps), rays, rng)
    x, y = camera.to_pixel(scene.ra, scene.dec)
    cal = np.asarray(ideal / camera.relative_area * camera.photmjsr, dtype=np.float32)
    return Simulated(exposure, data, rate, electrons, cal, x, y, _seen(rays, pixels))


def _raw(
    exposure: Exposure,
    pixels: Maps,
    charge: tuple[Image, Traps | None],
    rays: CosmicRays,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Return the raw ramps of electrons per second and of what comes out of traps."""
    electrons, traps = charge
    camera, part = exposure.detector, exposure.window
    if camera.mid_infrared:
        place = midinfrared.Placement(
            camera, part.name, part.slices, exposure.request.interference, exposure.request.coupling
        )
        return midinfrared.ramp(electrons, pixels, exposure.readout, place, rays, rng)
    axis = camera.amplifier_axis
    electronics = Electronics(
        exposure.outputs,
        axis,
        (part.ystart, part.xstart)[axis] - 1,
        drifts=_corrected(pixels),
        flicker=exposure.request.flicker / camera.gain,
        coupling=exposure.request.coupling,
        traps=traps,
    )
    if traps is not None:
        traps.wait(exposure.start)
    return ramp(electrons, pixels, exposure.readout, electronics, rays, rng)


def traps_of(exposure: Exposure) -> Traps | None:
    """Return the traps that an exposure's detector has before the first one, empty; None if it has none."""
    if not exposure.request.persistence or exposure.detector.mid_infrared:
        return None
    pixels = maps(exposure.detector).cut(exposure.window.slices)
    return Traps(pixels.traps * pixels.gain, pixels.true_well * pixels.gain)


def _corrected(pixels: Maps) -> bool:
    """Say whether the window has reference pixels. Without any, nothing could remove drifts, so none are put
    in.
    """
    return bool(pixels.reference_pixels.any())


def _seen(rays: CosmicRays, pixels: Maps) -> CosmicRays:
    """Return the hits on pixels that collect charge."""
    keep = ~pixels.reference_pixels[rays.y, rays.x]
    return CosmicRays(
        rays.integration[keep],
        rays.frame[keep],
        rays.group[keep],
        rays.y[keep],
        rays.x[keep],
        rays.electrons[keep],
        rays.event[keep],
    )
