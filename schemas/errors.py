"""The two ways to fail, and the one sentence that each owes its reader."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

_PASSING: Final = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or ask for a larger quota",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files",
    errno.ENOMEM: "free some memory",
    errno.EAGAIN: "try again",
    errno.EBUSY: "try again",
    errno.EINTR: "try again",
    errno.EIO: "check the disk and try again",
    errno.ESTALE: "check the network file system and try again",
    errno.ETIMEDOUT: "check the network file system and try again",
}
_LASTING: Final = {
    errno.EACCES: "give yourself the right to it, or choose another place",
    errno.EPERM: "give yourself the right to it, or choose another place",
    errno.EROFS: "choose a place that can be written to",
    errno.EISDIR: "move that folder away, or choose another name",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EFBIG: "choose a file system that holds files of this size",
}


class CalstreamError(Exception):
    """A failure whose message is one sentence for the user: what, where, and what to do."""


class Unprocessable(CalstreamError):  # noqa: N818  the name that dead letters show
    """The data or the request is bad: trying again gives the same failure."""


class Retriable(CalstreamError):  # noqa: N818  as above
    """Something that may pass: a server that is down, a full disk."""


class UsageError(Unprocessable):
    """A request that cannot be understood: an unknown recipe, step or parameter, a value out of bounds."""


def os_failure(error: OSError, path: str | os.PathLike[str], doing: str) -> CalstreamError:
    """Return the failure that the operating system's `error` amounts to.

    Parameters
    ----------
    error : OSError
        What was raised.
    path : str or path-like
        The file, as the user knows it.
    doing : str
        ``read`` or ``written``.
    """
    number = error.errno or 0
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    start = f"{os.fspath(path)}: it cannot be {doing} ({reason}); "
    if number in _PASSING:
        return Retriable(start + _PASSING[number])
    return Unprocessable(start + _LASTING.get(number, "check the path"))


@contextlib.contextmanager
def explained(path: str | os.PathLike[str], doing: str) -> Iterator[None]:
    """Turn the operating system's errors in the block into a sentence about `path`.

    Raises
    ------
    Retriable
        If it may pass, as a full disk does.
    Unprocessable
        If it will not, as a lack of rights.
    """
    try:
        yield
    except OSError as error:
        raise os_failure(error, path, doing) from error
