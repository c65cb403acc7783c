"""Reading what is in topics now, without a group."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaTimeoutError
from kafka.protocol.consumer.offsets import IsolationLevel

from streams.bus.kafka.connection import Connection
from streams.bus.kafka.messages import order_of
from streams.bus.kafka.pausing import pause_only

_ENOUGH: Final = 2_000
"""Records of a partition that wait for those of others before it is paused."""

_SLICE: Final = 20
"""Milliseconds of one poll."""

_COMPLETION: Final = 2.0
"""Seconds within which a transaction that was committed is seen by all."""

_SILENCE: Final = 30.0
"""Seconds after which a broker that says nothing has failed."""


def offsets_at(admin: Any, partitions: Sequence[TopicPartition], moment: float) -> dict[TopicPartition, int]:
    """Return for each partition the first offset published at or after `moment`, else its end.

    Parameters
    ----------
    admin : KafkaAdminClient
        Whom to ask.
    partitions : sequence of TopicPartition
        Which.
    moment : float
        Seconds since 1970; infinite for the first offsets or the ends.
    """
    if moment == math.inf:
        return _ends(admin, partitions)
    wanted = OffsetSpec.EARLIEST
    if moment > 0:
        wanted = math.ceil(round(moment * 1000, 2))  # Kafka's clock has milliseconds
    found = _listed(admin, partitions, wanted, IsolationLevel.READ_COMMITTED)
    absent = [partition for partition in partitions if found[partition] < 0]
    return found | (_ends(admin, absent) if absent else {})


def _ends(admin: Any, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the ends of what is committed.

    Kafka says that a transaction is committed before readers see it. So what is there at all is looked at
    first, and then, for a while, whether it has been committed; what is open after that may be anybody's.
    """
    there = _listed(admin, partitions, OffsetSpec.LATEST, IsolationLevel.READ_UNCOMMITTED)
    deadline = time.monotonic() + _COMPLETION
    while True:
        committed = _listed(admin, partitions, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)
        if all(committed[p] >= there[p] for p in partitions) or time.monotonic() > deadline:
            return committed
        time.sleep(0.005)


def _listed(
    admin: Any, partitions: Sequence[TopicPartition], wanted: Any, isolation: IsolationLevel
) -> dict[TopicPartition, int]:
    found = admin.list_partition_offsets(dict.fromkeys(partitions, wanted), isolation_level=isolation)
    return {partition: found[partition].offset for partition in partitions}


def committed(
    connection: Connection, admin: Any, group: str, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the committed offset of each partition, 0 where there is none.

    Offsets of a transaction that is being completed are waited for; those of one that stays open are not.

    Parameters
    ----------
    connection : Connection
        Where from.
    admin : KafkaAdminClient
        Whom else to ask.
    group : str
        Whose.
    partitions : sequence of TopicPartition
        Of which.
    """
    client = connection.consumer(group_id=group)
    try:
        found = {p: client.committed(p, timeout_ms=round(_COMPLETION * 1000)) for p in partitions}
    except KafkaTimeoutError:
        listed = admin.list_group_offsets({group: list(partitions)})[group]
        found = {p: listed[p].offset if p in listed else None for p in partitions}
    finally:
        client.close(timeout_ms=1000)
    return {partition: max(0, offset or 0) for partition, offset in found.items()}


def records(
    connection: Connection, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> Iterator[Any]:
    """Yield the committed records between two sets of offsets, in order of their times across partitions.

    Parameters
    ----------
    connection : Connection
        Where from.
    starts, ends : mapping of TopicPartition to int
        The first offset of each partition, and the one after its last.

    Raises
    ------
    KafkaError
        If the brokers fail.
    """
    wanted = [partition for partition, end in ends.items() if starts[partition] < end]
    if not wanted:
        return
    client = connection.consumer(group_id=None)
    try:
        client.assign(wanted)
        for partition in wanted:
            client.seek(partition, starts[partition])
        yield from _merged(client, {partition: ends[partition] for partition in wanted})
    finally:
        client.close(timeout_ms=1000)


def _merged(client: Any, ends: Mapping[TopicPartition, int]) -> Iterator[Any]:
    waiting: dict[TopicPartition, deque[Any]] = {partition: deque() for partition in ends}
    unread = set(ends)
    heard = time.monotonic()
    while unread or any(waiting.values()):
        if any(not waiting[partition] for partition in unread):
            if _fill(client, ends, waiting, unread):
                heard = time.monotonic()
            elif time.monotonic() > heard + _SILENCE:
                raise KafkaTimeoutError(f"no answer after {_SILENCE:.0f} s")
            continue
        filled = [queue for queue in waiting.values() if queue]
        if filled:
            yield min(filled, key=lambda queue: order_of(queue[0])).popleft()


def _fill(
    client: Any,
    ends: Mapping[TopicPartition, int],
    waiting: Mapping[TopicPartition, deque[Any]],
    unread: set[TopicPartition],
) -> bool:
    """Fetch more, take what is at its end out of `unread`, and return whether there was any news."""
    full = {partition for partition in unread if len(waiting[partition]) >= _ENOUGH}
    pause_only(client, full | (ends.keys() - unread))
    got = client.poll(_SLICE)
    for partition, batch in got.items():
        waiting[partition].extend(one for one in batch if one.offset < ends[partition])
    # Behind the last record there may be marks of transactions, which no poll returns.
    done = {partition for partition in unread if (client.position(partition) or 0) >= ends[partition]}
    unread -= done
    return bool(got or done)
