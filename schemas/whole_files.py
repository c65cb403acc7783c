"""Files that are there at once or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from schemas.errors import explained


def partial_of(target: Path) -> Path:
    """Return the hidden name beside a file under which this thread writes it; long names are cut."""
    return target.with_name(f".{target.name[:200]}.{os.getpid()}.{threading.get_ident()}.part")


def write_whole(target: Path, content: bytes) -> None:
    """Write a file at once or not at all, flushed to the disk; one that is there is replaced in one move.

    Parameters
    ----------
    target : Path
        The file.
    content : bytes
        All of it.

    Raises
    ------
    Retriable
        If the disk is full.
    Unprocessable
        If the folder is not there or cannot be written to.
    """
    partial = partial_of(target)
    try:
        with explained(target, "written"):
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
