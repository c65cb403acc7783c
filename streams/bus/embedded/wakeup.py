"""A consumer sleeps in the kernel until a publisher wakes it.

Each consumer listens on a datagram socket with a path; whoever has committed something for it sends it a
byte. One that got lost (its sender was killed in between, the folder is not shared) costs a second: nobody
sleeps longer without looking.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LONGEST_SLEEP: Final = 1.0
"""Seconds after which a sleeper looks by itself."""

_LONGEST_PATH: Final = 100  # of a socket: 108 bytes on Linux, 104 elsewhere, with the closing zero


class Bell:
    """What wakes one consumer.

    Attributes
    ----------
    address : str
        Where to ring it; empty where the system gives no place for it.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = self._bind()

    def sleep(self, seconds: float) -> None:
        """Return when the bell rings or has rung since the last sleep, at the latest after `seconds`."""
        with contextlib.suppress(OSError):  # of which a timeout is one, and a bell that was taken away
            self._socket.settimeout(max(seconds, 1e-3))
            self._socket.recv(1)
            self._socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._socket.recv(1)

    def close(self) -> None:
        """Take it away."""
        self._socket.close()
        take_away([self.address])

    def _bind(self) -> str:
        for folder in dict.fromkeys([tempfile.gettempdir(), "/tmp"]):
            with contextlib.suppress(OSError):
                address = str(_private(Path(folder)) / secrets.token_hex(8))
                if len(os.fsencode(address)) <= _LONGEST_PATH:
                    self._socket.bind(address)
                    return address
        return ""


def ring(addresses: Iterable[str]) -> None:
    """Wake whoever listens at the addresses; one that cannot be woken will look by itself."""
    wanted = [address for address in addresses if address]
    if wanted:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            for address in wanted:
                with contextlib.suppress(OSError):
                    sender.sendto(b"!", address)


def take_away(addresses: Iterable[str]) -> None:
    """Remove the files of bells whose consumers are gone."""
    for address in addresses:
        with contextlib.suppress(OSError):
            # an address comes out of a database: nothing but a socket is ever removed
            if address and stat.S_ISSOCK(os.lstat(address).st_mode):
                os.unlink(address)


def _private(folder: Path) -> Path:
    """Return a folder of this user's own below `folder`."""
    own = folder / f"calstream-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    there = own.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid() or there.st_mode & 0o077:
        raise PermissionError(f"{own} is not private")
    return own
