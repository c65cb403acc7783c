"""Exposures of any near-infrared detector to a lamp: no sky and no optics, but all that a detector does.

For the steps of stage 1, which do not care where light comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UsageError
from simulator import irs2, level1b
from simulator.detector import Electronics, Maps, cosmic_rays, generator, maps, ramp
from simulator.instruments import FULL_SIZE, Detector, detector
from simulator.readout import OTHERS, PATTERNS, Readout, frame_time


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """What is exposed, and how."""

    detector: str
    exp_type: str
    pattern: str
    subarray: str = "FULL"
    corner: tuple[int, int] = (1, 1)
    """First column and row, 1-based, as SUBSTRT1 and SUBSTRT2 say it."""
    size: tuple[int, int] = (FULL_SIZE, FULL_SIZE)
    """Columns and rows of the detector."""
    ngroups: int = 4
    nints: int = 1
    rate: float = 30.0
    """Mean of the light on the detector, e-/s."""
    spots: int = 40
    """Bright spots, up to such as saturate within a group."""
    zeroframe: bool = False
    """Whether the first frame of each integration is kept."""
    keywords: tuple[tuple[str, str], ...] = ()
    """Further FITS keywords of the primary header, for example FILTER."""
    seed: int = 1
    flicker: float = field(default=0.0, repr=False)
    """1/f noise, relative to what `simulator.flicker` says is typical; the other noise does not change."""

    def check(self) -> None:
        """Refuse what cannot be exposed.

        Raises
        ------
        UsageError
            If there is no such detector or read pattern, nothing to read, a window that is not on the
            detector, or an IRS2 readout of less than the whole.
        """
        irs2_ = irs2.is_irs2(self.pattern)
        if self.pattern not in PATTERNS | OTHERS:
            raise UsageError(
                f"there is no read pattern {self.pattern!r}; choose from {', '.join(PATTERNS | OTHERS)}"
            )
        if irs2_ and (self.camera.instrument != "NIRSPEC" or self.size != (FULL_SIZE, FULL_SIZE)):
            raise UsageError(
                f"{self.pattern} reads NIRSpec's full frames only; choose NRS1 or NRS2, and FULL"
            )
        if irs2_ and self.flicker:
            raise UsageError("1/f noise of IRS2 readouts is not simulated; leave it out, or choose NRSRAPID")
        if self.ngroups < 1 or self.nints < 1:
            raise UsageError(f"{self.ngroups} groups and {self.nints} integrations: both must be at least 1")
        ends = [first + length - 1 for first, length in zip(self.corner, self.size, strict=True)]
        if min(*self.corner, *self.size) < 1 or max(ends) > FULL_SIZE:
            raise UsageError(
                f"{self.size[0]} x {self.size[1]} pixels from {self.corner} do not lie on a detector of "
                f"{FULL_SIZE} x {FULL_SIZE}; give another --corner or --size"
            )

    @property
    def camera(self) -> Detector:
        """The detector's constants."""
        return detector(self.detector)

    @property
    def outputs(self) -> int:
        """Outputs that read it: four where all columns along an amplifier's rows are read."""
        return 4 if self.size == (FULL_SIZE, FULL_SIZE) else 1

    @property
    def readout(self) -> Readout:
        """The sampling."""
        nframes, gap = (PATTERNS | OTHERS)[self.pattern]
        tframe = irs2.FRAME_TIME if irs2.is_irs2(self.pattern) else frame_time(self.size[::-1], self.outputs)
        return Readout(self.pattern, nframes, gap, self.ngroups, self.nints, tframe)


def light(request: Lamp) -> NDArray[np.float32]:
    """Return the photoelectrons per second that the lamp makes (ny, nx)."""
    nx, ny = request.size
    rng = generator("lamp", repr(request))
    y, x = np.mgrid[:ny, :nx].astype(np.float32)
    image = request.rate * (1 + 0.3 * np.sin(x / 40 + 1) * np.cos(y / 55))
    for magnitude in np.linspace(0, 1, request.spots):
        at, of = rng.uniform(0, ny), rng.uniform(0, nx)
        rows = slice(max(0, int(at) - 12), int(at) + 13)
        columns = slice(max(0, int(of) - 12), int(of) + 13)
        near = np.exp(-((y[rows, columns] - at) ** 2 + (x[rows, columns] - of) ** 2) / 6)
        image[rows, columns] += (
            3 * request.camera.well / request.readout.tgroup * 10 ** (-3 * magnitude) * near
        )
    return image


def expose(request: Lamp) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None]:
    """Return the raw ramps (nint, ngroup, y, nx) of an exposure and its zero frames, DN."""
    (x, y), (nx, ny) = request.corner, request.size
    camera, sampling = request.camera, request.readout
    pixels: Maps = maps(camera).cut((slice(y - 1, y - 1 + ny), slice(x - 1, x - 1 + nx)))
    rng = generator("lamp exposure", repr(request))
    interleaved = irs2.is_irs2(request.pattern)
    drifts = bool(pixels.reference_pixels.any()) and not interleaved
    axis = camera.amplifier_axis
    electronics = Electronics(
        request.outputs, axis, (y, x)[axis] - 1, drifts=drifts, flicker=request.flicker / camera.gain
    )
    rays = cosmic_rays((ny, nx), sampling, rng)
    zero = np.zeros((sampling.nints, ny, nx), np.uint16) if request.zeroframe else None
    data = ramp(light(request) * pixels.response, pixels, sampling, electronics, rays, rng, zero)
    if not interleaved:
        return data, zero
    noise = camera.read_noise
    made = np.stack([irs2.add_readout(one, camera, noise / np.sqrt(sampling.nframes), rng) for one in data])
    return made, None if zero is None else irs2.add_readout(zero, camera, noise, rng)


def write_lamp(request: Lamp, path: Path) -> Path:
    """Write an exposure as a Level-1b file, and return its path.

    Parameters
    ----------
    request : Lamp
        The exposure.
    path : Path
        File to write, ``..._uncal.fits``.
    """
    from stdatamodels.jwst import datamodels

    data, zero = expose(request)
    with datamodels.Level1bModel(data, strict_validation=True) as model:
        if zero is not None:
            model.zeroframe = zero
        for key, value in _meta(request).items():
            model[f"meta.{key}"] = value
        level1b.save(model, path, request.keywords)
    return path


def _meta(request: Lamp) -> dict[str, Any]:
    camera, sampling = request.camera, request.readout
    meta = {
        "telescope": "JWST",
        "origin": "CALSTREAM simulator",
        "filetype": "raw",
        "observation.date": "2022-07-20",
        "observation.time": "12:00:00.000",
        "observation.program_number": "01234",
        "observation.observation_number": "009",
        "observation.visit_number": "001",
        "visit.type": "PRIME_TARGETED_FIXED",
        "visit.tsovisit": False,
        "instrument.name": camera.instrument,
        "instrument.detector": camera.name,
        "subarray.name": request.subarray,
        "subarray.xstart": request.corner[0],
        "subarray.ystart": request.corner[1],
        "subarray.xsize": request.size[0],
        "subarray.ysize": request.size[1],
        "subarray.fastaxis": camera.fast_axis,
        "subarray.slowaxis": camera.slow_axis,
        "exposure.type": request.exp_type,
        "exposure.readpatt": sampling.pattern,
        "exposure.nints": sampling.nints,
        "exposure.ngroups": sampling.ngroups,
        "exposure.nframes": sampling.nframes,
        "exposure.groupgap": sampling.groupgap,
        "exposure.frame_divisor": sampling.nframes,
        "exposure.drop_frames1": 0,
        "exposure.frame_time": sampling.tframe,
        "exposure.group_time": sampling.tgroup,
        "exposure.integration_time": sampling.integration_time,
        "exposure.effective_exposure_time": sampling.integration_time * sampling.nints,
        "exposure.exposure_time": sampling.integration_time * sampling.nints,
        "exposure.noutputs": 5 if irs2.is_irs2(sampling.pattern) else request.outputs,
        "exposure.zero_frame": request.zeroframe,
        "exposure.start_time": 59780.5,
        "exposure.integration_start": 1,
        "exposure.integration_end": sampling.nints,
    }
    if irs2.is_irs2(sampling.pattern):
        meta |= {"exposure.nrs_normal": irs2.BLOCK, "exposure.nrs_reference": irs2.JUMP}
    return meta
