"""Structured logs on standard error: for people, or one JSON object a line for machines.

Whoever binds ``exposure`` and ``run_key`` with ``structlog.contextvars`` has them in every line that is
logged while they are bound, by whatever function.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any, Final, Literal, TextIO

import structlog

Format = Literal["console", "json"]

FORMATS: Final[tuple[Format, ...]] = ("console", "json")

_FIRST: Final = ("timestamp", "level", "event", "exposure", "run_key", "stage")


def configure(level: int = logging.WARNING, style: Format = "console") -> None:
    """Send logs of calstream, and those of the libraries that it uses, to standard error.

    Parameters
    ----------
    level : int
        The least level that is shown, as in :mod:`logging`.
    style : str
        ``console`` or ``json``.
    """
    structlog.configure(
        processors=[*_shared(), *_rendered(style)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_StandardError,
        cache_logger_on_first_use=False,
    )
    _capture_libraries(level)


def quiet_unless_configured() -> None:
    """Show warnings only, in a program that uses calstream as a library and has not said what it wants."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[*_shared(), *_rendered("console")],
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=_StandardError,
            cache_logger_on_first_use=False,
        )


def _capture_libraries(level: int) -> None:
    from astropy import log  # takes over warnings when it is imported: so first it, then we

    log.handlers.clear()  # it would write a second line
    warnings.showwarning = _warned
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(level)


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a warning as information: it is for developers, and users see it when they ask for all."""
    logger = structlog.get_logger("calstream")
    logger.info(str(message), warning=category.__name__, where=f"{filename}:{lineno}")


class _StandardError:
    """Writes to what standard error is at the time: a progress display puts itself between."""

    def __init__(self, *_: Any) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = self.msg

    def msg(self, line: str) -> None:
        """Write a line."""
        print(line, file=sys.stderr)


class _Forward(logging.Handler):
    """Hands records of the standard library's loggers on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record under the name of its logger."""
        logger = structlog.get_logger("calstream")
        logger.log(record.levelno, record.getMessage().strip(), logger=record.name)


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendered(style: Format) -> list[Any]:
    if style == "json":
        return [
            structlog.processors.format_exc_info,
            _in_order,
            structlog.processors.JSONRenderer(default=str),
        ]
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _in_order(logger: Any, name: str, entry: Any) -> Any:
    return {**{key: entry[key] for key in _FIRST if key in entry}, **entry}
