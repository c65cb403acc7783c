"""What a header must tell of an exposure before anything can be made of it, each said in one sentence."""

from __future__ import annotations

from datetime import date

from processors.modes import is_miri
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.stripes import in_stripes, stripes_of

DETECTOR = {"MIRI": (1032, 1024)}
NEAR_INFRARED_DETECTOR = (2048, 2048)
"""Columns and rows."""
FAST_AXES = (1, -1, 2, -2)


def demand_header(meta: Meta, shape: tuple[int, ...], zeroframe: bool) -> None:
    """Refuse a raw exposure whose header is not enough to calibrate it, or contradicts itself.

    Parameters
    ----------
    meta : Meta
        Of the exposure.
    shape : tuple of int
        (nint, ngroup, ny, nx) of its file.
    zeroframe : bool
        Whether the file has the extension ZEROFRAME.

    Raises
    ------
    Unprocessable
        If it was read out in superstripes, keywords are missing or have values that cannot be, or the zero
        frame is missing.
    """
    demand_whole_integrations(meta)
    name = _name(meta)
    for keyword, known in (("SUBARRAY", "the references of its subarray"), ("NINTS", "its products")):
        if meta.get(keyword) in (None, ""):
            held = f"; the data have {shape[0]} integrations" if keyword == "NINTS" else ""
            raise Unprocessable(
                f"{name}: the header lacks {keyword}, which tells {known}{held}; add it there"
            )
    _demand_date(meta)
    _demand_on_detector(meta, shape)
    if not is_miri(meta):
        fast_axis(meta)
    if meta.get("ZEROFRAM") is True and not zeroframe:
        raise Unprocessable(
            f"{name}: the header says ZEROFRAM = T, but there is no extension ZEROFRAME; fetch the file "
            "again, or set ZEROFRAM to F to do without"
        )


def demand_whole_integrations(meta: Meta) -> None:
    """Refuse an exposure each of whose integrations has other rows of the detector.

    Raises
    ------
    Unprocessable
        If SSTR_NST is above 0, as the standard pipeline tells such exposures.
    """
    stripes = meta.get("SSTR_NST")
    if isinstance(stripes, int) and stripes > 0:
        raise Unprocessable(
            f"{_name(meta)}: it was read out in superstripes, one of {stripes} in each integration "
            "(SSTR_NST), and such exposures are not supported; process it with the standard pipeline"
        )


def fast_axis(meta: Meta) -> int:
    """Return FASTAXIS without its sign: 1 where rows are read pixel by pixel, 2 where columns are.

    Raises
    ------
    Unprocessable
        If it is missing, or neither 1, -1, 2 nor -2.
    """
    value = meta.get("FASTAXIS")
    if value not in FAST_AXES or isinstance(value, bool):
        said = "lacks FASTAXIS" if value is None else f"says FASTAXIS = {value}"
        raise Unprocessable(
            f"{_name(meta)}: the header {said}, and it takes 1, -1, 2 or -2 to know along which axis the "
            "detector was read; mend it"
        )
    return abs(int(value))


def _demand_date(meta: Meta) -> None:
    value = meta.get("DATE-OBS")
    try:
        known = value is None or bool(date.fromisoformat(str(value)[:10]))
    except ValueError:
        known = False
    if not known:
        raise Unprocessable(
            f"{_name(meta)}: DATE-OBS = {value} is no date (YYYY-MM-DD), and references are chosen by it; "
            "mend the header"
        )


def _demand_on_detector(meta: Meta, shape: tuple[int, ...]) -> None:
    whole = DETECTOR["MIRI"] if is_miri(meta) else NEAR_INFRARED_DETECTOR
    axes = [(1, shape[3]), (2, shape[2])]
    if in_stripes(meta.primary):
        stripes_of(meta.primary)  # refuses rows that do not lie on the detector
        axes.pop()
    for axis, length in axes:
        start = meta.get(f"SUBSTRT{axis}")
        size = meta.get(f"SUBSIZE{axis}") or min(length, whole[axis - 1])
        if not isinstance(start, int) or not 1 <= start <= whole[axis - 1] + 1 - int(size):
            said = f"SUBSTRT{axis} = {start}" if start is not None else f"no SUBSTRT{axis}"
            raise Unprocessable(
                f"{_name(meta)}: the header has {said}, and {size} pixels from there do not lie on a "
                f"detector of {whole[0]} x {whole[1]}; mend SUBSTRT{axis}"
            )


def _name(meta: Meta) -> str:
    return str(meta.get("FILENAME", "the exposure"))
