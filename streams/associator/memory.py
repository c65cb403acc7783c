"""What the associator remembers, as messages of a compacted topic: one for each exposure, group and plan.

An event changes one exposure and the groups that it belongs to, so what is written of it does not grow with
the program. A program that has been quiet for long is parked: its state is put into the store as a file, the
topic keeps no more of it than where that is, and memory nothing. What comes later of it adds to that file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.events import Frozen
from streams.associator.reducer import Reduced
from streams.associator.state import State
from streams.bus import Outgoing
from streams.topics import ASSOCIATOR_STATE

_PARTS = ("exposures", "groups", "plans")
_PARKED = "parked"


@dataclass(frozen=True)
class Remembered:
    """All that is remembered.

    Attributes
    ----------
    states : tuple of State
        Of programs that something has been written of since they were parked, if they ever were.
    parked : mapping of (str, str) to str
        By line and program, the store's path of the last file; programs in `states` may have one too.
    """

    states: tuple[State, ...]
    parked: Mapping[tuple[str, str], str]


def pieces(reduced: Iterable[Reduced]) -> list[Outgoing]:
    """Return what has changed, the last state of each piece."""
    changed: dict[str, bytes] = {}
    for one in reduced:
        for part, name in _differences(one.before, one.state):
            value = getattr(one.state, part)[name]
            tree = value.model_dump(mode="json") if isinstance(value, Frozen) else value
            changed[_key(one.state, part, name)] = json.dumps(tree, separators=(",", ":")).encode()
    return [Outgoing(topic=ASSOCIATOR_STATE, key=key, value=value) for key, value in changed.items()]


def parked(state: State, path: str) -> list[Outgoing]:
    """Return what is written when a program is parked: where its state lies, instead of its pieces."""
    keys = [_key(state, part, name) for part in _PARTS for name in getattr(state, part)]
    gone = [Outgoing(topic=ASSOCIATOR_STATE, key=key, value=b"") for key in keys]
    where = Outgoing(
        topic=ASSOCIATOR_STATE, key=_key(state, _PARKED, ""), value=json.dumps(path).encode()
    )  # fmt: skip
    return [where, *gone]


def remembered(messages: Iterable[Outgoing], load: Callable[[str], State]) -> Remembered:
    """Return what messages, in order, amount to.

    Parameters
    ----------
    messages : iterable of Outgoing
        Of the topic.
    load : callable
        Returns the state in a file of the store.
    """
    trees: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    files: dict[tuple[str, str], str] = {}
    for message in messages:
        line, program, part, name = json.loads(message.key)
        if part == _PARKED:
            files[line, program] = json.loads(message.value)
            continue
        parts = trees.setdefault((line, program), {part: {} for part in _PARTS})
        if message.value:
            parts[part][name] = json.loads(message.value)
        else:
            parts[part].pop(name, None)
    states = [_laid_over(key, parts, files, load) for key, parts in trees.items() if any(parts.values())]
    return Remembered(tuple(states), files)


def _laid_over(
    key: tuple[str, str],
    parts: Mapping[str, Mapping[str, Any]],
    files: Mapping[tuple[str, str], str],
    load: Callable[[str], State],
) -> State:
    line, program = key
    state = State.model_validate({"line": line, "program": program, **parts})
    if key not in files:
        return state
    base = load(files[key])
    return base.model_copy(
        update={part: {**getattr(base, part), **getattr(state, part)} for part in _PARTS}
    )  # fmt: skip


def _key(state: State, part: str, name: str) -> str:
    return json.dumps([state.line, state.program, part, name])


def _differences(before: State, after: State) -> Iterator[tuple[str, str]]:
    for part in _PARTS:
        old, new = getattr(before, part), getattr(after, part)
        if old is not new:
            yield from ((part, name) for name, value in new.items() if old.get(name) is not value)
