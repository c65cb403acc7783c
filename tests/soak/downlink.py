"""Many small exposures out of a few: the same raw data under other programs, so that every run is a run."""

from __future__ import annotations

from astropy.io import fits

from simulator.downlink import write_downlink
from simulator.observation import Request

DITHERS = 4
"""Exposures of an observation, which become one mosaic."""
OBSERVATIONS = 10
"""Of a program."""
REQUEST = Request(detectors=("NRCA3",), subarray="SUB64P", dithers=DITHERS, ngroups=4)


def write_many(folder, exposures):
    """Write Level-1b files of so many exposures, a multiple of `DITHERS`, and the references for them.

    Returns
    -------
    tuple of Path
        The folder of the files, and the CRDS cache.
    """
    few = write_downlink(REQUEST, folder / "few")
    many = folder / "many"
    many.mkdir()
    for observation in range(exposures // DITHERS):
        for original in few:
            _write_as(
                original, many, f"{5000 + observation // OBSERVATIONS:05}", observation % OBSERVATIONS + 1
            )
    return many, folder / "few" / "crds_cache"


def _write_as(original, folder, program, observation):
    with fits.open(original) as found:
        header = found[0].header
        stem = original.name.partition("_")[2]
        header["PROGRAM"], header["OBSERVTN"] = program, f"{observation:03}"
        header["OBS_ID"] = f"V{program}{observation:03}001P0000000002101"
        header["VISIT_ID"] = f"{program}{observation:03}001"
        header["FILENAME"] = name = f"jw{program}{observation:03}001_{stem}"
        del found["ASDF"]  # a copy of the header, which would contradict it
        found.writeto(folder / name)
