"""Times and rates in few characters, and texts that leave the terminal alone."""

from __future__ import annotations

from datetime import UTC, datetime


def span(seconds: float | None) -> str:
    """Return a time in at most seven characters: ``0.4 s``, ``12 s``, ``4 min``, ``3 h 05``, ``12 d``."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d}"
    days = minutes // (24 * 60)
    return f"{days} d" if days < 1000 else "years"


def rate(per_second: float) -> str:
    """Return a rate in at most seven characters: ``850/s``, ``2.4/s``, ``12/min``; empty for none."""
    if per_second >= 1e4:
        return f"{per_second / 1e3:.0f}k/s"
    if per_second >= 9.95:
        return f"{per_second:.0f}/s"
    if per_second >= 1:
        return f"{per_second:.1f}/s"
    return f"{max(per_second * 60, 0.1):.2g}/min" if per_second else ""


def number(count: int) -> str:
    """Return a count in at most six characters: ``12345``, ``123k``, ``12M``."""
    if count < 100_000:
        return str(count)
    return f"{count // 1000}k" if count < 10_000_000 else f"{count // 1_000_000}M"


def clock(moment: float, *, fraction: bool = False) -> str:
    """Return the time of day, UTC: ``12:03:04``, with tenths if asked for."""
    at = datetime.fromtimestamp(moment, UTC)
    return f"{at:%H:%M:%S}.{at.microsecond // 100_000}" if fraction else f"{at:%H:%M:%S}"


def date(moment: float) -> str:
    """Return the date, UTC: ``2026-11-24``."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural where that is right."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def plain(text: str) -> str:
    """Return a text without what would steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
