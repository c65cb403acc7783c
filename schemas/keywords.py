"""The FITS keywords that events carry, and what the rest of JWST's software calls them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

DATAMODEL_PATH: Final = {
    "TELESCOP": "META.TELESCOPE",
    "INSTRUME": "META.INSTRUMENT.NAME",
    "DETECTOR": "META.INSTRUMENT.DETECTOR",
    "MODULE": "META.INSTRUMENT.MODULE",
    "CHANNEL": "META.INSTRUMENT.CHANNEL",
    "BAND": "META.INSTRUMENT.BAND",
    "FILTER": "META.INSTRUMENT.FILTER",
    "PUPIL": "META.INSTRUMENT.PUPIL",
    "GRATING": "META.INSTRUMENT.GRATING",
    "CORONMSK": "META.INSTRUMENT.CORONAGRAPH",
    "FXD_SLIT": "META.INSTRUMENT.FIXED_SLIT",
    "LAMP": "META.INSTRUMENT.LAMP_STATE",
    "OPMODE": "META.INSTRUMENT.LAMP_MODE",
    "EXP_TYPE": "META.EXPOSURE.TYPE",
    "READPATT": "META.EXPOSURE.READPATT",
    "NGROUPS": "META.EXPOSURE.NGROUPS",
    "NINTS": "META.EXPOSURE.NINTS",
    "NFRAMES": "META.EXPOSURE.NFRAMES",
    "GROUPGAP": "META.EXPOSURE.GROUPGAP",
    "NOUTPUTS": "META.EXPOSURE.NOUTPUTS",
    "SUBARRAY": "META.SUBARRAY.NAME",
    "SUBSTRT1": "META.SUBARRAY.XSTART",
    "SUBSTRT2": "META.SUBARRAY.YSTART",
    "SUBSIZE1": "META.SUBARRAY.XSIZE",
    "SUBSIZE2": "META.SUBARRAY.YSIZE",
    "DATE-OBS": "META.OBSERVATION.DATE",
    "TIME-OBS": "META.OBSERVATION.TIME",
    "TSOVISIT": "META.VISIT.TSOVISIT",
    "VISITYPE": "META.VISIT.TYPE",
    "CROWDFLD": "META.VISIT.CROWDED_FIELD",
    "CRDS_CTX": "META.REF_FILE.CRDS.CONTEXT_USED",
}
"""Keyword to the data model path by which CRDS matches reference files."""

POOL: Final = (
    "PROGRAM", "OBSERVTN", "VISIT", "VISITGRP", "SEQ_ID", "ACT_ID", "EXPOSURE", "VISIT_ID", "OBS_ID",
    "CATEGORY", "TARGETID", "TARGPROP", "TARGNAME", "TARGTYPE", "TARG_RA", "TARG_DEC", "TEMPLATE",
    "BKGDTARG", "IS_PSF", "ASNPOOL", "MU_RA", "MU_DEC", "PNTG_SEQ", "PATTTYPE", "PATT_NUM", "NUMDTHPT",
    "SUBPXPTS", "SUBPXPAT", "NOD_TYPE", "DITHERID", "EXPCOUNT", "EXPSTART", "EXPEND", "EXPRIPAR",
    "EXSEGNUM", "EXSEGTOT", "INTSTART", "INTEND", "GS_V3_PA", "HGA_MOVE", "APERNAME", "PCS_MODE",
    "WFSVISIT", "SELFREF", "MSAMETFL", "MSAMETID", "TGROUP", "TFRAME", "EFFEXPTM", "DATAMODL",
    "PREIMAGE", "DURATION", "EFFINTTM", "NRESETS",
)  # fmt: skip
"""Further columns of an association pool, and what it takes to group exposures."""

STRIPES: Final = ("SLOWAXIS", "MSTR_RD1", "MSTR_SK1", "MSTR_RD2", "MSTR_SK2", "MSTR_RPT", "MSTR_ILV")
"""What tells the rows of the detector that an exposure in stripes has."""

EVENT_KEYWORDS: Final = (*DATAMODEL_PATH, *POOL, *STRIPES)
"""Every keyword that an event may carry, in this order."""

SCIENCE_KEYWORDS: Final = (
    "TELESCOP", "INSTRUME", "DETECTOR", "MODULE", "CHANNEL", "BAND", "FILTER", "PUPIL", "GRATING",
    "CORONMSK", "FXD_SLIT", "EXP_TYPE", "READPATT", "NINTS", "NGROUPS", "NFRAMES", "GROUPGAP",
    "NRSTSTRT", "NRESETS", "TSAMPLE", "TFRAME", "TGROUP", "EFFINTTM", "EFFEXPTM", "DRPFRMS1",
    "DRPFRMS3", "SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "FASTAXIS", "SLOWAXIS",
    "DATE-OBS", "TIME-OBS", "EXPSTART", "EXPMID", "EXPEND", "INTSTART", "INTEND", "EXSEGNUM",
    "EXSEGTOT", "PROGRAM", "OBSERVTN", "VISIT", "TARGPROP", "TARGNAME", "TARG_RA", "TARG_DEC", "MU_RA",
    "MU_DEC", "PATT_NUM", "NUMDTHPT", "RA_V1", "DEC_V1", "PA_V3", "RA_REF", "DEC_REF", "V2_REF",
    "V3_REF", "ROLL_REF", "VPARITY", "V3I_YANG", "VA_SCALE", "VELOSYS", "BUNIT", "PHOTMJSR", "PHOTUJA2",
    "PIXAR_SR", "PIXAR_A2", "GAINFACT", "PXSCLRT", "XPOSURE", "TEXPTIME", "APERNAME", "LAMP", "OPMODE",
    "PREIMAGE", "TSOVISIT", "BKGDTARG", "IS_PSF", "MSAMETFL", "MSAMETID", "FRMDIVSR", "NOUTPUTS",
    "DRPFRMS2", "ZEROFRAM", "TMEASURE", "BKGLEVEL", "BKGSUB", "S_GANSCL", "S_REGION", "RESWHT", "PIXFRAC",
    "KERNEL", "NOISECOR", "INT1SKIP", "INT2SKIP", *STRIPES[1:],
)  # fmt: skip
"""Keywords that say what the data are. Only these enter a content digest: others tell how they were made."""

MJD_EPOCH: Final = datetime(1858, 11, 17)
"""Where modified Julian dates begin."""
MJD_UNIX: Final = 40587.0
"""MJD of the beginning of 1970."""
LONGEST: Final = 7.0
"""Days that no exposure takes: keywords that say more are not believed."""

_DAY: Final = 86400.0

IN_SCIENCE_HEADER: Final = frozenset(
    {
        "RA_REF", "DEC_REF", "V2_REF", "V3_REF", "ROLL_REF", "VPARITY", "V3I_YANG", "VA_SCALE", "VELOSYS",
        "RA_V1", "DEC_V1", "PA_V3", "S_REGION", "BUNIT", "PHOTMJSR", "PHOTUJA2", "PIXAR_SR", "PIXAR_A2",
        "XPOSURE", "TELAPSE", "MJD-BEG", "MJD-AVG", "MJD-END", "TDB-BEG", "TDB-MID", "TDB-END",
    }
)  # fmt: skip
"""Those of the keywords read here that JWST files have in the header of SCI; the others are in the primary
one."""

REFERENCE_KEYWORD: Final = {
    "mask": "R_MASK",
    "ipc": "R_IPC",
    "saturation": "R_SATURA",
    "superbias": "R_SUPERB",
    "refpix": "R_REFPIX",
    "linearity": "R_LINEAR",
    "emicorr": "R_MIREMI",
    "reset": "R_RESET",
    "rscd": "R_RSCD",
    "dark": "R_DARK",
    "trapdensity": "R_TRPDEN",
    "trappars": "R_TRPPAR",
    "persat": "R_PERSAT",
    "gain": "R_GAIN",
    "readnoise": "R_READNO",
    "distortion": "R_DISTOR",
    "filteroffset": "R_FILOFF",
    "flat": "R_FLAT",
    "photom": "R_PHOTOM",
    "area": "R_AREA",
    "apcorr": "R_APCORR",
    "abvegaoffset": "R_ABVEGA",
}
"""Keyword in which JWST files name the reference file of a type."""


def lacking(missing: Iterable[str]) -> str:
    """Return what a file's headers lack and what to do, as an error's sentence says it behind the name.

    Parameters
    ----------
    missing : iterable of str
        The keywords.
    """
    names = list(missing)
    by_header = {
        "primary": [name for name in names if name not in IN_SCIENCE_HEADER],
        "SCI": [name for name in names if name in IN_SCIENCE_HEADER],
    }
    said = " and ".join(f"the {header} header lacks {', '.join(n)}" for header, n in by_header.items() if n)
    return f"{said}; add {'it' if len(names) == 1 else 'them'} there, or fetch the file again"


def event_keywords(get: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return those of `EVENT_KEYWORDS` that a header (anything with ``get``) has.

    Parameters
    ----------
    get : mapping
        FITS keywords.
    """
    found: dict[str, Any] = {keyword: get.get(keyword) for keyword in EVENT_KEYWORDS}
    return {k: v for k, v in found.items() if isinstance(v, str | int) or _finite(v)}


def began(get: Mapping[str, Any]) -> float | None:
    """Return when the first integration of a file began, MJD (UTC); None where its keywords do not tell.

    Parameters
    ----------
    get : mapping
        EXPSTART, else DATE-OBS and TIME-OBS, of the whole exposure. A segment of a time series says with
        INTSTART which of its integrations come before.
    """
    start = exposure_began(get)
    before = min(_count(get, "INTSTART"), _integrations(get)) - 1
    return start if start is None or before <= 0 else start + before * (cadence(get) or 0.0) / _DAY


def ended(get: Mapping[str, Any]) -> float | None:
    """Return when the last integration of a file ended, MJD (UTC).

    It is the beginning where nothing tells how long the exposure was, and None where that is unknown too.

    Parameters
    ----------
    get : mapping
        As `began` and `cadence` take it.
    """
    start = exposure_began(get)
    if start is None:
        return None
    last = _count(get, "INTEND") or _integrations(get)
    return start + last * (cadence(get) or 0.0) / _DAY


def exposure_began(get: Mapping[str, Any]) -> float | None:
    """Return when an exposure began, all its segments together, MJD (UTC); None where nothing tells.

    Parameters
    ----------
    get : mapping
        EXPSTART, else DATE-OBS and TIME-OBS.
    """
    if start := _positive(get, "EXPSTART"):
        return start
    try:
        moment = datetime.fromisoformat(f"{get['DATE-OBS']}T{get['TIME-OBS']}")
    except (KeyError, ValueError):
        return None
    return (moment.replace(tzinfo=None) - MJD_EPOCH) / timedelta(days=1)


def cadence(get: Mapping[str, Any]) -> float | None:
    """Return the time from the beginning of one integration to that of the next, s; None if nothing tells.

    Parameters
    ----------
    get : mapping
        NINTS, of the whole exposure; EXPEND, DURATION, or EFFINTTM, or EFFEXPTM, which leave out the reset
        frames between integrations (NRESETS of TFRAME); or at least NGROUPS and TGROUP. Simulated files have
        been seen with a DURATION of one integration, and with an EXPEND without the resets: the longest
        counts.
    """
    number = _integrations(get)
    start, end = exposure_began(get), _positive(get, "EXPEND")
    light = _positive(get, "EFFINTTM") or _positive(get, "EFFEXPTM") / number
    found = [
        (end - start) * _DAY / number if start is not None else 0.0,
        _positive(get, "DURATION") / number,
        light + _count(get, "NRESETS") * _positive(get, "TFRAME") if light else 0.0,
    ]
    believed = [one for one in found if 0 < one * number <= LONGEST * _DAY]
    reading = _count(get, "NGROUPS") * _positive(get, "TGROUP")
    return max(believed, default=reading if 0 < reading * number <= LONGEST * _DAY else None)


def _integrations(get: Mapping[str, Any]) -> int:
    """Return of how many integrations the whole exposure is, at least 1."""
    return max(_count(get, "NINTS"), _count(get, "INTEND"), 1)


def _count(get: Mapping[str, Any], keyword: str) -> int:
    value = get.get(keyword)
    return max(value, 0) if isinstance(value, int) else 0


def _positive(get: Mapping[str, Any], keyword: str) -> float:
    """Return a number, or 0 where it is none, or not above 0."""
    value = get.get(keyword)
    good = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if good else 0.0  # type: ignore[arg-type]


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def crds_parameters(keywords: Mapping[str, Any]) -> dict[str, str]:
    """Return the matching parameters by which CRDS picks references for an exposure."""
    found = {path: keywords.get(keyword) for keyword, path in DATAMODEL_PATH.items()}
    return {path: _crds_text(value) for path, value in found.items() if value is not None}


def _crds_text(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return str(value).strip().upper()
