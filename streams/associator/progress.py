"""Whether a reader gets on: being alive is not enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STALL: Final = 180.0
"""Seconds without progress after which a reader that has something to read is stuck."""


class Progress:
    """Notes for each topic when it was last found read to its end, or read further than before.

    Parameters
    ----------
    moment : float
        When it begins; seconds of any clock.
    """

    def __init__(self, moment: float) -> None:
        self._began = moment
        self._done: dict[str, int] = {}
        self._since: dict[str, float] = {}

    def look(self, moment: float, lag: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Take in how things stand.

        Parameters
        ----------
        moment : float
            Now.
        lag : mapping of str to int
            Messages of each topic that are not done.
        done : mapping of str to int
            Those that are, or any number that grows with them.
        """
        for topic, behind in lag.items():
            if not behind or done[topic] != self._done.get(topic):
                self._since[topic] = moment
            self._done[topic] = done[topic]

    def excuse(self, moment: float) -> None:
        """Note that what there is to wait for has a known reason, which is no fault of the reader."""
        self._since = dict.fromkeys(self._since, moment)

    @property
    def since(self) -> float:
        """Return when every topic had last been got on with."""
        return min(self._since.values(), default=self._began)

    def stuck(self, moment: float, patience: float = STALL) -> str:
        """Return the topic that is stuck for so long; empty if there is none."""
        late = [topic for topic, since in sorted(self._since.items()) if moment - since > patience]
        return late[0] if late else ""
