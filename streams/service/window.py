"""Events in work, in the order of their partitions: what may be committed, and what has been lost."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from streams.bus import Message, Outgoing, Position
from streams.stages import Stage


@dataclass(kw_only=True, eq=False)
class Entry:
    """One message on its way through a service.

    Attributes
    ----------
    message : Message
        As polled.
    outputs : sequence of Outgoing, optional
        What is to be published when it is committed; None while it is not done.
    since : float
        When it was polled, monotonic seconds.
    not_before : float
        When it may be tried again, monotonic seconds.
    tries : int
        How often it was handed to a child.
    stage : Stage, optional
        What is done with it.
    name : str
        Product name that its event is of.
    lost : bool
        Whether its partition belongs to another member now.
    given : bool
        Whether a child has it.
    successes : int
        How many events had succeeded when it first failed.
    """

    message: Message
    outputs: Sequence[Outgoing] | None = None
    since: float
    not_before: float = 0.0
    tries: int = 0
    stage: Stage | None = None
    name: str = ""
    lost: bool = False
    given: bool = False
    successes: int = 0

    @property
    def waits(self) -> bool:
        """Tell whether it is neither done nor with a child."""
        return self.outputs is None and not self.given and not self.lost


class Window:
    """The messages that a service has polled and not committed.

    A message is committed after all before it in its partition: an offset says that everything up to it is
    done.
    """

    def __init__(self) -> None:
        self._queues: dict[Position, deque[Entry]] = {}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __iter__(self) -> Iterator[Entry]:
        for queue in self._queues.values():
            yield from queue

    def add(self, entry: Entry) -> None:
        """Take a message in."""
        self._queues.setdefault(entry.message.position, deque()).append(entry)

    def waiting(self, now: float) -> Iterator[Entry]:
        """Yield what may be given to a child at a time: what was tried least, then what came first."""
        able = [entry for entry in self if entry.waits and entry.not_before <= now]
        yield from sorted(able, key=lambda entry: (entry.tries, entry.since))

    def next_try(self) -> float:
        """Return when the next message may be given to a child; infinity where none waits."""
        return min((entry.not_before for entry in self if entry.waits), default=math.inf)

    def ready(self, limit: int) -> list[Entry]:
        """Return what can be committed now: of each partition the done ones with nothing undone before."""
        found: list[Entry] = []
        for queue in self._queues.values():
            for entry in queue:
                if entry.outputs is None or len(found) == limit:
                    break
                found.append(entry)
        return found

    def remove(self, entries: Sequence[Entry]) -> None:
        """Forget what was committed; it stands at the front of its partitions."""
        for entry in entries:
            first = self._queues[entry.message.position].popleft()
            assert first is entry
        self._queues = {position: queue for position, queue in self._queues.items() if queue}

    def drop_lost(self, held: Mapping[Position, int]) -> list[Entry]:
        """Forget what belongs to other members now, or will be polled again; return it.

        Parameters
        ----------
        held : mapping
            The epoch of each partition that is held, from the bus.
        """
        lost = [entry for entry in self if held.get(entry.message.position) != entry.message.epoch]
        for entry in lost:
            entry.lost = True
        if lost:
            kept = {p: deque(e for e in queue if not e.lost) for p, queue in self._queues.items()}
            self._queues = {position: queue for position, queue in kept.items() if queue}
        return lost

    def drop_all(self) -> None:
        """Forget everything; it will be polled again."""
        for entry in self:
            entry.lost = True
        self._queues = {}

    def drop_waiting(self) -> None:
        """Forget what no child has: of each partition everything from the first such message on.

        What a child has behind such a message cannot be committed, and comes again.
        """
        for position, queue in list(self._queues.items()):
            first = next((i for i, entry in enumerate(queue) if entry.waits), len(queue))
            for entry in list(queue)[first:]:
                entry.lost = True
            self._queues[position] = deque(list(queue)[:first])
        self._queues = {position: queue for position, queue in self._queues.items() if queue}
