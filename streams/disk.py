"""Files and folders of this machine: put once, durable, and taken away again."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

BEGUN: Final = ".put-"
"""Beginning of the names of files that are being written."""

_NO_MORE_NAMES: Final = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP)
"""What says that a file can have no other name, or not this one."""


def link_bytes(target: str, content: bytes) -> bool:
    """Put a file whole unless one is there; return whether it was put. Its content is durable then."""
    if os.path.exists(target):
        return False
    folder = os.path.dirname(target)
    make(folder)
    name = f"{folder}/{BEGUN}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with open(name, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, target)
        except FileExistsError:
            return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    return True


def create(target: str, content: bytes) -> bool:
    """Write a file in place unless one is there; return whether it was written. Nothing is flushed."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        file = open(target, "xb")  # noqa: SIM115  closed below, where a file that exists is none of ours
    except FileExistsError:
        return False
    try:
        with file:
            file.write(content)
    except OSError:
        os.unlink(target)  # of a full disk no mark is to remain that was none
        raise
    return True


class Seal:
    """An empty file to which other names are given: a name takes a hundredth of the time of a file.

    Parameters
    ----------
    path : str
        Where it is, on the file system of the names.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def put(self, target: str) -> bool:
        """Give it another name unless there is a file of that name; return whether it was given."""
        try:
            return self._linked(target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            create(self._path, b"")
            return self._linked(target)

    def _linked(self, target: str) -> bool:
        try:
            os.link(self._path, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_MORE_NAMES:
                raise
            return create(target, b"")
        return True


def remove_folder(folder: str) -> None:
    """Remove a folder: mostly there are but files in it, and walking through a tree takes long."""
    try:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
    except (IsADirectoryError, PermissionError):  # which it is depends on the system
        shutil.rmtree(folder)
    else:
        os.rmdir(folder)


def make(folder: str) -> None:
    """Make a folder that survives a loss of power."""
    if not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        make(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
        sync(parent)


def sync(folder: str | Path) -> None:
    """Flush a folder: the names in it survive a loss of power."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def size(path: str) -> int:
    """Return how many bytes there are in a file, or below a folder; links count nothing."""
    if os.path.islink(path):
        return 0
    if not os.path.isdir(path):
        return os.stat(path).st_size
    with os.scandir(path) as found:
        return sum(size(entry.path) for entry in found)
