"""Options of a step: frozen, bounded, documented."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import UsageError

O = TypeVar("O", bound="Options")  # noqa: E741


class Options(BaseModel):
    """Base class of every step's options; subclasses declare each with :func:`option`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def option(default: Any, *, doc: str, unit: str = "", **bounds: Any) -> Any:
    """Declare one option.

    Parameters
    ----------
    default : object
        Its value when nobody says otherwise.
    doc : str
        One line that says what it does.
    unit : str
        Unit of the value, in words.
    **bounds
        ``gt``, ``ge``, ``lt``, ``le`` as in pydantic.
    """
    return Field(default, description=doc, json_schema_extra={"unit": unit}, **bounds)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a half-sentence that names the nearest of the `known` words, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"


def validated(kind: type[O], values: Mapping[str, Any], step: str) -> O:
    """Return options of `kind` made from `values`.

    Raises
    ------
    UsageError
        If a name is unknown, or a value has the wrong type or is out of bounds; the sentence names it.
    """
    for name in values:
        if name not in kind.model_fields:
            raise UsageError(f"step {step} has no parameter {name!r}; {suggestion(name, kind.model_fields)}")
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "?"
        raise UsageError(
            f"{step}.{name} = {first['input']!r} is not valid: {first['msg'].lower()}; "
            f"see `calstream steps {step}`"
        ) from None
