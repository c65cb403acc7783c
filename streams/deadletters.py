"""Placeholder until the branch with the commands is merged."""

from __future__ import annotations

import time

from streams.bus import Message, Outgoing
from streams.topics import dead_letters


def dead_letter(message: Message, service: str, error: str, sentence: str, attempts: int) -> Outgoing:
    """Return the dead letter of a message."""
    return Outgoing(
        topic=dead_letters(message.topic, service),
        key=message.key,
        value=message.value,
        headers={
            **message.headers,
            "dlq.topic": message.topic,
            "dlq.partition": str(message.partition),
            "dlq.offset": str(message.offset),
            "dlq.service": service,
            "dlq.error": error,
            "dlq.message": sentence,
            "dlq.attempts": str(attempts),
            "dlq.time": str(time.time()),
        },
    )
