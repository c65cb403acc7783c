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

_ENOUGH: Final = 2_000
"""Records of a partition that wait for those of others before it is paused."""

_SLICE: Final = 20
"""Milliseconds of one poll."""

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
    if math.isinf(moment):
        wanted: Any = OffsetSpec.LATEST if moment > 0 else OffsetSpec.EARLIEST
    else:
        wanted = max(0, math.ceil(round(moment * 1000, 2)))  # Kafka's clock has milliseconds
    found = admin.list_partition_offsets(
        dict.fromkeys(partitions, wanted), isolation_level=IsolationLevel.READ_COMMITTED
    )
    absent = [partition for partition in partitions if found[partition].offset < 0]
    ends = offsets_at(admin, absent, math.inf) if absent else {}
    return {p: ends[p] if p in ends else found[p].offset for p in partitions}


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
            yield min(filled, key=lambda queue: (queue[0].timestamp, queue[0].partition)).popleft()


def _fill(
    client: Any,
    ends: Mapping[TopicPartition, int],
    waiting: Mapping[TopicPartition, deque[Any]],
    unread: set[TopicPartition],
) -> bool:
    """Fetch more, take what is at its end out of `unread`, and return whether there was any news."""
    full = {partition for partition in unread if len(waiting[partition]) >= _ENOUGH}
    client.pause(*(full | (set(ends) - unread)))
    client.resume(*(unread - full))
    got = client.poll(_SLICE)
    for partition, batch in got.items():
        waiting[partition].extend(one for one in batch if one.offset < ends[partition])
    # Behind the last record there may be marks of transactions, which no poll returns.
    done = {partition for partition in unread if (client.position(partition) or 0) >= ends[partition]}
    unread -= done
    return bool(got or done)
