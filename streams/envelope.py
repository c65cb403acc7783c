"""Events as messages: JSON values under CloudEvents 1.0 binary headers."""

from __future__ import annotations

import secrets
from typing import Final

from schemas.errors import Unprocessable
from schemas.events import Event, parse_event
from streams.bus import Message, Outgoing

SOURCE: Final = "/calstream"
_TYPE: Final = "org.calstream."


def pack(event: Event, traceparent: str | None = None) -> Outgoing:
    """Return the message that carries an event.

    Parameters
    ----------
    event : Event
        What to say.
    traceparent : str, optional
        W3C trace context of the message that led to it; a new trace begins when absent.
    """
    return Outgoing(
        topic=event.topic,
        key=event.key,
        value=event.to_bytes(),
        headers={
            "ce_specversion": "1.0",
            "ce_id": event.id,
            "ce_source": f"{SOURCE}/{getattr(event, 'stage', '') or 'ingest'}",
            "ce_type": _TYPE + event.kind,
            "ce_subject": event.identity,
            "content-type": "application/json",
            "traceparent": child_of(traceparent),
        },
    )


def unpack(message: Message) -> Event:
    """Return the event in a message.

    Raises
    ------
    Unprocessable
        If it carries none.
    """
    try:
        return parse_event(message.value)
    except Unprocessable as error:
        where = f"{message.topic}, partition {message.partition}, offset {message.offset}"
        raise Unprocessable(f"{where}: {error}") from None


def child_of(traceparent: str | None) -> str:
    """Return a trace context with a span of its own in the trace of `traceparent`."""
    parts = (traceparent or "").split("-")
    trace = parts[1] if len(parts) == 4 and len(parts[1]) == 32 else secrets.token_hex(16)
    return f"00-{trace}-{secrets.token_hex(8)}-01"
