"""Which partitions a member holds, and since which assignment; and how a group shares them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment

from streams.bus.kafka.messages import position_of
from streams.bus.protocol import Position


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


class ExclusiveAssignor(CooperativeStickyAssignor):  # type: ignore[misc]
    """Gives everything to one member, the one that has it already; the others stand by."""

    name = "calstream-exclusive"

    def assign(self, cluster: Any, members: Any) -> dict[str, Any]:
        """Return what each member gets; what another one still holds goes to nobody until that let it go."""
        owned = {
            one.member_id: {
                TopicPartition(of.topic, partition)
                for of in one.metadata.owned_partitions or ()
                for partition in of.partitions
            }
            for one in members
        }
        active = min(owned, key=lambda member: (-len(owned[member]), member))
        elsewhere = set().union(*(held for member, held in owned.items() if member != active))
        wanted = defaultdict(list)
        for topic in sorted({topic for one in members for topic in one.metadata.topics}):
            for partition in sorted(cluster.partitions_for_topic(topic) or ()):
                if TopicPartition(topic, partition) not in elsewhere:
                    wanted[topic].append(partition)
        return {
            member: ConsumerProtocolAssignment(
                self.version, list(wanted.items()) if member == active else [], b""
            )
            for member in owned
        }
