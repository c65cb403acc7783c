"""References of stage 1: what each pixel of a detector does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from schemas.dq import DQ
from schemas.references import Window
from simulator import irs2 as interleaving
from simulator.detector import COUPLING, Maps, maps
from simulator.instruments import Detector
from simulator.persistence import FAMILIES
from simulator.readout import Readout
from simulator.references.files import About, definitions, frame_keywords, image, write_fits

TYPES = ("mask", "saturation", "superbias", "linearity", "gain", "readnoise")
"""Types that `write` makes, full frame, for any exposure of the detector; MIRI has no superbias."""


def write(reftype: str, detector: Detector, path: Path, *, irs2: bool = False) -> None:
    """Write one of `TYPES`, ``ipc``, ``refpix``, or one of those for persistence, for a detector.

    Parameters
    ----------
    reftype : str
        CRDS's name of its type.
    detector : Detector
        Detector.
    path : Path
        File to write.
    irs2 : bool
        Whether it is for IRS2 readouts, which hold reference pixels between the detector's.
    """
    if reftype == "refpix":
        _write_refpix(detector, path)
        return
    pixels = maps(detector)
    model, description, extensions = _CONTENT[reftype](pixels)
    if reftype == "readnoise" and detector.mid_infrared:
        extensions[0].data *= _stretch(pixels)
    if irs2:
        extensions = [_with_interleaved(extension, detector) for extension in extensions]
    about = About(
        reftype,
        model,
        detector.instrument,
        description,
        detector,
        frame_keywords(detector) | {"READPATT": "NRSIRS2" if irs2 else "ANY", "EXP_TYPE": "N/A"}
        if reftype == "superbias"
        else frame_keywords(detector),
    )
    if reftype in ("mask", "saturation", "superbias", "linearity"):
        extensions.append(definitions())
    write_fits(path, about, extensions)


def _mask(pixels: Maps) -> tuple[str, str, list[Any]]:
    return "MaskModel", "Bad and reference pixels of the simulated detector", [image("DQ", pixels.dq)]


def _saturation(pixels: Maps) -> tuple[str, str, list[Any]]:
    level = np.where(pixels.reference_pixels, np.float32(100000), pixels.saturation)
    dq = np.where(pixels.reference_pixels, np.uint32(DQ.NO_SAT_CHECK), np.uint32(0))
    return "SaturationModel", "Raw level of saturation, DN", [image("SCI", level), image("DQ", dq)]


def _superbias(pixels: Maps) -> tuple[str, str, list[Any]]:
    extensions = [
        image("SCI", pixels.bias),
        image("ERR", np.zeros_like(pixels.bias)),
        image("DQ", np.zeros_like(pixels.dq)),
    ]
    return "SuperBiasModel", "Bias of the simulated detector, DN", extensions


def _linearity(pixels: Maps) -> tuple[str, str, list[Any]]:
    sensitive = ~pixels.reference_pixels
    zero, one = np.zeros_like(pixels.bias), np.ones_like(pixels.bias)
    coefficients = np.stack([zero, one, pixels.quadratic * sensitive, pixels.cubic * sensitive])
    dq = np.where(sensitive, np.uint32(0), np.uint32(DQ.NO_LIN_CORR))
    return (
        "LinearityModel",
        "Polynomial from measured to true signal, DN",
        [
            image("COEFFS", coefficients),
            image("DQ", dq),
        ],
    )


def _gain(pixels: Maps) -> tuple[str, str, list[Any]]:
    return "GainModel", "Electrons per DN", [image("SCI", pixels.gain)]


def _readnoise(pixels: Maps) -> tuple[str, str, list[Any]]:
    """The convention is the noise of a difference of two reads."""
    noise = np.float32(np.sqrt(2)) * pixels.read_noise
    return "ReadnoiseModel", "Noise of correlated double sampling, DN", [image("SCI", noise)]


def _ipc(pixels: Maps) -> tuple[str, str, list[Any]]:
    """The kernel takes out, to first order, what each pixel gives to its four neighbours."""
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, :] = kernel[:, 1] = [-COUPLING, 1 + 4 * COUPLING, -COUPLING]
    return "IPCModel", "Kernel against the coupling of neighbours", [image("SCI", kernel)]


def _with_interleaved(extension: Any, detector: Detector) -> Any:
    if extension.name == "SCI":
        return image("SCI", interleaving.levels(extension.data, detector))
    others = DQ.REFERENCE_PIXEL if extension.name == "DQ" and extension.data.any() else 0
    data = extension.data
    return image(
        extension.name,
        interleaving.interleaved(data, detector, data.dtype.type(others), data.dtype.type(others)),
    )


def _write_refpix(detector: Detector, path: Path) -> None:
    about = About(
        "refpix",
        "IRS2Model",
        detector.instrument,
        "Filters for interleaved reference pixels",
        detector,
        frame_keywords(detector) | {"READPATT": "NRSIRS2"},
    )
    tables = {"IRS2": interleaving.filters(), "DQ": interleaving.bad_references()}
    write_fits(path, about, [fits.BinTableHDU(rows, name=name) for name, rows in tables.items()])


def _stretch(pixels: Maps) -> Any:
    """Return by how much the linearity correction stretches noise at the pedestal of MIRI's ramps."""
    sensitive = ~pixels.reference_pixels
    return 1 + sensitive * pixels.bias * (2 * pixels.quadratic + 3 * pixels.cubic * pixels.bias)


def _trapdensity(pixels: Maps) -> tuple[str, str, list[Any]]:
    return "TrapDensityModel", "Charge that the traps of a full well hold, DN", _image_and_flags(pixels.traps)


def _persat(pixels: Maps) -> tuple[str, str, list[Any]]:
    return "PersistenceSatModel", "Full well, DN", _image_and_flags(pixels.true_well)


def _image_and_flags(data: Any) -> list[Any]:
    return [image("SCI", data), image("DQ", np.zeros(data.shape, np.uint32)), definitions()]


def _trappars(pixels: Maps) -> tuple[str, str, list[Any]]:
    description = "How families of traps capture charge and let go of it"
    return "TrapParsModel", description, [fits.BinTableHDU(FAMILIES, name="TRAPPARS")]


_CONTENT = {
    "trapdensity": _trapdensity,
    "persat": _persat,
    "trappars": _trappars,
    "ipc": _ipc,
    "mask": _mask,
    "saturation": _saturation,
    "superbias": _superbias,
    "linearity": _linearity,
    "gain": _gain,
    "readnoise": _readnoise,
}


def write_dark(detector: Detector, header: dict[str, Any], readout: Readout, path: Path) -> None:
    """Write the dark of one subarray and read pattern, DN.

    Parameters
    ----------
    detector : Detector
        Detector.
    header : dict
        SUBARRAY, SUBSTRT1, SUBSTRT2, SUBSIZE1 and SUBSIZE2 of the exposures that it serves; SLOWAXIS and
        MSTR_* of those in stripes.
    readout : Readout
        Their sampling; ``ngroups`` is that of the file.
    path : Path
        File to write.
    """
    window = Window.of(header)
    pixels = maps(detector)
    # an array of rows makes a copy, so that a small dark of a full frame holds no frame in memory
    rate = (pixels.dark / pixels.gain)[window.rows, window.x : window.x + window.nx]
    middle = [np.mean(readout.frames(group)) * readout.tframe for group in range(readout.ngroups)]
    data = np.asarray(middle, dtype=np.float32)[:, None, None] * rate
    own = ("SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")
    keywords = {k: header[k] for k in header if k in own or k.startswith("MSTR_")} | {
        "FASTAXIS": detector.fast_axis,
        "SLOWAXIS": detector.slow_axis,
        "READPATT": readout.pattern,
        "NFRAMES": readout.nframes,
        "GROUPGAP": readout.groupgap,
        "NGROUPS": readout.ngroups,
        "TFRAME": readout.tframe,
        "TGROUP": readout.tgroup,
    }
    model = "DarkNirspecModel" if detector.instrument == "NIRSPEC" else "DarkModel"
    about = About(
        "dark", model, detector.instrument, "Dark signal of the simulated detector, DN", detector, keywords
    )
    dq = np.zeros(rate.shape, dtype=np.uint32)
    write_fits(path, about, [image("SCI", data), image("DQ", dq), definitions()])
