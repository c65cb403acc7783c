"""Isolated stars through the simulator's optics, with noise, on calibrated images: no ramps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

from processors.image2 import assign_wcs, photom
from processors.image3 import ImageSet, resample, source_catalog
from schemas.meta import Meta
from schemas.products import Rate
from schemas.reading import read
from schemas.reference_files import MODELS, load
from schemas.references import References, Window
from simulator import level1b
from simulator.detector import CosmicRays
from simulator.exposure import Simulated, camera_of
from simulator.observation import TARGET, Exposure, Request, corners, plan
from simulator.references import camera
from simulator.scene import Scene, render

SPACING = 64
"""Pixels between stars: their annuli reach 26, and light falls to some millionths."""
ELECTRONS = {"bright": 4e5, "faint": 2e4}
"""Of a star in all exposures of a mosaic together."""
READ_NOISE = 12.0
"""Of a pixel's whole exposure, electrons; its variance is a tenth uneven, as that of real detectors."""
COVERED = 28
"""Pixels around a star that all exposures must cover."""


@dataclass(frozen=True, eq=False)
class Observation:
    """Dithered exposures of one detector through one filter."""

    exposures: list[Exposure]
    metas: list[Meta]
    references: References

    def images(self, scene, kind, rng, count):
        """Calibrated images of the first exposures; the electrons are shared among them."""
        made = []
        for exposure, meta in zip(self.exposures[:count], self.metas[:count], strict=True):
            optics = camera_of(exposure)
            rate = render(scene, optics) / optics.relative_area
            light = scene.flux[0] / 1e6 / optics.photmjsr / optics.pixel_area
            electrons = ELECTRONS[kind] / count / light
            even = np.clip(rng.normal(1, 0.1, rate.shape), 0.5, 1.5)
            variances = {"var_poisson": rate / electrons, "var_rnoise": even * (READ_NOISE / electrons) ** 2}
            err = np.sqrt(variances["var_poisson"] + variances["var_rnoise"])
            planes = {"data": rate + rng.normal(size=rate.shape) * err, "err": err, **variances}
            image = Rate(
                meta=meta, dq=np.zeros(rate.shape, np.uint32),
                **{name: plane.astype(np.float32) for name, plane in planes.items()},
            )  # fmt: skip
            made.append(photom(assign_wcs(image, self.references), self.references))
        return made


def observe(folder: Path, detector: str, band: str, subarray: str = "SUB640") -> Observation:
    """Return four dithered exposures: their headers, and the references of their optics."""
    request = Request(
        detectors=(detector,), filter=band, subarray=subarray, ngroups=2, dithers=4, cosmic_rays=False
    )
    exposures = plan(request)
    return Observation(
        exposures=exposures,
        metas=[_header(exposure, folder) for exposure in exposures],
        references=_references(exposures[0], folder),
    )


def _header(exposure, folder):
    """Metadata of a Level-1b file, without taking the exposure."""
    nothing, dark = np.zeros(0), np.zeros(exposure.window.shape, np.float32)
    rays = CosmicRays(*[nothing.astype(int)] * 7)
    ramp = np.zeros((1, 2, *dark.shape), np.uint16)
    blank = Simulated(exposure, ramp, dark, dark, dark, nothing, nothing, rays)
    path = folder / f"{exposure.name}_uncal.fits"
    level1b.write(blank, path)
    return read(path).meta


def _references(exposure, folder):
    camera_, pair = exposure.detector, exposure.pair
    files = {
        "distortion": lambda path: camera.write_distortion(camera_, path),
        "filteroffset": lambda path: camera.write_filteroffset(camera_, path),
        "photom": lambda path: camera.write_photom(camera_, path),
        "area": lambda path: camera.write_area(camera_, path),
        "apcorr": lambda path: camera.write_apcorr("NIRCAM", camera.corrections(pair, camera_), path),
        "abvegaoffset": lambda path: camera.write_abvegaoffset("NIRCAM", [pair], path),
    }
    part = exposure.window
    held = {}
    for reftype, write in files.items():
        path = folder / f"{reftype}.{'asdf' if reftype in MODELS else 'fits'}"
        write(path)
        held[reftype] = load(
            path, reftype, "0" * 64, Window(part.xstart - 1, part.ystart - 1, part.nx, part.ny)
        )
    return References(held)


def lattice(observation: Observation, rng: np.random.Generator) -> Scene:
    """Equal stars on a jittered lattice over all exposures, on a dark sky."""
    ra0, dec0 = TARGET
    across = np.cos(np.deg2rad(dec0))
    edges = np.concatenate([corners(exposure) for exposure in observation.exposures], axis=1)
    step = SPACING * camera_of(observation.exposures[0]).pixel_scale / 3600
    axes = ((edges[0] - ra0) * across, edges[1] - dec0)
    grids = np.meshgrid(*[np.arange(axis.min(), axis.max(), step) for axis in axes])
    x, y = (grid.ravel() + rng.uniform(-1.5, 1.5, grid.size) * step / SPACING for grid in grids)
    one = np.ones(x.size)
    return Scene(
        ra=ra0 + x / across, dec=dec0 + y, flux=1e-6 * one, radius=0 * one, index=one, axis_ratio=one,
        angle=one, background=1e-3,
    )  # fmt: skip


@cache
def measured(observation, kind, count, seed, keep_pixel_maps=True, **options):
    """Fluxes over the true ones, and their errors, of stars that all exposures cover well."""
    rng = np.random.default_rng(seed)
    scene = lattice(observation, rng)
    images = observation.images(scene, kind, rng, count)
    mosaic = resample(
        ImageSet.of([lambda image=image: image for image in images], headers=[i.meta for i in images]),
        keep_pixel_maps=keep_pixel_maps,
    )
    sources = source_catalog(mosaic, observation.references, **options).catalogue.sources
    true = SkyCoord(scene.ra, scene.dec, unit="deg")
    index, distance, _ = true.match_to_catalog_sky(sources["sky_centroid"])
    near = distance.arcsec < camera_of(observation.exposures[0]).pixel_scale
    chosen = near & covered(images, scene)
    flux, err = (sources[name][index[chosen]].value for name in ("aper_total_flux", "aper_total_flux_err"))
    return flux / scene.flux[chosen], err / scene.flux[chosen]


def covered(images, scene):
    """Stars whose annuli lie on all images."""
    inside = np.ones(scene.ra.size, bool)
    for image in images:
        x, y = image.meta.wcs.invert(scene.ra, scene.dec, with_bounding_box=False)
        ny, nx = image.data.shape
        inside &= (x > COVERED) & (x < nx - 1 - COVERED) & (y > COVERED) & (y < ny - 1 - COVERED)
    return inside
