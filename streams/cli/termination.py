"""What happens on SIGTERM: the same as on Ctrl-C, so that nothing half-made is left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
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
    """Whether SIGTERM came, and what brings it again if it was lost."""

    received: bool = False
    again: threading.Timer | None = None


_STATE: Final = Termination()


@contextmanager
def terminable() -> Iterator[Termination]:
    """Turn SIGTERM in the block into :class:`Terminated`, once: what is cleaned up then is not interrupted.

    A process that handles or ignores the signal already is left as it is.
    """
    _STATE.received, _STATE.again = False, None
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    hook = sys.unraisablehook
    if ours:
        signal.signal(signal.SIGTERM, _stop)
        sys.unraisablehook = _lost(hook)
    try:
        yield _STATE
    finally:
        if ours:
            if _STATE.again is not None:
                _STATE.again.cancel()
                _STATE.again.join()
            sys.unraisablehook = hook
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def demand_going_on() -> None:
    """Raise :class:`Terminated` if SIGTERM came.

    For places between two pieces of work: code of others may have swallowed the exception, or have failed of
    it in a way of its own.
    """
    if _STATE.received:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a command that was stopped."""
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


def _stop(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _STATE.received = True
    raise Terminated


def _lost(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a hook for exceptions that nobody can catch, as in a callback of the compiler.

    When the signal came at such a moment, it comes again.
    """

    def told(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Terminated):
            hook(unraisable)
            return
        signal.signal(signal.SIGTERM, _stop)
        _STATE.again = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        _STATE.again.start()

    return told
