"""The expressions of ``--where``: which events are meant, said in a language that can execute nothing.

``detector == 'NRCA1' and filter in ('F200W', 'F115W')``, ``ngroups >= 5``, ``'nrca' in name``,
``not (program == 1234)``. Python's parser reads them; comparisons, ``and``, ``or``, ``not``, names and plain
values are all that is then understood.
"""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ulid import ULID

from processors.recipes.layers import FRIENDLY
from schemas.errors import UsageError
from schemas.events import Event
from schemas.keywords import EVENT_KEYWORDS
from schemas.naming import SUFFIX_LEVEL
from streams.associator.plans import program_of

Predicate = Callable[[Event], bool]
"""Tells whether an event is meant."""

LONGEST: Final = 2000
"""Characters of an expression."""
DEEPEST: Final = 40
"""Levels of brackets, ``not`` and ``and``."""

_Term = Callable[[Event], Any]
_NUMBER: Final = re.compile(r"[+-]?(\d{1,300}\.?\d{0,300}|\.\d{1,300})([eE][+-]?\d{1,3})?", re.ASCII)
_ORDERS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Lt: lambda a, b: bool(a < b),
    ast.LtE: lambda a, b: bool(a <= b),
    ast.Gt: lambda a, b: bool(a > b),
    ast.GtE: lambda a, b: bool(a >= b),
}


class _Absent:
    """The value of a keyword that an event does not have: no comparison with it is true."""


_ABSENT: Final = _Absent()


def _field(name: str) -> _Term:
    return lambda event: getattr(event, name, _ABSENT)


def _keyword(name: str) -> _Term:
    return lambda event: event.keywords.get(name, _ABSENT)


def _time(event: Event) -> str:
    moment = datetime.fromtimestamp(ULID.from_str(event.generation).timestamp, tz=UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


OWN: Final[Mapping[str, _Term]] = {
    "name": _field("name"),
    "suffix": _field("suffix"),
    "level": lambda event: SUFFIX_LEVEL.get(event.suffix, event.topic),
    "line": _field("line"),
    "program": lambda event: program_of(event.name, event.keywords),
    "recipe": lambda event: event.recipe.name,
    "digest": lambda event: event.recipe.digest,
    "stage": _field("stage"),
    "outcome": _field("outcome"),
    "kind": _field("kind"),
    "handler": _field("handler"),
    "campaign": _field("campaign"),
    "generation": _field("generation"),
    "run_key": _field("run_key"),
    "error": _field("error"),
    "time": _time,
}
"""What an event says of itself. ``time`` is that of its root, UTC: ``time >= '2026-11-20'``."""

NAMES: Final[Mapping[str, _Term]] = {
    **{keyword.lower().replace("-", "_"): _keyword(keyword) for keyword in EVENT_KEYWORDS},
    **{friendly: _keyword(keyword) for friendly, keyword in FRIENDLY.items()},
    **OWN,
}
"""Everything that an expression may name: FITS keywords in lower case, with ``_`` for ``-``, and `OWN`."""


def where(text: str) -> Predicate:
    """Return the predicate that an expression means; an empty one means all events.

    Texts are compared without regard to case, and as numbers where both are numbers: ``program == 1234`` is
    true for ``'01234'``. A comparison with a keyword that the event lacks is false.

    Parameters
    ----------
    text : str
        The expression.

    Raises
    ------
    UsageError
        If it is none; the sentence says what is wrong with it.
    """
    if not text.strip():
        return lambda event: True
    if len(text) > LONGEST:
        raise UsageError(f"the expression has {len(text)} characters, more than {LONGEST}; make it shorter")
    return _test(_parsed(text.strip()), 0)


def _parsed(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it cannot be read"
        hint = "equal is ==, and texts stand in quotes: detector == 'NRCA1' and ngroups >= 5"
        raise UsageError(f"--where {_shown(text)}: {reason}; {hint}") from None


def _test(node: ast.expr, depth: int) -> Predicate:
    """Return what a node means where true or false is asked for."""
    if depth > DEEPEST:
        raise UsageError(f"the expression is nested more than {DEEPEST} deep; make it simpler")
    if isinstance(node, ast.BoolOp):
        parts = [_test(value, depth + 1) for value in node.values]
        if isinstance(node.op, ast.And):
            return lambda event: all(part(event) for part in parts)
        return lambda event: any(part(event) for part in parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _test(node.operand, depth + 1)
        return lambda event: not inner(event)
    if isinstance(node, ast.Compare):
        return _comparisons(node)
    if isinstance(node, ast.Name):
        term = _named(node.id)
        return lambda event: (value := term(event)) is not _ABSENT and bool(value)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return lambda event: bool(node.value)
    if isinstance(node, ast.Constant | ast.Tuple | ast.List):
        raise UsageError(
            f"{_shown(_source(node))} alone says nothing; compare it with something, as in "
            "filter == 'F200W' or filter in ('F200W', 'F115W')"
        )
    raise _not_understood(node)


def _comparisons(node: ast.Compare) -> Predicate:
    """Return what ``a < b <= c`` means."""
    operands = [node.left, *node.comparators]
    pairs = []
    for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
        if isinstance(operator, ast.In | ast.NotIn):
            pairs.append(_membership(left, right, negated=isinstance(operator, ast.NotIn)))
        elif isinstance(operator, ast.Eq | ast.NotEq | ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            pairs.append(_comparison(_value(left), type(operator), _value(right)))
        else:
            raise _not_understood(node)
    return lambda event: all(pair(event) for pair in pairs)


def _comparison(left: _Term, operator: type[ast.cmpop], right: _Term) -> Predicate:
    def holds(event: Event) -> bool:
        a, b = left(event), right(event)
        if a is _ABSENT or b is _ABSENT:
            return False
        if operator in (ast.Eq, ast.NotEq):
            return _equal(a, b) == (operator is ast.Eq)
        a, b = _alike(a, b)
        return isinstance(a, str) == isinstance(b, str) and _ORDERS[operator](a, b)

    return holds


def _membership(left: ast.expr, right: ast.expr, *, negated: bool) -> Predicate:
    """Return what ``in`` means: one of several values, or a part of a text."""
    item = _value(left)
    if isinstance(right, ast.Tuple | ast.List):
        choices = [_value(element) for element in right.elts]

        def among(event: Event) -> bool:
            value, others = item(event), [choice(event) for choice in choices]
            if value is _ABSENT:
                return False
            return any(other is not _ABSENT and _equal(value, other) for other in others) != negated

        return among
    whole = _value(right)

    def within(event: Event) -> bool:
        part, text = item(event), whole(event)
        if part is _ABSENT or text is _ABSENT:
            return False
        return (str(part).casefold() in str(text).casefold()) != negated

    return within


def _value(node: ast.expr) -> _Term:
    """Return what a node means where a value is asked for."""
    if isinstance(node, ast.Name):
        return _named(node.id)
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign, node = -1 if isinstance(node.op, ast.USub) else 1, node.operand
        if not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
            raise _not_understood(node)
    if not isinstance(node, ast.Constant) or type(node.value) not in (str, int, float, bool):
        raise _not_understood(node)
    constant = node.value if sign == 1 else -node.value  # type: ignore[operator]
    return lambda event: constant


def _named(name: str) -> _Term:
    if (term := NAMES.get(name.lower())) is not None:
        return term
    near = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join((*OWN, *FRIENDLY))}, or another"
    hint += "" if near else " FITS keyword of the event, in lower case with _ for -"
    raise UsageError(f"--where knows no {_shown(name)} (texts stand in quotes); {hint}")


def _equal(a: Any, b: Any) -> bool:
    a, b = _alike(a, b)
    return isinstance(a, str) == isinstance(b, str) and bool(a == b)


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Return two values as numbers if both are, as texts without case if both are texts, else as they are."""
    numbers = _number(a), _number(b)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers
    return tuple(value.strip().casefold() if isinstance(value, str) else value for value in (a, b))  # type: ignore[return-value]


def _number(value: Any) -> int | float | None:
    if not isinstance(value, str):
        return value if isinstance(value, int | float) else None
    text = value.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _not_understood(node: ast.AST) -> UsageError:
    return UsageError(
        f"--where does not understand {_shown(_source(node))}; it knows ==, !=, <, <=, >, >=, in, not in, "
        "and, or, not, brackets, names, numbers and texts in quotes"
    )


def _source(node: ast.AST) -> str:
    try:
        return ast.unparse(node)
    except (RecursionError, ValueError):  # nested too deep to be shown
        return "what is nested so deep"


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")
