"""All services of one machine under one supervisor, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from schemas.errors import CalstreamError
from schemas.records import ServiceRecord
from streams.overview import Overview, by_road, idle
from streams.roster import Service
from streams.site import Address

SUPERVISED: Final = "CALSTREAM_SUPERVISOR"
"""Variable by which a service knows the process that it ends with."""

LONGEST_PAUSE: Final = 30.0
"""Seconds before a service that ends again and again is started anew."""

HOPELESS: Final = 5
"""So many times in a row something may end by mistake before `hopeless` names it."""

COMMAND: Final = (sys.executable, "-P", "-m", "streams.cli")
"""``calstream``; as from that, the folder at hand hides none of our packages (-P)."""

_STEADY: Final = 60.0
"""Seconds after which one that runs counts as well again."""
_QUIET_LOOKS: Final = 2
"""So many looks in a row must find nothing to do."""
_COMPLAINT: Final = "calstream: "


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
    last : bool
        Whether it begins when all that have a group are ready.
    process : Popen, optional
        Its process, also when that has ended.
    started : float
        When it began, seconds of a clock that never goes back.
    failures : int
        How often in a row it has ended by mistake.
    not_before : float
        When it may be started anew, on that clock.
    code : int, optional
        With which it has ended.
    log_start : int
        Where in its log this process began to write.
    told_to_stop : bool
        Whether the supervisor has told it to end.
    """

    name: str
    arguments: tuple[str, ...]
    again: bool = True
    group: str = ""
    last: bool = False
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    code: int | None = None
    log_start: int = 0
    told_to_stop: bool = False

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
    told : callable, optional
        Given a sentence when something has ended by mistake.
    """

    def __init__(
        self,
        where: Address,
        managed: Sequence[Managed],
        logs: Path,
        told: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._where = where
        self._managed = managed
        self._logs = logs
        self._told = told
        self._quiet = 0
        logs.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start everything that need not wait for others."""
        for one in self._managed:
            if not one.last:
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

    def go_on(self, seen: Overview) -> None:
        """Start what waits for the others to be ready, if they are."""
        if self._up(seen):
            for one in self._managed:
                if one.last and one.process is None:
                    self._start(one)

    def done(self, seen: Overview) -> bool:
        """Tell whether nothing is left to do: all that runs once has ended, and the pipeline is idle."""
        once = all(one.process is not None and not one.running for one in self._managed if not one.again)
        self._quiet = self._quiet + 1 if once and self._up(seen) and idle(seen) else 0
        return self._quiet >= _QUIET_LOOKS

    def completed(self, seen: Overview) -> Overview:
        """Return a look with the services that have not yet said anything themselves, or have ended."""
        heard = {s.record.pid for s in seen.services if s.state not in ("stopped", "dead")}
        silent = [one for one in self._managed if one.again]
        silent = [one for one in silent if one.process is None or one.process.pid not in heard]
        groups = {one.group or one.name for one in silent}
        kept = [s for s in seen.services if s.record.pid in heard or s.group not in groups]
        return replace(
            seen, services=tuple(by_road([*kept, *(self._silent(one, seen.time) for one in silent)]))
        )

    def failed(self) -> list[Managed]:
        """Return what runs once and ended with a failure, unless it was told to end."""
        return [one for one in self._managed if not one.again and not one.told_to_stop and not one.running
                and one.process and one.process.returncode]  # fmt: skip

    def hopeless(self) -> Managed | None:
        """Return what has ended by mistake again and again, if anything has."""
        return next((one for one in self._managed if one.failures >= HOPELESS), None)

    def complaints(self, one: Managed) -> list[str]:
        """Return what a process has complained of, each once: the last line of its log where it did not."""
        lines = _lines(self._logs / f"{one.name}.log", one.log_start)
        found = [line.removeprefix(_COMPLAINT) for line in lines if line.startswith(_COMPLAINT)]
        return list(dict.fromkeys(found or lines[-1:]))

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
                one.told_to_stop = True
                with contextlib.suppress(ProcessLookupError):
                    one.process.send_signal(number)

    def _start(self, one: Managed) -> None:
        environment = {**os.environ, **self._where.environment(), SUPERVISED: str(os.getpid())}
        with (self._logs / f"{one.name}.log").open("ab") as output:
            one.log_start = output.seek(0, os.SEEK_END)
            one.process = subprocess.Popen(
                [*COMMAND, *one.arguments],
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
            pause = one.not_before - now
            self._told(
                f"{one.name} {self._how(one)}; it is started again{f' in {pause:g} s' if pause else ''}"
            )

    def _how(self, one: Managed) -> str:
        """Return how something has ended, and why."""
        code = one.code or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        why = self.complaints(one)
        return f"{how} ({why[-1]})" if why and code >= 0 else how

    def _up(self, seen: Overview) -> bool:
        """Tell whether all that have a group run and are ready."""
        ready = {service.group for service in seen.services if service.live and service.state == "ready"}
        return all(one.running and one.group in ready for one in self._managed if one.group)

    def _silent(self, one: Managed, now: float) -> Service:
        ended = one.process is not None and not one.running
        pid = one.process.pid if one.process is not None else 0
        record = ServiceRecord(
            service=one.name, instance=str(pid), host=socket.gethostname(), pid=pid,
            state="ended" if ended else "starting",
            sentence=f"{self._how(one)}; it is started again" if ended and one.code is not None else "",
            started=now - (time.monotonic() - one.started if one.process is not None else 0.0), time=now,
        )  # fmt: skip
        return Service(record=record)


def _lines(path: Path, start: int) -> list[str]:
    """Return the lines of a log from a place on that are not empty; of a long one, the last."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - 65536))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return []
    return [line for line in lines if line]


def end_with_supervisor() -> None:
    """Ask the kernel to stop this process when its supervisor is gone."""
    if SUPERVISED not in os.environ or sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if str(os.getppid()) != os.environ[SUPERVISED]:
        raise CalstreamError("the supervisor is gone; start `calstream up` again")
