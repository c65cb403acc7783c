"""Groups as their coordinator sees them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    NotCoordinatorError,
)

from schemas.errors import Retriable
from streams.bus.kafka.failures import told
from streams.bus.kafka.messages import from_wire
from streams.bus.protocol import Member, Position

_SETTLED: Final = "Stable"

_PATIENCE: Final = 20.0
"""Seconds in which a group's coordinator is found."""


@dataclass(frozen=True)
class Group:
    """A group.

    Attributes
    ----------
    settled : bool
        Whether it shares nothing anew at this moment.
    members : tuple of Member
        The living ones.
    topics : frozenset of str
        What they read, if it is settled.
    """

    settled: bool
    members: tuple[Member, ...]
    topics: frozenset[str]

    @property
    def held(self) -> frozenset[Position]:
        """Return what its members hold."""
        return frozenset().union(*(member.positions for member in self.members))


def described(admin: Any, name: str) -> Group:
    """Return what the coordinator knows of a group; one that is not there has no members.

    Parameters
    ----------
    admin : KafkaAdminClient
        Whom to ask.
    name : str
        Of the group.

    Raises
    ------
    Retriable
        If it cannot tell.
    """
    deadline = time.monotonic() + _PATIENCE
    with told(f"group {name} cannot be looked up"):
        found = admin.describe_groups([name])[name]
        # A broker that has just begun, or taken over, says so for a while.
        while _passing(found["error"]) and time.monotonic() < deadline:
            time.sleep(0.1)
            found = admin.describe_groups([name])[name]
    if found["error"] and GroupIdNotFoundError.__name__ not in found["error"]:
        raise Retriable(f"group {name} cannot be looked up ({found['error']}); try again")
    return Group(
        settled=found["group_state"] == _SETTLED,
        members=tuple(
            Member(name=one.get("group_instance_id") or one["member_id"], positions=_positions(one))
            for one in found["members"]
        ),
        topics=frozenset(from_wire(topic) for one in found["members"] for topic in _topics(one)),
    )


def _passing(error: str | None) -> bool:
    kinds = (NotCoordinatorError, CoordinatorLoadInProgressError, CoordinatorNotAvailableError)
    return any(kind.__name__ in (error or "") for kind in kinds)


def _positions(member: Mapping[str, Any]) -> frozenset[Position]:
    assignment = member["member_assignment"]  # empty while the group shares anew
    if not isinstance(assignment, Mapping):
        return frozenset()
    return frozenset(
        (from_wire(one["topic"]), partition)
        for one in assignment["assigned_partitions"]
        for partition in one["partitions"]
    )


def _topics(member: Mapping[str, Any]) -> list[str]:
    metadata = member["member_metadata"]
    return list(metadata["topics"]) if isinstance(metadata, Mapping) else []
