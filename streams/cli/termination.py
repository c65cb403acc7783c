"""What happens on SIGTERM: the same as on Ctrl-C, so that nothing half-made is left behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM
"""Exit codes, as shells count them."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came; whoever cleans up after Ctrl-C cleans up after this."""


@dataclass
class Termination:
    """Whether SIGTERM came."""

    received: bool = False


@contextmanager
def terminable() -> Iterator[Termination]:
    """Turn SIGTERM in the block into :class:`Terminated`, once: what is cleaned up then is not interrupted.

    A process that handles or ignores the signal already is left as it is.
    """
    state = Termination()

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        state.received = True
        raise Terminated

    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield state
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a command that was stopped."""
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
