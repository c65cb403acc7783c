"""Small disks that can be filled and locked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


class Disk:
    """A file system of its own, of a few megabytes."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("needs to mount a file system")

    def fill(self) -> None:
        """Leave no byte."""
        with (self.folder / "filler").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Take away what fills it."""
        (self.folder / "filler").unlink()

    def let_write(self, allowed: bool) -> None:
        """Allow or refuse to write."""
        how = f"remount,{'rw' if allowed else 'ro'}"
        subprocess.run(["mount", "-o", how, str(self.folder)], check=True)

    def close(self) -> None:
        """Be gone."""
        subprocess.run(["umount", "-l", str(self.folder)], check=True)
