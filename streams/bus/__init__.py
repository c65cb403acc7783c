"""The bus: topics of keyed messages, consumer groups, and transactions of outputs with offsets.

One small protocol; each implementation passes the same contract tests.
"""

from streams.bus.opening import open_bus
from streams.bus.protocol import (
    PARTITIONS,
    Bus,
    Consumer,
    Member,
    Message,
    Outgoing,
    PartitionLost,
    Position,
    Topic,
    partition_of,
)

__all__ = [
    "PARTITIONS", "Bus", "Consumer", "Member", "Message", "Outgoing", "PartitionLost", "Position", "Topic",
    "open_bus", "partition_of",
]  # fmt: skip
