"""Numbers of the detectors and filters: what the simulated observatory is made of.

Values are rounded ones of the instruments' public handbooks (JWST User Documentation: NIRCam, NIRISS,
NIRSpec, FGS and MIRI detector and filter pages). They are the truth of the simulation, and the reference
files say the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from schemas.errors import UsageError

FULL_SIZE: Final = 2048
"""Pixels along each axis of every near-infrared detector."""
BORDER: Final = 4
"""Width of the frame of reference pixels; MIRI has them on the left and on the right only."""
COLLECTING_AREA: Final = 25.4
"""Unobscured area of the primary mirror, m^2."""
PLANCK: Final = 6.62607015e-34
"""Planck's constant, J s."""


@dataclass(frozen=True)
class Detector:
    """Constants of one detector, in DMS orientation."""

    name: str
    instrument: str
    channel: str
    module: str
    aperture: str
    """Full-frame aperture in the SIAF."""
    fast_axis: int
    slow_axis: int
    gain: float
    """Electrons per DN."""
    read_noise: float
    """Noise of a single read, DN."""
    bias: float
    """Mean level of the superbias, DN."""
    well: float
    """Signal above the bias, as measured (before linearisation), at which a pixel is full, DN."""
    dark: float
    """Dark current of an ordinary pixel, e-/s."""
    shape: tuple[int, int] = (FULL_SIZE, FULL_SIZE)
    """Rows and columns of the full frame."""

    @property
    def mid_infrared(self) -> bool:
        """Whether it is one of MIRI's, which are read and behave in another way."""
        return self.instrument == "MIRI"

    @property
    def amplifier_axis(self) -> int:
        """Axis of an image ``(ny, nx)`` along which the four amplifiers follow each other."""
        return 1 if abs(self.fast_axis) == 1 else 0


def _nircam(name: str, axes: tuple[int, int], gain: float) -> Detector:
    long = name.endswith("LONG")
    siaf = f"{name[:4]}5" if long else name
    return Detector(
        name,
        "NIRCAM",
        "LONG" if long else "SHORT",
        name[3],
        f"{siaf}_FULL",
        *axes,
        gain,
        5.0 if long else 4.2,
        12000.0 if long else 11500.0,
        46000.0,
        0.03 if long else 0.002,
    )


def _miri(name: str, aperture: str, channel: str, gain: float) -> Detector:
    return Detector(
        name, "MIRI", channel, "N/A", aperture, 1, 2, gain, 4.5, 9500.0, 44000.0, 0.2, (1024, 1032)
    )  # fmt: skip


_DETECTORS: Final = (
    _nircam("NRCA1", (-1, 2), 2.08),
    _nircam("NRCA2", (1, -2), 2.02),
    _nircam("NRCA3", (-1, 2), 2.17),
    _nircam("NRCA4", (1, -2), 2.02),
    _nircam("NRCALONG", (-1, 2), 1.84),
    _nircam("NRCB1", (1, -2), 2.01),
    _nircam("NRCB2", (-1, 2), 2.14),
    _nircam("NRCB3", (1, -2), 1.94),
    _nircam("NRCB4", (-1, 2), 2.03),
    _nircam("NRCBLONG", (1, -2), 1.85),
    Detector("NIS", "NIRISS", "N/A", "N/A", "NIS_CEN", -2, -1, 1.62, 7.0, 9300.0, 46000.0, 0.02),
    Detector("GUIDER1", "FGS", "N/A", "N/A", "FGS1_FULL", -2, -1, 1.78, 8.0, 9000.0, 46000.0, 0.02),
    Detector("GUIDER2", "FGS", "N/A", "N/A", "FGS2_FULL", 2, -1, 1.82, 8.0, 9000.0, 46000.0, 0.02),
    Detector("NRS1", "NIRSPEC", "N/A", "N/A", "NRS1_FULL", 2, 1, 0.996, 9.0, 11000.0, 50000.0, 0.01),
    Detector("NRS2", "NIRSPEC", "N/A", "N/A", "NRS2_FULL", -2, -1, 1.137, 9.0, 11000.0, 50000.0, 0.01),
    _miri("MIRIMAGE", "MIRIM_FULL", "N/A", 3.1),
    _miri("MIRIFULONG", "MIRIFU_CHANNEL3A", "34", 3.2),
    _miri("MIRIFUSHORT", "MIRIFU_CHANNEL1A", "12", 3.1),
)
DETECTORS: Final = {detector.name: detector for detector in _DETECTORS}
"""Detectors by the value of their DETECTOR keyword."""


def detector(name: str) -> Detector:
    """Return the constants of a detector.

    Raises
    ------
    UsageError
        If the observatory has no such detector.
    """
    try:
        return DETECTORS[name.upper()]
    except KeyError:
        raise UsageError(f"there is no detector {name!r}; choose from {', '.join(DETECTORS)}") from None


@dataclass(frozen=True)
class Filter:
    """A bandpass as the camera sees it."""

    name: str
    pupil: str
    pivot: float
    """Pivot wavelength, micron."""
    width: float
    """Effective width, micron."""


_WIDTHS: Final = {
    "F070W": (0.704, 0.128),
    "F090W": (0.901, 0.194),
    "F115W": (1.154, 0.225),
    "F140M": (1.404, 0.142),
    "F150W": (1.501, 0.318),
    "F162M": (1.626, 0.168),
    "F164N": (1.644, 0.020),
    "F150W2": (1.659, 1.179),
    "F182M": (1.845, 0.238),
    "F187N": (1.874, 0.024),
    "F200W": (1.990, 0.461),
    "F210M": (2.093, 0.205),
    "F212N": (2.120, 0.027),
    "F250M": (2.503, 0.181),
    "F277W": (2.786, 0.672),
    "F300M": (2.996, 0.318),
    "F322W2": (3.247, 1.339),
    "F335M": (3.365, 0.347),
    "F356W": (3.563, 0.787),
    "F360M": (3.621, 0.372),
    "F410M": (4.092, 0.436),
    "F430M": (4.280, 0.228),
    "F444W": (4.421, 1.024),
    "F460M": (4.624, 0.228),
    "F480M": (4.834, 0.303),
    "F158M": (1.582, 0.196),
    "F380M": (3.825, 0.205),
    "F323N": (3.237, 0.038),
    "F405N": (4.052, 0.045),
    "F466N": (4.654, 0.054),
    "F470N": (4.707, 0.051),
    "F560W": (5.635, 1.00),
    "F770W": (7.639, 1.95),
    "F1000W": (9.953, 1.80),
    "F1130W": (11.309, 0.73),
    "F1280W": (12.810, 2.47),
    "F1500W": (15.064, 2.92),
    "F1800W": (17.984, 2.95),
    "F2100W": (20.795, 4.58),
    "F2550W": (25.365, 3.67),
    "N/A": (2.5, 3.0),
}
_IN_PUPIL_WHEEL: Final = {
    "F162M": "F150W2",
    "F164N": "F150W2",
    "F323N": "F322W2",
    "F405N": "F444W",
    "F466N": "F444W",
    "F470N": "F444W",
}

SHORT_FILTERS: Final = tuple(name for name, (pivot, _) in _WIDTHS.items() if pivot < 2.4 and name != "F158M")
"""Bandpasses of NIRCam's short-wave channel."""
LONG_FILTERS: Final = (
    "F250M",
    "F277W",
    "F300M",
    "F322W2",
    "F335M",
    "F356W",
    "F360M",
    "F410M",
    "F430M",
    "F444W",
    "F460M",
    "F480M",
    "F323N",
    "F405N",
    "F466N",
    "F470N",
)
"""Bandpasses of NIRCam's long-wave channel."""
NIRISS_FILTERS: Final = (
    "F090W",
    "F115W",
    "F140M",
    "F150W",
    "F158M",
    "F200W",
    "F277W",
    "F356W",
    "F380M",
    "F430M",
    "F444W",
    "F480M",
)
"""Bandpasses of NIRISS."""
MIRI_FILTERS: Final = tuple(name for name, (pivot, _) in _WIDTHS.items() if pivot > 5.5)
"""Bandpasses of MIRI's imager."""


def bandpass(filter_name: str, pupil: str = "CLEAR") -> Filter:
    """Return the bandpass of a pair of wheel positions.

    Parameters
    ----------
    filter_name, pupil : str
        FILTER and PUPIL of the header. Where both wheels hold one, the narrower one is the bandpass.

    Raises
    ------
    UsageError
        If neither wheel position is known.
    """
    candidates = [name.upper() for name in (filter_name, pupil) if name.upper() in _WIDTHS]
    if not candidates:
        raise UsageError(f"there is no filter {filter_name!r}; choose from {', '.join(_WIDTHS)}")
    name = min(candidates, key=lambda known: _WIDTHS[known][1])
    pivot, width = _WIDTHS[name]
    return Filter(name, pupil.upper(), pivot, width)


def wheels(filter_name: str) -> tuple[str, str]:
    """Return FILTER and PUPIL of a bandpass: NIRCam's ``F162M`` sits in the pupil wheel, behind ``F150W2``.

    MIRI has no pupil wheel.
    """
    name = filter_name.upper()
    return (_IN_PUPIL_WHEEL[name], name) if name in _IN_PUPIL_WHEEL else (name, "CLEAR")


def photmjsr(band: Filter, detector: Detector, pixel_area: float) -> float:
    """Return the surface brightness that gives one DN/s in a nominal pixel, MJy/sr per DN/s.

    The photon rate of a uniform sky is ``S A Omega (width / pivot) throughput / h``.

    Parameters
    ----------
    band : Filter
        Bandpass.
    detector : Detector
        Detector, for its gain.
    pixel_area : float
        Nominal pixel area, sr.
    """
    throughput = 0.45
    electrons = 1e-20 * COLLECTING_AREA * pixel_area * band.width / band.pivot * throughput / PLANCK
    return detector.gain / electrons


_VEGA: Final = (
    (0.70, 0.90, 1.15, 1.50, 2.00, 2.77, 3.56, 4.44, 5.0),
    (0.27, 0.50, 0.76, 1.20, 1.68, 2.31, 2.80, 3.24, 3.48),
)


def ab_minus_vega(band: Filter) -> float:
    """Return AB minus Vega magnitude of a bandpass, interpolated in its pivot wavelength."""
    return float(np.interp(math.log(band.pivot), np.log(_VEGA[0]), _VEGA[1]))
