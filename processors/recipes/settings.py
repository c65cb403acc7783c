"""Settings as they are given on a command line: ``step.parameter=value``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import yaml

from schemas.errors import UsageError

OVERRIDE_PREFIX: Final = "override_"
"""Begins the parameter that names a file to take as the reference of a type."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}


def parse_set(text: str) -> dict[str, dict[str, Any]]:
    """Return the entry of a step table that a ``--set`` gives.

    Parameters
    ----------
    text : str
        ``step.parameter=value``. The value is ``true``, ``false``, ``null``, a number, a list in brackets, or
        else text; what follows ``override_REFTYPE`` and ``use`` is text whatever it looks like.

    Raises
    ------
    UsageError
        If it has another form.
    """
    target, equals, value = (part.strip() for part in text.partition("="))
    step, dot, parameter = target.partition(".")
    if not (equals and dot and _NAME.fullmatch(step) and _NAME.fullmatch(parameter)):
        raise UsageError(
            f"--set {text}: write it as step.parameter=value, for example --set jump.rejection_threshold=5"
        )
    if not value:
        raise UsageError(f"--set {text}: there is no value behind the equals sign; write {target}=VALUE")
    if parameter == "use" or parameter.startswith(OVERRIDE_PREFIX):
        return {step: {parameter: value}}
    return {step: {parameter: _scalar(value, text)}}


def command_line(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the step table that several ``--set`` give; of two for the same parameter the later wins."""
    table: dict[str, dict[str, Any]] = {}
    for text in texts:
        for step, parameters in parse_set(text).items():
            table.setdefault(step, {}).update(parameters)
    return table


def _scalar(value: str, text: str) -> Any:
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    if _NUMBER.fullmatch(value):
        try:
            return int(value)
        except ValueError:
            return float(value)
    if value[0] not in "[\"'":
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(
            f"--set {text}: the value is neither a list nor a quoted text; close its brackets or quotes"
        ) from None
