"""One node of a local Kafka: a folder with its configuration, its log, its data and its process id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import Unprocessable
from streams.kafka.jars import deployed, jars, java

CLUSTER_ID: Final = "Y2Fsc3RyZWFtLWxvY2FsMQ"
"""The same for every node: 16 bytes in base64url."""

GRACE: Final = 20.0
"""Seconds that a node has to stop before it is killed."""


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes
    ----------
    folder : Path
        Its own.
    port : int
        At which clients reach it.
    """

    folder: Path
    port: int

    @property
    def log(self) -> Path:
        """Return the file of what it says."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int | None:
        """Return the id of its process, or None where it does not run."""
        try:
            number = int((self.folder / "pid").read_text())
        except (OSError, ValueError):
            return None
        child = _CHILDREN.get(number)
        if child is not None:
            return None if child.poll() is not None else number
        return number if str(self._properties) in _command_line(number) else None

    def configure(self, properties: str) -> None:
        """Write its configuration, and format its storage where that is new.

        Raises
        ------
        Unprocessable
            If Kafka refuses the configuration.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(properties, encoding="utf-8")
        if (self.folder / "data" / "meta.properties").exists():
            return
        arguments = ["format", "--ignore-formatted", "-t", CLUSTER_ID, "-c", str(self._properties)]
        command = self._java("kafka.tools.StorageTool", arguments, heap=64)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = _telling((done.stdout + done.stderr).splitlines())
            raise Unprocessable(f"{self._properties}: Kafka refuses it ({said})")

    def start(self, heap: int) -> None:
        """Start its process, which outlives this one.

        Parameters
        ----------
        heap : int
            Its memory in MB.
        """
        command = self._java("kafka.Kafka", [str(self._properties)], heap)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(process.pid))
        _CHILDREN[process.pid] = process

    def stop(self, grace: float = GRACE) -> None:
        """Stop its process with SIGTERM, and wait until it is gone; kill it after `grace` seconds."""
        pid = self.pid
        if pid is not None and grace > 0:
            _send(pid, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while pid is not None and self.pid == pid:
            if time.monotonic() >= deadline:
                _send(pid, signal.SIGKILL)
            time.sleep(0.05)
        (self.folder / "pid").unlink(missing_ok=True)

    def last_error(self) -> str:
        """Return the last line of its log that tells of an error, or the last at all."""
        return _telling(self.log.read_text(errors="replace").splitlines() if self.log.exists() else [])

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, main: str, arguments: Sequence[str], heap: int) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={deployed('log4j2.properties')}"
        memory = [f"-Xmx{heap}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [java(), *memory, logging, "-cp", f"{jars()}{os.sep}*", main, *arguments]


_CHILDREN: Final[dict[int, subprocess.Popen[bytes]]] = {}
"""Of this process, which has to collect them when they end."""


def _telling(lines: Sequence[str]) -> str:
    """Return the line that says most of why Java gave up."""
    errors = [line for line in lines if ("ERROR" in line or "Exception" in line) and line[:1] != "\t"]
    return (errors or list(lines) or ["it said nothing"])[-1].strip()


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _command_line(pid: int) -> str:
    """Return how a process was started, or an empty string: its number may be another process's by now."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        pass
    if Path("/proc/self").exists():
        return ""
    done = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout
