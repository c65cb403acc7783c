"""Names and messages, ours and Kafka's."""

from __future__ import annotations

from typing import Any, Final

from kafka import TopicPartition

from schemas.errors import UsageError
from streams.bus.protocol import Message, Position

_PLUS: Final = "_plus_"
"""Kafka has no + in names."""


RANK: Final = "calstream_rank"
"""Header: which message of its transaction it is."""

_DIGITS: Final = 9
"""Of the longest rank; a longer one is not ours, and Python refuses to read thousands of digits."""


def to_wire(name: str) -> str:
    """Return Kafka's name of a topic.

    Raises
    ------
    UsageError
        If two names would become one.
    """
    if _PLUS in name:
        raise UsageError(f"topic {name!r}: {_PLUS!r} cannot be part of a name; write + or choose another")
    return name.replace("+", _PLUS)


def from_wire(name: str) -> str:
    """Return our name of one of Kafka's topics."""
    return name.replace(_PLUS, "+")


def position_of(partition: TopicPartition) -> Position:
    """Return our name of a partition."""
    return from_wire(partition.topic), partition.partition


def partition_at(position: Position) -> TopicPartition:
    """Return Kafka's name of a partition."""
    return TopicPartition(to_wire(position[0]), position[1])


def order_of(record: Any) -> tuple[int, int, int]:
    """Return by what records of different partitions are put in order: time, place in a transaction."""
    rank = next((value or b"" for name, value in record.headers if name == RANK), b"")
    ours = rank.isdigit() and len(rank) <= _DIGITS
    return record.timestamp, int(rank) if ours else 0, record.partition


def message_of(record: Any, epoch: int = 0) -> Message:
    """Return a record of kafka-python as a message; bytes that are no text are replaced.

    Parameters
    ----------
    record : ConsumerRecord
        As polled.
    epoch : int, optional
        Of its partition.
    """
    return Message(
        topic=from_wire(record.topic),
        key=(record.key or b"").decode(errors="replace"),
        value=record.value or b"",
        headers={
            name: (value or b"").decode(errors="replace") for name, value in record.headers if name != RANK
        },
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp / 1000,
        epoch=epoch,
    )
