"""How many messages there are between two offsets, the marks that Kafka puts behind transactions left out."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kafka import TopicPartition

from streams.bus.kafka.connection import Connection
from streams.bus.kafka.reading import records

_MOST: Final = 20_000
"""Offsets that are read at once to be counted; of more, marks count as messages."""


@dataclass
class _Span:
    """Offsets of the messages of a partition from `low` to before `high`."""

    low: int
    high: int
    offsets: array[int] = field(default_factory=lambda: array("q"))

    def between(self, start: int, end: int) -> int:
        """Return how many messages there are between two offsets of the span."""
        return bisect_left(self.offsets, end) - bisect_left(self.offsets, start)


class Tally:
    """Counts messages; what has been counted once is not read again.

    Parameters
    ----------
    connection : Connection
        Where from.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._spans: dict[TopicPartition, _Span] = {}
        self._lock = threading.Lock()

    def count(
        self, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Return for each partition of `ends` how many messages there are from its start to its end.

        Parameters
        ----------
        starts, ends : mapping of TopicPartition to int
            Offsets; the topics still have all between them.

        Raises
        ------
        KafkaError
            If the brokers fail.
        """
        ranges = {p: (starts[p], end) for p, end in ends.items() if starts[p] < end}
        with self._lock:
            known = {p: self._near(p, *both) for p, both in ranges.items()}
            lower = {p: (ranges[p][0], span.low) for p, span in known.items() if ranges[p][0] < span.low}
            upper = {p: (span.high, ranges[p][1]) for p, span in known.items() if span.high < ranges[p][1]}
            if sum(end - start for start, end in (*lower.values(), *upper.values())) > _MOST:
                return {p: max(0, end - starts[p]) for p, end in ends.items()}
            below, above = self._read(lower), self._read(upper)
            for p, span in known.items():
                span.offsets = below[p] + span.offsets if p in below else span.offsets
                span.offsets.extend(above.get(p, ()))
                span.low, span.high = min(span.low, ranges[p][0]), max(span.high, ranges[p][1])
            self._spans |= known
            return {p: known[p].between(*ranges[p]) if p in ranges else 0 for p in ends}

    def _near(self, partition: TopicPartition, start: int, end: int) -> _Span:
        """Return what is known of a partition, if nothing is missing between it and a range."""
        span = self._spans.get(partition)
        return _Span(start, start) if span is None or start > span.high or end < span.low else span

    def _read(self, ranges: Mapping[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, array[int]]:
        """Return the offsets of the messages in some ranges."""
        found = {partition: array("q") for partition in ranges}
        starts = {partition: start for partition, (start, _) in ranges.items()}
        ends = {partition: end for partition, (_, end) in ranges.items()}
        for record in records(self._connection, starts, ends):
            found[TopicPartition(record.topic, record.partition)].append(record.offset)
        return found
