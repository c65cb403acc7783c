"""The reducer for every program and line at once, for a bus whose one owner keeps all states."""

from __future__ import annotations

import math
from collections.abc import Iterable

from schemas.events import FailureEvent, ProductEvent
from streams.associator.drafts import Patience
from streams.associator.plans import Expectation, route
from streams.associator.reducer import DEFAULT_PATIENCE, Message, Reduced, Tick, next_due, reduce
from streams.associator.rules import RULES, Rule
from streams.associator.state import State


class Associator:
    """States by line and program; each message goes to its own.

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
        self._states: dict[tuple[str, str], State] = {}

    def take(self, message: ProductEvent | FailureEvent | Expectation, now: float) -> Reduced:
        """Return what there is to say after a message, and the state that changed."""
        return self._reduce(route(message), message, now)

    def tick(self, now: float) -> list[Reduced]:
        """Return what there is to say at a time, by line and program."""
        return [self._reduce(key, Tick(), now) for key in sorted(self._states)]

    def finish(self) -> list[Reduced]:
        """Return what is left to say when nothing more will come."""
        return self.tick(math.inf)

    def next_due(self) -> float | None:
        """Return the time of the next tick that matters; None when nothing is waiting."""
        times = (next_due(state, self._patience) for state in self._states.values())
        return min((time for time in times if time is not None), default=None)

    def open(self) -> int:
        """Return how many groups have something to say that is not said yet."""
        groups = (group for state in self._states.values() for group in state.groups.values())
        return sum(bool(group.pending) and group.pending != group.said for group in groups)

    def restore(self, states: Iterable[State]) -> None:
        """Take over states."""
        self._states = {(state.line, state.program): state for state in states}

    def _reduce(self, key: tuple[str, str], message: Message, now: float) -> Reduced:
        state = self._states.get(key) or State(line=key[0], program=key[1])
        reduced = reduce(state, message, now, self._patience, self._rules)
        self._states[key] = reduced.state
        return reduced
