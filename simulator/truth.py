"""What is true of a simulation, in files beside it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table

from simulator.exposure import Simulated, camera_of
from simulator.observation import Exposure
from simulator.scene import Scene, contamination

ISOLATED = 0.01
"""A star is isolated when neighbours add less than this fraction of its light to an aperture of 4 pixels."""


def catalogue(scene: Scene, exposure: Exposure) -> QTable:
    """Return the truth catalogue of a scene.

    Columns: ``id`` (from 1), ``ra``, ``dec`` (ICRS), ``flux`` (Jy, total), ``abmag``, ``kind`` (star or
    galaxy), ``radius`` (effective), ``sersic``, ``axis_ratio``, ``contamination`` and ``isolated``.

    Parameters
    ----------
    scene : Scene
        The sources.
    exposure : Exposure
        One of its exposures, for the PSF by which neighbours disturb each other.
    """
    camera = camera_of(exposure)
    spill = contamination(scene, camera.psf, camera.pixel_scale)
    table = QTable()
    table["id"] = np.arange(1, scene.ra.size + 1)
    table["ra"], table["dec"] = scene.ra * u.deg, scene.dec * u.deg
    table["flux"], table["abmag"] = scene.flux * u.Jy, scene.abmag
    table["kind"] = np.where(scene.is_star, "star", "galaxy")
    table["radius"], table["sersic"], table["axis_ratio"] = (
        scene.radius * u.arcsec,
        scene.index,
        scene.axis_ratio,
    )
    table["contamination"] = spill
    table["isolated"] = scene.is_star & (spill < ISOLATED)
    table.meta = {
        "filter": exposure.request.filter,
        "background": f"{scene.background} MJy/sr",
        "seed": exposure.request.seed,
        "isolated": f"star with contamination < {ISOLATED}",
    }
    return table


def write_catalogue(scene: Scene, exposure: Exposure, path: Path) -> None:
    """Write the truth catalogue as ECSV."""
    catalogue(scene, exposure).write(path, format="ascii.ecsv", overwrite=True)


def write_exposure(simulated: Simulated, path: Path) -> None:
    """Write the truth of an exposure.

    Extensions: ``RATE`` (DN/s), ``ELECTRONS`` (e-/s), ``CAL`` (MJy/sr), all noiseless and without dark
    current; ``COSMIC_RAYS`` (one row per pixel and event: integration, frame (from 1), group (0-based, the
    first that has the charge), y, x (0-based), electrons, event); ``SOURCES`` (id and 0-based x, y of sources
    within 10 pixels of the window).
    """
    ny, nx = simulated.rate.shape
    inside = (np.abs(simulated.x - nx / 2) < nx / 2 + 10) & (np.abs(simulated.y - ny / 2) < ny / 2 + 10)
    sources = np.array(
        list(zip(np.flatnonzero(inside) + 1, simulated.x[inside], simulated.y[inside], strict=True)),
        dtype=[("id", "i4"), ("x", "f8"), ("y", "f8")],
    )
    names = [field.name for field in fields(simulated.rays)]
    hits = Table({name: getattr(simulated.rays, name) for name in names}).as_array()
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(simulated.rate, name="RATE"),
        fits.ImageHDU(simulated.electrons, name="ELECTRONS"),
        fits.ImageHDU(simulated.cal, name="CAL"),
        fits.BinTableHDU(hits, name="COSMIC_RAYS"),
        fits.BinTableHDU(sources, name="SOURCES"),
    ]
    for hdu, unit in zip(hdus[1:4], ("DN/s", "electron/s", "MJy/sr"), strict=True):
        hdu.header["BUNIT"] = unit
    fits.HDUList(hdus).writeto(path, overwrite=True)
