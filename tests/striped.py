"""Exposures in stripes, cut from full frames: what was read is listed here, not worked out from keywords."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from simulator.crds_cache import CrdsCache
from simulator.lamp import Lamp, write_lamp
from simulator.references.build import add_exposure, header_of


@dataclass(frozen=True)
class Stripes:
    """Keywords, and the ranges of detector rows (first, one past the last) in order of the image."""

    detector: str
    subarray: str
    keywords: dict
    rows: tuple

    @property
    def index(self):
        """The detector row of each row of the image."""
        return np.concatenate([np.arange(*ends) for ends in self.rows])


INTERLEAVED = Stripes(
    "NRCALONG",
    "SUB164STRIPE4_DHS",
    {
        "MSTR_RD1": 4, "MSTR_SK1": 300, "MSTR_RD2": 37, "MSTR_SK2": 150, "MSTR_RPT": 1, "MSTR_ILV": 1,
        "SUBSTRT2": 1, "SUBSIZE2": 164,
    },
    ((0, 4), (304, 341), (0, 4), (491, 528), (0, 4), (678, 715), (0, 4), (865, 902)),
)  # fmt: skip
"""Each stripe after the same rows of reference pixels, read upwards."""

DOWNWARDS = Stripes(
    "NRCA2",
    "SUB160",
    {
        "MSTR_RD1": 10, "MSTR_SK1": 500, "MSTR_RD2": 40, "MSTR_SK2": 100, "MSTR_RPT": 0, "MSTR_ILV": 0,
        "SUBSTRT2": 2046, "SUBSIZE2": 90,
    },
    ((1356, 1396), (1496, 1536), (2036, 2046)),
)  # fmt: skip
"""Reference pixels once, then stripe upon stripe, read downwards from the third row of all."""

TWICE = Stripes(
    "NRCALONG",
    "SUB80STRIPE2_DHS",
    {
        "MSTR_RD1": 0, "MSTR_SK1": 1000, "MSTR_RD2": 40, "MSTR_SK2": 0, "MSTR_RPT": 1, "MSTR_ILV": 0,
        "SUBSTRT2": 1, "SUBSIZE2": 80,
    },
    ((1000, 1040), (1000, 1040)),
)  # fmt: skip
"""The same rows twice in each frame, and no rows of reference pixels."""

ALL = {"interleaved": INTERLEAVED, "downwards": DOWNWARDS, "twice": TWICE}


def exposed(stripes: Stripes, folder: Path, root: str = "jw01234002001_02101_00001", **lamp) -> Path:
    """Write an exposure to a lamp in stripes, its full frame (``full_...``), and its references (``crds``).

    The cache can be added to: `CrdsCache(folder / "crds")`.
    """
    request = Lamp(
        detector=stripes.detector, exp_type="NRC_TSGRISM", pattern="RAPID",
        keywords=(("FILTER", "F444W"), ("PUPIL", "GRISMR"), ("MODULE", "A")), **lamp,
    )  # fmt: skip
    name = f"{root}_{stripes.detector.lower()}_uncal.fits"
    path = cut(write_lamp(request, folder / f"full_{name}"), stripes, folder / name)
    cache = CrdsCache(folder / "crds")
    add_exposure(cache, header_of(path))
    cache.commit()
    return path


def cut(full: Path, stripes: Stripes, path: Path) -> Path:
    """Write the exposure that stripes of a full frame are."""
    with fits.open(full) as hdus:
        for hdu in hdus:
            if hdu.name in ("SCI", "ZEROFRAME"):
                hdu.data = hdu.data[..., stripes.index, :]
        hdus[0].header.update({"SSTR_NST": 0, "SSTR_STP": 0} | stripes.keywords)
        hdus[0].header.update({"SUBARRAY": stripes.subarray, "FILENAME": path.name})
        hdus.writeto(path)
    return path
