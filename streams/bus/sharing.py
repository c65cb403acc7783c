"""How partitions are shared among the members of a group, and a poll among the topics of a member."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any, Final, TypeVar

from streams.bus.protocol import Position

Waiting = TypeVar("Waiting")

_NOTHING: Final[Any] = object()


@dataclass(frozen=True, kw_only=True)
class Subscriber:
    """A member of a group as the sharing sees it.

    Attributes
    ----------
    number : int
        Unique in its group; those that joined later have larger ones.
    topics : frozenset of str
        What it reads.
    exclusive : bool
        Whether one member at a time is to hold all.
    """

    number: int
    topics: frozenset[str]
    exclusive: bool = False


def owners(
    members: Iterable[Subscriber], positions: Iterable[Position], held: Mapping[Position, int]
) -> dict[Position, int]:
    """Return the owner of every partition that has one.

    Partitions of one number go together over all topics that the same members read. Everybody has the same
    number of them, or one more; as many as possible stay where they are. Of an exclusive group the oldest
    member has all.

    Parameters
    ----------
    members : iterable of Subscriber
        The living ones.
    positions : iterable of Position
        All partitions of what the group reads.
    held : mapping of Position to int
        Who had them so far.
    """
    ordered = sorted(members, key=lambda member: member.number)
    if any(member.exclusive for member in ordered):
        return {at: m.number for at in positions for m in reversed(ordered) if at[0] in m.topics}
    numbers: dict[str, list[int]] = defaultdict(list)
    for topic, partition in positions:
        numbers[topic].append(partition)
    alike: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for topic in sorted(numbers):
        alike[tuple(m.number for m in ordered if topic in m.topics)].append(topic)
    given: dict[Position, int] = {}
    load: Counter[int] = Counter()
    for readers, topics in alike.items():
        if readers:
            first = topics[0]
            before = {p: held.get((first, p), 0) for p in numbers[first]}
            shares = _shares(readers, before, load)
            given.update({(topic, p): owner for p, owner in shares.items() for topic in topics})
            load.update(shares.values())
    return given


def _shares(readers: Sequence[int], before: Mapping[int, int], load: Mapping[int, int]) -> dict[int, int]:
    """Return a reader for each partition number; `before` says who had it."""
    had = Counter(before.values())
    least, more = divmod(len(before), len(readers))
    first = sorted(readers, key=lambda reader: (-had[reader], load.get(reader, 0), reader))
    room = {reader: least + (rank < more) for rank, reader in enumerate(first)}
    shares: dict[int, int] = {}
    for partition, reader in sorted(before.items()):
        if room.get(reader, 0):
            shares[partition] = reader
            room[reader] -= 1
    free = iter(reader for reader in readers for _ in range(room[reader]))
    return {partition: shares.get(partition) or next(free) for partition in sorted(before)}


def in_turns(
    queues: Mapping[str, Iterable[Waiting]], limit: int, last: str | None = None
) -> list[tuple[str, Waiting]]:
    """Return up to `limit` of what waits in queues, one of each in turn, with the queue's name.

    Of a topic a poll takes what was published first, whatever its partition: what belongs together comes
    together, and is not waited for by others while the fuller partitions catch up. Topics take turns, as what
    follows from a message on one topic is published after everything that waits on it.

    Parameters
    ----------
    queues : mapping of str to iterable
        By topic, what was published first in front.
    limit : int
        How many can be taken.
    last : str, optional
        Whose turn it was last; those behind it come first.
    """
    names = sorted(queues, key=lambda name: (last is not None and name <= last, name))
    rounds = zip_longest(*(queues[name] for name in names), fillvalue=_NOTHING)
    taken = ((name, one) for found in rounds for name, one in zip(names, found, strict=True))
    return list(islice(((name, one) for name, one in taken if one is not _NOTHING), limit))
