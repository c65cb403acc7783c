"""How JWST names exposures, products and levels of processing."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

from schemas.errors import Unprocessable

LEVELS: Final = ("raw", "ramp", "rate", "cal", "combined")
"""Topics of the road, in order."""

SUFFIX_LEVEL: Final = {
    "uncal": "raw",
    "ramp": "ramp",
    "persistence": "ramp",
    "rate": "rate",
    "rateints": "rate",
    "cal": "cal",
    "calints": "cal",
    "crf": "combined",
    "i2d": "combined",
    "cat": "combined",
    "segm": "combined",
}
"""Level on which a product with this suffix is published as the primary one."""

NAME_PATTERN: Final = r"[a-z0-9_-]{1,128}"
"""What a product name may be."""


def level(name: str) -> str:
    """Return the level that `name` stands for; ``uncal`` is taken for ``raw``.

    Raises
    ------
    Unprocessable
        If there is no such level.
    """
    wanted = "raw" if name == "uncal" else name
    if wanted not in LEVELS:
        raise Unprocessable(f"there is no level {name!r}; choose one of {', '.join(LEVELS)}")
    return wanted


def suffix_of(filename: str) -> str:
    """Return the part of a file's stem after its last underscore: ``uncal`` of ``jw..._nrca1_uncal.fits``."""
    return _stem(filename).rpartition("_")[2]


def exposure_name(filename: str, header_name: str | None = None) -> str:
    """Return the product name of an exposure: file name without suffix, lower case.

    Parameters
    ----------
    filename : str
        Name or path of the file.
    header_name : str, optional
        FILENAME of its primary header, which wins when it is given.

    Raises
    ------
    Unprocessable
        If the name has characters that no topic, URI or file system is sure to carry.
    """
    for candidate in (header_name, filename):
        if candidate:
            stem = _stem(candidate)
            head, _, tail = stem.rpartition("_")
            name = (head if head and tail in SUFFIX_LEVEL else stem).lower()
            break
    if not re.fullmatch(NAME_PATTERN, name):
        raise Unprocessable(
            f"{filename}: {name!r} is no exposure name; rename the file (or its FILENAME keyword) "
            "to lower-case letters, digits, '_' and '-', at most 128 of them"
        )
    return name


def product_filename(name: str, suffix: str) -> str:
    """Return the JWST file name of a product."""
    return f"{name}_{suffix}.{'ecsv' if suffix == 'cat' else 'fits'}"


def _stem(filename: str) -> str:
    return PurePath(filename).name.split(".", 1)[0]
