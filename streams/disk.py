"""Files and folders of this machine: put once, durable, and taken away again."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import IO, Final

BEGUN: Final = ".put-"
"""Beginning of the names of files that are being written."""

_NEEDS_NAME: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
"""What says that the file system knows no files without a name."""
_CAN_NAME: Final = hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")
"""Whether this system gives names to files that have none."""
_NO_MORE_NAMES: Final = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP)
"""What says that a file can have no other name, or not this one."""


def link_bytes(target: str, content: bytes, ready: Callable[[], None]) -> bool:
    """Put a file whole unless one is there; return whether it was put. Its content is durable then.

    It appears when `ready` has returned, which is called in any case, at last.
    """
    if os.path.exists(target):
        ready()
        return False
    folder = os.path.dirname(target)
    make(folder)
    with _nameless(folder) as (file, link):
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        ready()
        try:
            link(target)
        except FileExistsError:
            return False
    return True


@contextlib.contextmanager
def _nameless(folder: str) -> Iterator[tuple[IO[bytes], Callable[[str], None]]]:
    """Give a file that is gone with the block or the process, and what gives it a name for good.

    Where the file system knows no files without a name, it has a passing one, which a killed process leaves.
    """
    if (fd := _without_name(folder)) is not None:
        with open(fd, "wb") as file:
            yield file, partial(os.link, f"/proc/self/fd/{fd}", src_dir_fd=fd, follow_symlinks=True)
        return
    name = f"{folder}/{BEGUN}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with open(name, "xb") as file:
            yield file, partial(os.link, name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _without_name(folder: str) -> int | None:
    if not _CAN_NAME:
        return None
    try:
        return os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o666)
    except OSError as error:
        if error.errno in _NEEDS_NAME:
            return None
        raise


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


class Flushes:
    """Folders that are flushed to the disk in a thread, while their user goes on."""

    def __init__(self) -> None:
        self._begun: list[Future[None]] = []

    def begin(self, folder: str) -> None:
        """Begin to flush a folder."""
        self._begun.append(_flusher().submit(sync, folder))

    def wait(self) -> None:
        """Return when what was begun is durable.

        Raises
        ------
        OSError
            If it cannot be.
        """
        begun, self._begun = self._begun, []
        for flush in begun:
            flush.result()


@cache
def _flusher() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="flush")


def size(path: str) -> int:
    """Return how many bytes there are in a file, or below a folder; links count nothing."""
    if os.path.islink(path):
        return 0
    if not os.path.isdir(path):
        return os.stat(path).st_size
    with os.scandir(path) as found:
        return sum(size(entry.path) for entry in found)
