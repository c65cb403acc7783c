"""Which file systems a bus cannot live on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from schemas.errors import UsageError

_MOUNTS: Final = Path("/proc/self/mounts")
_NETWORK: Final = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "gfs2", "ocfs2",
    "orangefs", "pvfs2", "glusterfs", "coda",
})  # fmt: skip
_NETWORK_FUSE: Final = frozenset({
    "sshfs", "glusterfs", "ceph", "ceph-fuse", "s3fs", "rclone", "gcsfuse", "goofys", "mount-s3", "smbnetfs",
    "davfs", "juicefs", "moosefs",
})  # fmt: skip


def refuse_network(folder: Path) -> None:
    """See to it that a folder is on a disk of this machine.

    Raises
    ------
    UsageError
        If it is on a network file system, where SQLite's locks and shared memory do not hold.
    """
    kind = _file_system(folder)
    if kind in _NETWORK or kind.removeprefix("fuse.") in _NETWORK_FUSE:
        raise UsageError(
            f"{folder}: it is on a network file system ({kind}), where an embedded bus would lose messages; "
            "choose a folder on a disk of this machine"
        )


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds a path; empty where the system does not say."""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    where = os.path.realpath(folder)
    best = kind = ""
    for line in lines:
        _, point, this_kind, *_ = line.split(" ")
        point = (
            point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        )
        inside = point == "/" or where == point or where.startswith(point + "/")
        if inside and len(point) >= len(best):  # of several on one point the last one is seen
            best, kind = point, this_kind
    return kind
