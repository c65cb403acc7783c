"""Pausing partitions so that they can be resumed."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from kafka import TopicPartition


def pause_only(client: Any, partitions: Set[TopicPartition]) -> None:
    """Pause some of the partitions that a consumer holds, and resume all others.

    kafka-python 3.0.12 puts aside what it has fetched of a partition that is paused, and takes it up again
    when it has nothing at hand. But what it has finished with stays at hand, empty, so that it never does,
    and the partition stands still for ever. So that is taken away here.

    Parameters
    ----------
    client : KafkaConsumer
        The consumer.
    partitions : set of TopicPartition
        Which to pause.
    """
    held, paused = client.assignment(), client.paused()
    client.pause(*(held & partitions - paused))
    client.resume(*(paused - partitions))
    fetcher = getattr(client, "_fetcher", None)
    at_hand = getattr(fetcher, "_next_partition_records", None)
    if at_hand is not None and not at_hand:
        setattr(fetcher, "_next_partition_records", None)  # noqa: B010  not ours to know
