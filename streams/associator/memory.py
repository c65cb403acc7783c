"""What the associator remembers, as messages of a compacted topic: one for each exposure, group and plan.

An event changes one exposure and the groups that it belongs to, so what is written of it does not grow with
the program.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from schemas.events import Frozen
from streams.associator.reducer import Reduced
from streams.associator.state import State
from streams.bus import Outgoing
from streams.topics import ASSOCIATOR_STATE

_PARTS = ("exposures", "groups", "plans")


def pieces(reduced: Iterable[Reduced]) -> list[Outgoing]:
    """Return what has changed, the last state of each piece."""
    changed: dict[str, bytes] = {}
    for one in reduced:
        for part, name in _differences(one.before, one.state):
            value = getattr(one.state, part)[name]
            tree = value.model_dump(mode="json") if isinstance(value, Frozen) else value
            key = json.dumps([one.state.line, one.state.program, part, name])
            changed[key] = json.dumps(tree, separators=(",", ":")).encode()
    return [Outgoing(topic=ASSOCIATOR_STATE, key=key, value=value) for key, value in changed.items()]


def remembered(messages: Iterable[Outgoing]) -> list[State]:
    """Return the states that messages, in order, amount to."""
    trees: dict[tuple[str, str], dict[str, Any]] = {}
    for message in messages:
        line, program, part, name = json.loads(message.key)
        parts = trees.setdefault((line, program), {part: {} for part in _PARTS})
        if message.value:
            parts[part][name] = json.loads(message.value)
    return [
        State.model_validate({"line": line, "program": program, **parts})
        for (line, program), parts in trees.items()
    ]


def _differences(before: State, after: State) -> Iterator[tuple[str, str]]:
    for part in _PARTS:
        old, new = getattr(before, part), getattr(after, part)
        if old is not new:
            yield from ((part, name) for name, value in new.items() if old.get(name) is not value)
