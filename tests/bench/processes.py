"""Processes of services under measurement."""

import contextlib
import subprocess
import time
from pathlib import Path

import psutil

from tests.bench.workers import ROOT, Failed

PATIENCE = 1800.0


class Processes:
    """Commands that run until they are told to stop.

    Parameters
    ----------
    commands : sequence of list of str
        What to start.
    env : mapping of str to str
        Their environment.
    log : Path
        Where they print.
    """

    def __init__(self, commands, env, log):
        self._log = log
        with log.open("w") as out:
            self._running = [
                subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
                for command in commands
            ]

    def wait(self, condition, pause=0.02):
        """Wait until a condition holds; between two looks for `pause` seconds.

        Raises
        ------
        Failed
            If a process ends, or it takes too long.
        """
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end or any(process.poll() is not None for process in self._running):
                raise Failed(f"a service does not go on, see {self._log}")
            time.sleep(pause)

    def used(self):
        """Return processor seconds so far, and the most memory that each process held, added up; bytes."""
        cpu, peak = 0.0, 0
        for started in self._running:
            above = psutil.Process(started.pid)
            for process in (above, *above.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    cpu += times.user + times.system
                    peak += _peak(process)
        return cpu, peak

    def signal(self, number):
        """Send all of them a signal."""
        for process in self._running:
            process.send_signal(number)

    def stop(self):
        """Stop them, and wait for them."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait()


def _peak(process):
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return process.memory_info().rss
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024
