"""``embedded:DIR``, a bus in an SQLite file, for all processes of one machine.

- ``database``: the file, its schema, transactions, what can go wrong with it
- ``log``: topics and their messages
- ``retention``: what may go, and room made of it
- ``groups``: members, their leases, who holds which partition, committed offsets
- ``processes``: which process a member is, and whether it lives
- ``wakeup``: a consumer sleeps in the kernel until a publisher wakes it
- ``consumer`` and ``bus``: what the protocol asks for, made of these
"""

from streams.bus.embedded.bus import EmbeddedBus
from streams.bus.embedded.consumer import EmbeddedConsumer

__all__ = ["EmbeddedBus", "EmbeddedConsumer"]
