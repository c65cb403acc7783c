"""References of stage 1 that only MIRI has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from simulator import midinfrared
from simulator.detector import maps
from simulator.instruments import Detector
from simulator.readout import Readout
from simulator.references.files import About, definitions, image, write_asdf, write_fits

BINS = 250
"""Samples of the interference's waveform."""


def write_reset(detector: Detector, header: dict[str, Any], readout: Readout, path: Path) -> None:
    """Write the ``reset`` reference of one subarray and read pattern, DN."""
    data = midinfrared.reset_anomaly(detector, _slices(header), readout.ngroups)
    about = About(
        "reset", "ResetModel", detector.instrument, "Anomaly after a reset, DN", detector,
        _subarray(detector, header, readout) | {"NINTS": len(data)},
    )  # fmt: skip
    dq = np.zeros(data.shape[2:], dtype=np.uint32)
    _write(path, about, data, dq)


def write_dark(detector: Detector, header: dict[str, Any], readout: Readout, path: Path) -> None:
    """Write the ``dark`` of one subarray and read pattern for the first and for later integrations, DN."""
    window = _slices(header)
    pixels = maps(detector)
    rate = np.ascontiguousarray((pixels.dark / pixels.gain)[window])
    middle = [np.mean(readout.frames(group)) * readout.tframe for group in range(readout.ngroups)]
    current = np.asarray(middle, dtype=np.float32)[:, None, None] * rate
    data = np.stack([current + midinfrared.dark_transient(detector, window, readout.ngroups), current])
    about = About(
        "dark", "DarkMIRIModel", detector.instrument, "Dark signal of the simulated detector, DN", detector,
        _subarray(detector, header, readout),
    )  # fmt: skip
    dq = np.zeros((2, 1, *rate.shape), dtype=np.uint32)
    _write(path, about, data, dq)


def _write(path: Path, about: About, data: np.ndarray[Any, Any], dq: np.ndarray[Any, Any]) -> None:
    planes = [image("SCI", data), image("ERR", np.zeros_like(data)), image("DQ", dq), definitions()]
    write_fits(path, about, planes)


def write_rscd(detector: Detector, path: Path) -> None:
    """Write the ``rscd`` reference: groups to leave out, by subarray and read pattern."""
    first, later = midinfrared.GROUPS_LEFT_OUT
    rows = [(name, pattern, first, later) for name in midinfrared.CLOCKS for pattern in midinfrared.PATTERNS]
    columns = [("subarray", "S17"), ("readpatt", "S12"), ("group_skip1", "i4"), ("group_skip", "i4")]
    about = About("rscd", "RSCDModel", detector.instrument, "Groups that resets spoil", detector)
    table = np.array(rows, dtype=columns)
    write_fits(path, about, [fits.BinTableHDU(table, name="RSCD_GROUP_SKIP")])


def write_emicorr(detector: Detector, path: Path) -> None:
    """Write the ``emicorr`` reference: the interference's waveform, and what disturbs each subarray."""
    wave = midinfrared.waveform((np.arange(BINS) + 0.5) / BINS)
    name = f"Hz{midinfrared.FREQUENCY:.0f}"
    both = {"FAST": [name], "SLOW": {detector.name: [name]}}
    cases = {
        subarray: {"rowclocks": row, "frameclocks": frame, "freqs": both}
        for subarray, (row, frame) in midinfrared.CLOCKS.items()
    }
    cases["FULL_FAST"] = cases.pop("FULL")
    row, frame = midinfrared.SLOW_FULL
    cases["FULL_SLOW"] = {"rowclocks": row, "frameclocks": frame, "freqs": both}
    about = About("emicorr", "EmiModel", detector.instrument, "Interference in step with the clock", detector)
    frequencies = {name: {"frequency": midinfrared.FREQUENCY, "phase_amplitudes": wave.tolist()}}
    write_asdf(path, about, {"frequencies": frequencies, "subarray_cases": cases})


def _slices(header: dict[str, Any]) -> tuple[slice, slice]:
    y, x = header["SUBSTRT2"] - 1, header["SUBSTRT1"] - 1
    return slice(y, y + header["SUBSIZE2"]), slice(x, x + header["SUBSIZE1"])


def _subarray(detector: Detector, header: dict[str, Any], readout: Readout) -> dict[str, Any]:
    return {k: header[k] for k in ("SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")} | {
        "FASTAXIS": detector.fast_axis,
        "SLOWAXIS": detector.slow_axis,
        "READPATT": readout.pattern,
        "NFRAMES": readout.nframes,
        "GROUPGAP": readout.groupgap,
        "NGROUPS": readout.ngroups,
    }
