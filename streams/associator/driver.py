"""The reducer for every program and line at once, for a bus whose one owner keeps all states."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Final

from schemas.events import FailureEvent, ProductEvent
from streams.associator.drafts import Patience
from streams.associator.plans import Expectation, route
from streams.associator.reducer import DEFAULT_PATIENCE, Message, Reduced, Tick, next_due, reduce
from streams.associator.rules import RULES, Rule
from streams.associator.state import State

AWAKE: Final = 16
"""Programs with nothing left to say that are kept ready for more of their exposures."""


class Associator:
    """States by line and program; each message goes to its own.

    Programs come for years and are never quite over. Of those with nothing left to say only the latest ones
    are kept as they are: the others rest, packed, until a message wakes them, and no tick looks at them.

    Parameters
    ----------
    patience : Patience, optional
        How long to wait.
    rules : tuple of Rule, optional
        The table of rules.
    """

    def __init__(self, patience: Patience = DEFAULT_PATIENCE, rules: tuple[Rule, ...] = RULES) -> None:
        self._patience = patience
        self._rules = rules
        self._awake: dict[tuple[str, str], State] = {}
        self._resting: dict[tuple[str, str], bytes] = {}

    def take(self, message: ProductEvent | FailureEvent | Expectation, now: float) -> Reduced:
        """Return what there is to say after a message, and the state that changed."""
        return self._reduce(route(message), message, now)

    def tick(self, now: float) -> list[Reduced]:
        """Return what there is to say at a time, by line and program."""
        waiting = sorted(key for key, state in self._awake.items() if _open(state))
        return [self._reduce(key, Tick(), now) for key in waiting]

    def finish(self) -> list[Reduced]:
        """Return what is left to say when nothing more will come."""
        return self.tick(math.inf)

    def next_due(self) -> float | None:
        """Return the time of the next tick that matters; None when nothing is waiting."""
        times = (next_due(state, self._patience) for state in self._awake.values())
        return min((time for time in times if time is not None), default=None)

    def open(self) -> int:
        """Return how many groups have something to say that is not said yet."""
        return sum(_open(state) for state in self._awake.values())

    def restore(self, states: Iterable[State]) -> None:
        """Take over states."""
        self._awake, self._resting = {}, {}
        for state in states:
            self._keep(state)

    def _reduce(self, key: tuple[str, str], message: Message, now: float) -> Reduced:
        reduced = reduce(self._state(key), message, now, self._patience, self._rules)
        self._keep(reduced.state)
        return reduced

    def _state(self, key: tuple[str, str]) -> State:
        if packed := self._resting.pop(key, None):
            return State.model_validate_json(zlib.decompress(packed))
        return self._awake.get(key) or State(line=key[0], program=key[1])

    def _keep(self, state: State) -> None:
        """Keep a state as the latest one; too many with nothing left to say, the oldest ones are packed."""
        key = state.line, state.program
        self._awake.pop(key, None)
        self._awake[key] = state
        surplus = len(self._awake) - AWAKE
        if surplus > 0:
            for oldest in [key for key, one in self._awake.items() if not _open(one)][:surplus]:
                self._resting[oldest] = zlib.compress(self._awake.pop(oldest).model_dump_json().encode())


def _open(state: State) -> int:
    """Return how many of its groups have something to say that is not said yet."""
    return sum(bool(group.pending) and group.pending != group.said for group in state.groups.values())
