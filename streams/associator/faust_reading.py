"""How Faust reads from Kafka, where faust-streaming 0.15.3 with aiokafka 0.14 would lose messages.

While a group is shared out anew Faust drops what it has fetched and goes back to the offsets that are
committed. Two things are wrong with that.

- What it drops it acknowledges, so an offset behind it may be committed before it has gone back. Here what
  was read before the group was shared out anew is not acknowledged: it comes again.
- Of a partition on which nothing has been committed yet it does not go back. So what was dropped of it is
  passed over, and lost when a later message is committed. Here it goes back to where the partition begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka


class Consumer(aiokafka.Consumer):  # type: ignore[misc]
    """Acknowledges nothing that comes again, and goes back to the beginning where nothing is committed."""

    def ack(self, message: Any) -> bool:
        """Note that a message is done, unless it comes again."""
        current = message.generation_id == self.app.consumer_generation_id
        if current and self.app.flow_control.is_active():
            return bool(super().ack(message))
        message.acked = True
        self._unacked_messages.discard(message)
        return False

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Go back to what is committed, and return it."""
        committed: Mapping[Any, int] = await super().seek_to_committed()
        changelogs = self.app.tables.changelog_topics
        fresh = [tp for tp, offset in committed.items() if not offset and tp.topic not in changelogs]
        if fresh:
            await self.seek_wait(await self.earliest_offsets(*fresh))
        return committed


class Transport(aiokafka.Transport):  # type: ignore[misc]
    """Faust's transport with that consumer."""

    Consumer = Consumer
