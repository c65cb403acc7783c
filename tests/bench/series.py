"""Memory of long time series: exposures of 10 and of 100 integrations, the longer one of a gigabyte."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.bench.workload import Workload, simulated

SHORT, LONG = 10, 100
"""Integrations."""

WORKLOAD = Workload(subarray="SUB640", ngroups=12, dark_groups=12, nints=SHORT)
"""Of whose exposure the longer one consists: 640 x 640 pixels of 2 bytes, 12 groups, 100 times: 0.98 GB."""
QUICK = Workload(subarray="SUB160", ngroups=4, dark_groups=6, nints=2)


@dataclass(frozen=True)
class Series:
    """Exposures that differ in the number of their integrations alone.

    Attributes
    ----------
    files : dict of int to Path
        By number of integrations.
    crds : Path
        The cache that serves them.
    """

    files: dict[int, Path]
    crds: Path


def simulated_series(workload, out, say, times=LONG // SHORT):
    """Return a simulated exposure, and one of the same integrations repeated `times` times over."""
    downlink = simulated(workload, out, say)
    short = downlink.files[0]
    long = short.with_name(short.name.replace("00001_nrca1", "00002_nrca1"))
    if not long.exists():
        say(f"writing {long.name}, {times} times as many integrations")
        repeat(short, long, times)
    nints = workload.nints
    return Series({nints: short, nints * times: long}, downlink.crds)


def repeat(source, target, times):
    """Write an exposure whose integrations are those of another, `times` times over."""
    with fits.open(source) as hdus:
        primary = hdus[0].header
        nints = primary["NINTS"] * times
        primary.update(NINTS=nints, INTEND=nints, FILENAME=target.name, EXPOSURE="00002")
        for hdu in hdus[1:]:
            if hdu.name in ("SCI", "ZEROFRAME", "GROUP", "INT_TIMES"):
                hdu.data = np.concatenate([hdu.data] * times)
        for table, column in (("GROUP", "integration_number"), ("INT_TIMES", "integration_number")):
            rows = hdus[table].data
            rows[column] = 1 + np.arange(len(rows)) * nints // len(rows)
        hdus.writeto(target, overwrite=True)
