"""All services of one machine under one supervisor, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from schemas.errors import CalstreamError
from streams.overview import Overview, idle
from streams.site import Address

SUPERVISED: Final = "CALSTREAM_SUPERVISOR"
"""Variable by which a service knows the process that it ends with."""

LONGEST_PAUSE: Final = 30.0
"""Seconds before a service that ends again and again is started anew."""

_STEADY: Final = 60.0
"""Seconds after which one that runs counts as well again."""
_QUIET_LOOKS: Final = 2
"""So many looks in a row must find nothing to do."""

log = structlog.get_logger("calstream")


@dataclass(kw_only=True)
class Managed:
    """A command that is kept running.

    Attributes
    ----------
    name : str
        For people, and of its log file.
    arguments : tuple of str
        What ``calstream`` is called with.
    again : bool
        Whether it is started anew when it has ended; else its end is its end.
    group : str
        The consumer group that it is to become ready in; empty for none.
    """

    name: str
    arguments: tuple[str, ...]
    again: bool = True
    group: str = ""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    code: int | None = field(default=None)

    @property
    def running(self) -> bool:
        """Tell whether its process is there."""
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Starts commands, starts them anew when they end, and stops them.

    Parameters
    ----------
    where : Address
        Bus and store.
    managed : sequence of Managed
        What to run.
    logs : Path
        Folder for what they print.
    """

    def __init__(self, where: Address, managed: Sequence[Managed], logs: Path) -> None:
        self._where = where
        self._managed = managed
        self._logs = logs
        self._quiet = 0
        logs.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start everything."""
        for one in self._managed:
            self._start(one)

    def mend(self) -> None:
        """Start anew what has ended, after a pause that grows."""
        now = time.monotonic()
        for one in self._managed:
            if one.process is None or one.running:
                continue
            if one.code is None:
                self._ended(one, now)
            if one.again and now >= one.not_before:
                self._start(one)

    def done(self, seen: Overview) -> bool:
        """Tell whether nothing is left to do: all that runs once has ended, and the pipeline is idle."""
        once = all(not one.running for one in self._managed if not one.again)
        ready = {service.group for service in seen.services if service.live and service.state == "ready"}
        up = all(one.running and one.group in ready for one in self._managed if one.group)
        self._quiet = self._quiet + 1 if once and up and idle(seen) else 0
        return self._quiet >= _QUIET_LOOKS

    def failed(self) -> list[Managed]:
        """Return what runs once and ended with a failure."""
        return [one for one in self._managed if not one.again and not one.running and one.process
                and one.process.returncode]  # fmt: skip

    def stop(self, stopping: Callable[[], int], grace: float) -> None:
        """Let everything finish what is in work; kill what has not ended within the grace period.

        Parameters
        ----------
        stopping : callable
            How often the supervisor itself was told to stop: a second time goes on to everything.
        grace : float
            Seconds.
        """
        told = 0
        end = time.monotonic() + grace
        while any(one.running for one in self._managed) and time.monotonic() < end:
            for _ in range(max(1, stopping()) - told):
                self._signal(signal.SIGTERM)
                told += 1
            time.sleep(0.05)
        self._signal(signal.SIGKILL)
        for one in self._managed:
            if one.process is not None:
                one.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for one in self._managed:
            if one.process is not None and one.running:
                with contextlib.suppress(ProcessLookupError):
                    one.process.send_signal(number)

    def _start(self, one: Managed) -> None:
        environment = {**os.environ, **self._where.environment(), SUPERVISED: str(os.getpid())}
        with (self._logs / f"{one.name}.log").open("ab") as output:
            one.process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", *one.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the supervisor, which tells the others
            )
        one.started, one.code = time.monotonic(), None

    def _ended(self, one: Managed, now: float) -> None:
        assert one.process is not None
        one.code = one.process.returncode
        one.failures = 0 if now - one.started > _STEADY else one.failures + 1
        one.not_before = now + min(2.0 ** (one.failures - 1), LONGEST_PAUSE) if one.failures else now
        if one.again:
            log.error(
                "ended", service=one.name, code=one.code, again=f"in {one.not_before - now:g} s",
                said=last_line(self._logs / f"{one.name}.log"),
            )  # fmt: skip


def last_line(path: Path) -> str:
    """Return the last line of a log that is not empty."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line), "")


def end_with_supervisor() -> None:
    """Ask the kernel to stop this process when its supervisor is gone."""
    if SUPERVISED not in os.environ or sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if str(os.getppid()) != os.environ[SUPERVISED]:
        raise CalstreamError("the supervisor is gone; start `calstream up` again")
