"""Which partitions a member holds, and since which assignment; and how a group shares them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor, RebalanceProtocol
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from streams.bus.kafka.messages import position_of
from streams.bus.protocol import Position
from streams.bus.sharing import Subscriber, owners

_VERSION: Final = 1
"""Of the group protocol: the first in which members tell what they hold."""


class Ownership(ConsumerRebalanceListener):  # type: ignore[misc]
    """The epochs of what a member holds.

    It is told by the client's own thread, where nothing may block. A number is never given twice: a partition
    that was taken away and comes back has another one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epochs: dict[TopicPartition, int] = {}
        self._last = 0

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Take partitions over."""
        with self._lock:
            for partition in assigned:
                self._last += 1
                self._epochs[partition] = self._last

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let partitions go: the group is cooperative, so those that stay are not among them."""
        with self._lock:
            for partition in revoked:
                self._epochs.pop(partition, None)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Let partitions go that another member may have by now."""
        self.on_partitions_revoked(lost)

    def renew(self) -> None:
        """Begin a new epoch of everything: what was polled so far will be polled again."""
        with self._lock:
            held = list(self._epochs)
        self.on_partitions_assigned(held)

    def clear(self) -> None:
        """Let everything go."""
        with self._lock:
            self._epochs.clear()

    def positions(self) -> dict[Position, int]:
        """Return the epoch of each partition held, by our name of it."""
        return {position_of(partition): epoch for partition, epoch in self.held().items()}

    def held(self) -> dict[TopicPartition, int]:
        """Return the epoch of each partition held."""
        with self._lock:
            return dict(self._epochs)


class Assignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Shares partitions as every bus does, step by step: what moves is taken from one before another gets it.

    Parameters
    ----------
    ownership : Ownership
        Of the member that this one is of.
    exclusive : bool
        Whether one member holds everything: the one that has most already.
    """

    def __init__(self, ownership: Ownership, exclusive: bool) -> None:
        self._ownership, self._exclusive = ownership, exclusive

    @property
    def name(self) -> str:
        """Return what all members of a group must agree on."""
        return "calstream-exclusive" if self._exclusive else "calstream-sharing"

    def supported_protocols(self) -> list[RebalanceProtocol]:
        """Return that partitions which stay are not taken away meanwhile."""
        return [RebalanceProtocol.COOPERATIVE]

    def metadata(self, topics: Iterable[str]) -> Any:
        """Return what the member reads and holds, for whoever shares the partitions."""
        held: dict[str, list[int]] = defaultdict(list)
        for partition in sorted(self._ownership.held()):
            held[partition.topic].append(partition.partition)
        kind = ConsumerProtocolSubscription.TopicPartition
        owned = [kind(topic=topic, partitions=numbers) for topic, numbers in held.items()]
        return ConsumerProtocolSubscription(
            version=_VERSION, topics=sorted(topics), user_data=b"", owned_partitions=owned
        )

    def assign(self, cluster: Any, members: Any) -> dict[str, Any]:
        """Return what each member gets now."""
        claims = {
            one.member_id: {
                (of.topic, p) for of in one.metadata.owned_partitions or () for p in of.partitions
            }
            for one in members
        }
        by_age = sorted(claims, key=lambda name: (-len(claims[name]) if self._exclusive else 0, name))
        number = {name: rank for rank, name in enumerate(by_age, 1)}
        reads = {one.member_id: frozenset(one.metadata.topics) for one in members}
        positions = [
            (topic, p)
            for topic in sorted(frozenset().union(*reads.values()))
            for p in sorted(cluster.partitions_for_topic(topic) or ())
        ]
        given = owners(
            [Subscriber(number=number[n], topics=reads[n], exclusive=self._exclusive) for n in claims],
            positions,
            {position: number[name] for name, claimed in claims.items() for position in claimed},
        )
        return {name: _assignment(name, number[name], given, claims) for name in claims}

    def on_assignment(self, assignment: Any, generation: int) -> None:
        """Do nothing: the listener is told."""


def _assignment(
    name: str, number: int, given: Mapping[Position, int], claims: Mapping[str, set[Position]]
) -> ConsumerProtocolAssignment:
    elsewhere = set().union(*(claimed for other, claimed in claims.items() if other != name))
    mine: dict[str, list[int]] = defaultdict(list)
    for (topic, partition), owner in sorted(given.items()):
        if owner == number and (topic, partition) not in elsewhere:
            mine[topic].append(partition)
    return ConsumerProtocolAssignment(_VERSION, list(mine.items()), b"")
