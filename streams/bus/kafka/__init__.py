"""``kafka://``, the bus for more than one machine: Apache Kafka, exactly once.

What a member consumed, and what it made of it, are one transaction; readers see committed messages only.
"""

from streams.bus.kafka.bus import KafkaBus
from streams.bus.kafka.failures import Fenced

__all__ = ["Fenced", "KafkaBus"]
