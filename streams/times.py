"""Times and ages as people give them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Final

from schemas.errors import UsageError

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AGE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])", re.ASCII)


def age(text: str) -> float:
    """Return the seconds that an age like ``90s``, ``15m``, ``2h``, ``3d`` or ``1w`` stands for.

    Raises
    ------
    UsageError
        If it has another form.
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no age; write a number and s, m, h, d or w, for example 2h or 3d")
    return float(found[1]) * _UNITS[found[2]]


def moment(text: str, now: float | None = None) -> float:
    """Return the time, seconds since 1970, that a text stands for.

    Parameters
    ----------
    text : str
        ISO 8601, a date or a date with a time, in UTC unless it says another zone; or an age like ``2h``,
        counted back from now.
    now : float, optional
        Seconds since 1970; the clock's when absent.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if _AGE.fullmatch(text.strip()):
        return (time.time() if now is None else now) - age(text)
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no time; write it as 2026-11-24, 2026-11-24T06:30 (UTC), or as an age like 2h or 3d"
        ) from None


def iso(seconds: float) -> str:
    """Return a time, seconds since 1970, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
