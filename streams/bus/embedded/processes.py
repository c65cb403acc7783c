"""Which process a member of a group is, and whether it lives."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, told from all others that have or had its number.

    Attributes
    ----------
    boot : str
        Of the machine since it was started; empty where the system does not say.
    namespace : str
        Within which the number counts: that of a container.
    number : int
        The pid.
    started : int
        Ticks of the clock after the boot; 0 where the system does not say.
    """

    boot: str
    namespace: str
    number: int
    started: int

    def gone(self) -> bool:
        """Tell whether it has certainly ended; of one in another container nobody here can know."""
        here = this_process()
        if self == here:
            return False
        if self.boot != here.boot:
            return True
        if self.namespace != here.namespace:
            return False
        if here.started:
            state, started = _look_up(self.number)
            return state in "ZX" or started != self.started
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


def this_process() -> Process:
    """Return the calling process."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=1)
def _process(number: int) -> Process:
    try:
        namespace = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        namespace = ""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return Process(boot, namespace, number, _look_up(number)[1])


def _look_up(number: int) -> tuple[str, int]:
    """Return state and start of a process; ``X`` (dead) and 0 where there is none."""
    try:
        line = (_PROC / str(number) / "stat").read_text(errors="replace")
    except OSError:
        return "X", 0
    # the name of the program is in parentheses and may contain anything
    fields = line.rpartition(")")[2].split()
    return fields[0], int(fields[19])
