"""Canonical JSON: one text for one value, so that a digest of it means something."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_PLAIN: Final = frozenset({str, int, bool, type(None)})


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys, no spaces, and no NaN (``"NaN"``, ``"Infinity"`` as strings)."""
    return _ENCODER.encode(_plain(value))


def canonical_tree(tree: Any) -> str:
    """Return the same of what is JSON already: dictionaries with strings as keys, lists, finite numbers."""
    try:
        return _ENCODER.encode(tree)
    except ValueError:  # not all of its numbers are finite
        return canonical_json(tree)


def digest(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if type(value) in _PLAIN:  # most of what there is, and it is asked of every event
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
