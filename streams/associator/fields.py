"""What exposures are grouped by: values of keywords, spelled as JWST spells them in product names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.keywords import began, ended

Keywords = Mapping[str, Any]
"""FITS keywords of an exposure."""

NAME: Final = "calstream name"
"""Under which an exposure's name stands among its keywords; no FITS keyword looks like that."""

UNDEFINED: Final = frozenset({"", "null", "none", "--", "n", "f", "false", "n/a"})
"""Values by which a keyword says that it does not apply."""

TSO_TYPES: Final = frozenset({"nrc_tsimage", "nrc_tsgrism", "nrs_brightobj"})
"""Exposure types that are always time series."""

_LONGEST_TARGET: Final = 32


def text(keywords: Keywords, *names: str) -> str:
    """Return the first defined value of some keywords, lower case and stripped; empty when there is none.

    Parameters
    ----------
    keywords : mapping of str to scalar
        FITS keywords.
    *names : str
        Keywords, the first that is defined wins.
    """
    for name in names:
        value = keywords.get(name)
        plain = "t" if value is True else str(value).strip().lower()
        if plain not in UNDEFINED:
            return plain
    return ""


def part(keywords: Keywords, *names: str) -> str:
    """Return the same with everything but letters and digits turned into single hyphens."""
    return _slug(text(keywords, *names))


def program(keywords: Keywords) -> str:
    """Return PROGRAM as five digits, ``01234``; empty when it is undefined."""
    value = part(keywords, "PROGRAM")
    return f"{value:0>5}" if value else ""


def observation(keywords: Keywords) -> str:
    """Return the association candidate of an observation, ``o001``; empty when OBSERVTN is undefined."""
    value = part(keywords, "OBSERVTN")
    return f"o{value:0>3}" if value else ""


def target(keywords: Keywords) -> str:
    """Return the target's part of a product name; empty when no keyword names the target.

    The archive numbers the targets of a program, ``t001``; where TARGETID gives that number it is used. Files
    do not carry it, and numbers given in order of arrival would change names when other targets arrive. So
    the proposer's name of the target (TARGPROP, else TARGNAME) stands in for it: ``t-ngc-3324``. A name that
    lower case, digits and hyphens (spaces count as hyphens) cannot spell, or a long one, ends in six
    hexadecimal digits of its SHA-256, so that two targets do not share a tag. The tag depends on nothing but
    the exposure's own keywords.
    """
    number = part(keywords, "TARGETID")
    if number:
        return f"t{number:0>3}"
    name = "-".join(text(keywords, "TARGPROP", "TARGNAME").split())
    slug = _slug(name)[:_LONGEST_TARGET].strip("-")
    if name and slug != name:
        slug = f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:6]}".strip("-")
    return f"t-{slug}" if slug else ""


def instrument(keywords: Keywords) -> str:
    """Return INSTRUME in lower case; empty when it is undefined."""
    return part(keywords, "INSTRUME")


def filter_(keywords: Keywords) -> str:
    """Return FILTER in lower case; empty when it does not apply."""
    return part(keywords, "FILTER")


def pupil(keywords: Keywords) -> str:
    """Return PUPIL, or GRATING where there is no pupil wheel; empty when neither applies."""
    return part(keywords, "PUPIL", "GRATING")


def subarray(keywords: Keywords) -> str:
    """Return SUBARRAY in lower case, ``full`` for the whole detector; empty when it is undefined."""
    return part(keywords, "SUBARRAY")


def detector(keywords: Keywords) -> str:
    """Return DETECTOR in lower case; empty when it is undefined."""
    return part(keywords, "DETECTOR")


def exposure(keywords: Keywords) -> str:
    """Return the exposure's name, which whoever asks adds to the keywords."""
    return str(keywords.get(NAME, ""))


def beginning(keywords: Keywords) -> str:
    """Return when the exposure began, MJD; empty when nothing tells."""
    return _moment(began(keywords))


def ending(keywords: Keywords) -> str:
    """Return when the exposure ended, MJD: its beginning where nothing else tells, empty without that."""
    return _moment(ended(keywords))


FIELDS: Final[Mapping[str, tuple[Callable[[Keywords], str], str]]] = {
    "program": (program, "PROGRAM"),
    "candidate": (observation, "OBSERVTN"),
    "target": (target, "TARGPROP"),
    "instrument": (instrument, "INSTRUME"),
    "filter": (filter_, "FILTER"),
    "pupil": (pupil, "PUPIL"),
    "subarray": (subarray, "SUBARRAY"),
    "detector": (detector, "DETECTOR"),
    "exposure": (exposure, "FILENAME"),
    "began": (beginning, "DATE-OBS"),
}
"""Field of a group key: how it is made from keywords, and the keyword to name when it is undefined."""


def is_time_series(keywords: Keywords) -> bool:
    """Tell whether an exposure belongs to a time-series observation."""
    return text(keywords, "TSOVISIT") == "t" or text(keywords, "EXP_TYPE") in TSO_TYPES


def is_background(keywords: Keywords) -> bool:
    """Tell whether an exposure's target is a background field."""
    return bool(text(keywords, "BKGDTARG"))


def is_wavefront_sensing(keywords: Keywords) -> bool:
    """Tell whether an exposure was taken for wavefront sensing and control."""
    return "wfsc" in text(keywords, "VISITYPE")


def _moment(mjd: float | None) -> str:
    return "" if mjd is None else f"{mjd:.9f}"


def _slug(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", value).strip("-")
