"""Fill a CRDS cache with all references that an exposure needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from astropy.io import fits

from schemas.errors import Unprocessable
from simulator import midinfrared
from simulator.crds_cache import CrdsCache, keys
from simulator.instruments import DETECTORS, Detector, detector
from simulator.irs2 import FRAME_TIME, is_irs2
from simulator.readout import OTHERS, PATTERNS, Readout, frame_time
from simulator.references import camera, mid_infrared, pixels

IMAGING = ("NIRCAM", "NIRISS", "FGS")
"""Instruments that get the references of imaging."""
_NEEDED = (
    "INSTRUME",
    "DETECTOR",
    "SUBARRAY",
    "SUBSTRT1",
    "SUBSTRT2",
    "SUBSIZE1",
    "SUBSIZE2",
    "READPATT",
    "NGROUPS",
)


def add_exposure(
    cache: CrdsCache, header: dict[str, Any], dark_groups: int = 0, ipc: bool = False, traps: bool = False
) -> None:
    """Add what one exposure needs and the cache lacks; `cache.commit` makes it visible.

    Parameters
    ----------
    cache : CrdsCache
        Cache.
    header : dict
        Keywords of the exposure: INSTRUME, DETECTOR, SUBARRAY with its corner and size, READPATT, NGROUPS;
        where there are such, NFRAMES, GROUPGAP, TFRAME, FILTER, PUPIL.
    dark_groups : int
        Groups of the dark, at least those of the exposure.
    ipc : bool
        Whether there is a reference for the coupling of neighbours, which simulated detectors lack unless
        asked.
    traps : bool
        Whether there are references for persistence, likewise.

    Raises
    ------
    Unprocessable
        If keywords are missing, or the detector is none that the simulator knows.
    """
    missing = [key for key in _NEEDED if header.get(key) is None]
    if missing:
        raise Unprocessable(
            f"{header.get('FILENAME', 'the exposure')} lacks {', '.join(missing)}; "
            "references cannot be made for it"
        )
    camera_ = _detector(header)
    if camera_.instrument == "NIRSPEC":
        cache.add_none("NIRSPEC", "refpix", (camera_.name, "N/A"))
    for reftype in _types(camera_, header, ipc):
        match = _match(camera_, reftype, header)
        writer = partial(pixels.write, reftype, irs2=is_irs2(match[-1]))
        _add(cache, camera_, (reftype, "fits"), writer, match)
    if camera_.mid_infrared:
        _add(cache, camera_, ("rscd", "fits"), mid_infrared.write_rscd)
        _add(cache, camera_, ("emicorr", "asdf"), mid_infrared.write_emicorr)
    if traps:
        for reftype in ("trapdensity", "persat", "trappars"):
            _add(cache, camera_, (reftype, "fits"), partial(pixels.write, reftype))
    for reftype in ("dark", "reset") if camera_.mid_infrared else ("dark",):
        _add_groups(cache, reftype, camera_, header, dark_groups)
    pair = wheel_pair(header, camera_)
    if camera_.instrument in IMAGING and pair in camera.wheel_positions(camera_):
        _add_imaging(cache, camera_, pair)


def _types(camera_: Detector, header: dict[str, Any], ipc: bool) -> list[str]:
    """Return the types that are full frame whatever the exposure's window."""
    types = [name for name in pixels.TYPES if not (name == "superbias" and camera_.mid_infrared)]
    return [*types, *(["ipc"] if ipc else []), *(["refpix"] if is_irs2(header["READPATT"]) else [])]


def _add(
    cache: CrdsCache,
    camera_: Detector,
    kind: tuple[str, str],
    writer: Callable[[Detector, Path], None],
    match: tuple[str, ...] = (),
) -> None:
    """Add a reference of a type, with files of an extension, that is matched on the detector unless said."""
    reftype, extension = kind
    match = match or (camera_.name,)
    if cache.find(camera_.instrument, reftype, match) is None:
        path = cache.new_path(camera_.instrument, reftype, extension)
        writer(camera_, path)
        cache.add(camera_.instrument, reftype, match, path)


def _detector(header: dict[str, Any]) -> Detector:
    name = str(header["DETECTOR"]).upper()
    if name not in DETECTORS:
        raise Unprocessable(
            f"{header.get('FILENAME', 'the exposure')}: no references for detector {name}; "
            f"the simulator knows {', '.join(DETECTORS)}"
        )
    return detector(name)


def _match(camera_: Detector, reftype: str, header: dict[str, Any]) -> tuple[str, ...]:
    """Return what a reference file is to be matched on: NIRSpec's kinds of readout have some each."""
    if keys(camera_.instrument, reftype) == ("DETECTOR",):
        return (camera_.name,)
    return camera_.name, "NRSIRS2|NRSIRS2RAPID" if is_irs2(header["READPATT"]) else "N/A"


def readout_of(header: dict[str, Any], camera_: Detector) -> Readout:
    """Return an exposure's sampling from its keywords; a frame time that is missing is computed."""
    pattern = str(header["READPATT"]).upper()
    nframes, groupgap = (PATTERNS | OTHERS | midinfrared.PATTERNS).get(pattern, (1, 0))
    tframe = float(header.get("TFRAME") or _frame_time(header, camera_))
    return Readout(
        pattern,
        int(header.get("NFRAMES") or nframes),
        int(_or(header.get("GROUPGAP"), groupgap)),
        int(header["NGROUPS"]),
        int(header.get("NINTS") or 1),
        tframe,
    )


def _frame_time(header: dict[str, Any], camera_: Detector) -> float:
    if camera_.mid_infrared:
        return midinfrared.frame_time(str(header["SUBARRAY"]), str(header["READPATT"]))
    if is_irs2(str(header["READPATT"])):
        return FRAME_TIME
    shape = int(header["SUBSIZE2"]), int(header["SUBSIZE1"])
    return frame_time(shape, int(header.get("NOUTPUTS") or (4 if shape == camera_.shape else 1)))


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _add_groups(
    cache: CrdsCache, reftype: str, camera_: Detector, header: dict[str, Any], dark_groups: int
) -> None:
    """Add a dark or a reset, which are for one subarray and read pattern and have groups."""
    readout = readout_of(header, camera_)
    groups = max(readout.ngroups, dark_groups)
    match = (camera_.name, readout.pattern, str(header["SUBARRAY"]).upper())
    writer = pixels.write_dark
    if camera_.mid_infrared:
        writer = mid_infrared.write_dark if reftype == "dark" else mid_infrared.write_reset
    existing = cache.find(camera_.instrument, reftype, match)
    if existing is None or fits.getval(existing, "NGROUPS") < groups:
        path = cache.new_path(camera_.instrument, reftype, "fits")
        writer(camera_, header, replace(readout, ngroups=groups), path)
        cache.add(camera_.instrument, reftype, match, path)


def wheel_pair(header: dict[str, Any], camera_: Detector) -> camera.Pair:
    """Return FILTER and PUPIL as the references match them; FGS has no wheels."""
    if camera_.instrument == "FGS":
        return "N/A", "N/A"
    return str(header.get("FILTER") or "N/A").upper(), str(header.get("PUPIL") or "N/A").upper()


def _add_imaging(cache: CrdsCache, camera_: Detector, pair: camera.Pair) -> None:
    instrument = camera_.instrument
    one = {
        "distortion": (camera.write_distortion, "asdf"),
        "filteroffset": (camera.write_filteroffset, "asdf"),
        "photom": (camera.write_photom, "fits"),
        "area": (camera.write_area, "fits"),
    }
    for reftype, (writer, extension) in one.items():
        _add(cache, camera_, (reftype, extension), writer)
    match = (camera_.name, *pair)
    if cache.find(instrument, "flat", match) is None:
        path = cache.new_path(instrument, "flat", "fits")
        camera.write_flat(camera_, pair, path)
        cache.add(instrument, "flat", match, path)
    _add_apcorr(cache, camera_, pair)
    _add_abvegaoffset(cache, instrument)


def _add_apcorr(cache: CrdsCache, camera_: Detector, pair: camera.Pair) -> None:
    """Add aperture corrections of a filter to the instrument's table, in a new file that keeps its other
    rows.
    """
    existing = cache.find(camera_.instrument, "apcorr", ())
    rows = [] if existing is None else camera.read_apcorr(existing)
    if not any(row[:2] == pair for row in rows):
        path = cache.new_path(camera_.instrument, "apcorr", "fits")
        camera.write_apcorr(camera_.instrument, rows + camera.corrections(pair, camera_), path)
        cache.add(camera_.instrument, "apcorr", (), path)


def _add_abvegaoffset(cache: CrdsCache, instrument: str) -> None:
    if cache.find(instrument, "abvegaoffset", ()) is None:
        others = [other for other in DETECTORS.values() if other.instrument == instrument]
        pairs = sorted({pair for other in others for pair in camera.wheel_positions(other)})
        path = cache.new_path(instrument, "abvegaoffset", "asdf")
        camera.write_abvegaoffset(instrument, pairs, path)
        cache.add(instrument, "abvegaoffset", (), path)


def header_of(path: Path) -> dict[str, Any]:
    """Return the keywords of an exposure's primary header.

    Raises
    ------
    Unprocessable
        If there is no such file, or it is no FITS file.
    """
    try:
        header = fits.getheader(path)
    except FileNotFoundError:
        raise Unprocessable(f"{path}: there is no such file") from None
    except OSError as error:
        raise Unprocessable(f"{path} cannot be read as FITS ({error})") from error
    return {key: header[key] for key in header if key not in ("COMMENT", "HISTORY", "")} | {
        "FILENAME": path.name
    }


def add_files(root: Path, paths: Iterable[Path], dark_groups: int = 0) -> str:
    """Write or extend a cache so that it serves given exposures, and return its operational context.

    Parameters
    ----------
    root : Path
        What CRDS_PATH will name.
    paths : iterable of Path
        FITS files of any level.
    dark_groups : int
        Groups of the darks, at least those of each exposure.
    """
    cache = CrdsCache(root)
    for path in paths:
        add_exposure(cache, header_of(path), dark_groups)
    return cache.commit()
