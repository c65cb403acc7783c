"""The reducer for every program and line at once, for a bus whose one owner keeps all states."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from schemas.events import FailureEvent, ProductEvent
from streams.associator.drafts import Patience
from streams.associator.memory import Remembered
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
        self._parked: dict[tuple[str, str], str] = {}
        self._load: Callable[[str], State] = _nowhere

    def take(
        self,
        message: ProductEvent | FailureEvent | Expectation,
        now: float,
        whose: tuple[str, str] | None = None,
    ) -> Reduced:
        """Return what there is to say after a message, and the state that changed.

        Parameters
        ----------
        message : ProductEvent, FailureEvent or Expectation
            What happened.
        now : float
            Seconds since 1970.
        whose : (str, str), optional
            Line and address of the state; those of the program when absent.
        """
        return self._reduce(whose or route(message), message, now)

    def hear(
        self,
        message: ProductEvent | FailureEvent | Expectation,
        now: float,
        whose: tuple[str, str] | None = None,
    ) -> Iterator[Reduced]:
        """Yield the same, then what there is to say on those detectors' days that a plan leaves."""
        first = self.take(message, now, whose)
        yield first
        for day, nothing in first.left:
            yield self.take(nothing, now, (first.state.line, day))

    def tick(self, now: float) -> list[Reduced]:
        """Return what there is to say at a time, by line and program."""
        waiting = sorted(key for key, state in self._states.items() if _open(state))
        return [self._reduce(key, Tick(), now) for key in waiting]

    def finish(self) -> list[Reduced]:
        """Return what is left to say when nothing more will come."""
        return self.tick(math.inf)

    def next_due(self) -> float | None:
        """Return the time of the next tick that matters; None when nothing is waiting."""
        times = (next_due(state, self._patience) for state in self._states.values())
        return min((time for time in times if time is not None), default=None)

    def open(self) -> int:
        """Return how many groups have something to say that is not said yet."""
        return sum(_open(state) for state in self._states.values())

    def restore(self, known: Remembered, load: Callable[[str], State]) -> None:
        """Take over what is remembered; `load` returns the state in a file of the store."""
        self._states = {(state.line, state.program): state for state in known.states}
        self._parked, self._load = dict(known.parked), load

    def quiet(self, limit: int) -> list[State]:
        """Return states to be parked so that half of `limit` exposures stay, if there are more than that.

        Those that were touched longest ago, of which nothing waits to be said; never the last one.
        """
        sizes = {key: len(state.exposures) for key, state in self._states.items()}
        total = sum(sizes.values())
        if total <= limit:
            return []
        found = []
        for key in list(self._states)[:-1]:
            if total > limit // 2 and not _open(self._states[key]):
                found.append(self._states[key])
                total -= sizes[key]
        return found

    def park(self, state: State, path: str) -> str | None:
        """Forget a state that lies in a file now; return the path of the file before."""
        key = (state.line, state.program)
        before = self._parked.get(key)
        self._parked[key] = path
        del self._states[key]
        return before

    def _reduce(self, key: tuple[str, str], message: Message, now: float) -> Reduced:
        state = self._states.get(key) or self._found(key)
        reduced = reduce(state, message, now, self._patience, self._rules)
        if not isinstance(message, Tick):
            self._states.pop(key, None)  # to the end: it was touched last
        self._states[key] = reduced.state
        return reduced

    def _found(self, key: tuple[str, str]) -> State:
        if key in self._parked:
            return self._load(self._parked[key])
        return State(line=key[0], program=key[1])


def _open(state: State) -> int:
    return sum(bool(group.pending) and group.pending != group.said for group in state.groups.values())


def _nowhere(path: str) -> State:
    raise KeyError(path)
