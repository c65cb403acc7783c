"""The product store: files that are put once and never changed, anywhere that fsspec reaches."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from schemas.content import file_digest
from schemas.errors import Retriable, Unprocessable, explained, os_failure
from schemas.events import Artifact
from streams import disk

SEAL: Final = "seal"
"""The empty file of a local store that marks are other names of."""
_PROBE: Final = 4096
"""Bytes by which it shows whether a disk is full."""


class Store:
    """A place for products, manifests, recipes and attempt marks.

    Parameters
    ----------
    url : str or Path
        A folder, ``file:///...``, ``s3://bucket/prefix`` or any other file system that fsspec knows and that
        can put a file only if it is absent.
    """

    def __init__(self, url: str | Path) -> None:
        import fsspec

        here = local_path(str(url))
        self.local = here is not None
        self._fs, root = fsspec.core.url_to_fs(str(here.absolute()) if here is not None else str(url))
        self._root = str(root).rstrip("/")
        self._seal = disk.Seal(f"{self._root}/{SEAL}")
        self._flushes = disk.Flushes()
        self._start = Path(self._root).as_uri() if self.local else ""
        if self.local:
            with explained(self._root, "written"):
                os.makedirs(self._root, exist_ok=True)

    @property
    def root(self) -> str:
        """Return the root as fsspec spells it: a path for a local store."""
        return self._root

    def uri(self, path: str) -> str:
        """Return the URI of a file of the store."""
        if self.local:
            return f"{self._start}/{quote(os.fsencode(path))}"
        return str(self._fs.unstrip_protocol(f"{self._root}/{path}"))

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""
        with explained(path, "read"):
            full = f"{self._root}/{path}"
            return os.path.exists(full) if self.local else bool(self._fs.exists(full))

    def read_bytes(self, path: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        Unprocessable
            If it is not there.
        """
        with explained(path, "read"):
            content: bytes = self._fs.cat_file(f"{self._root}/{path}")
            return content

    def put_if_absent(self, path: str, content: bytes, *, durable: bool = True) -> bool:
        """Write a file unless one is there already; return whether it was written.

        Of several writers exactly one wins, and the file appears whole or not at all. One that need not be
        durable may be seen before its content is there, and may not survive a loss of power.
        """
        if durable:
            put = self.put_to_settle(path, content)
            if put:
                self.settle(path)
            return put
        with kept(f"{self._root}/{path}"):
            if self.local:
                return disk.create(f"{self._root}/{path}", content)
            return self._pipe(path, content)

    def mark(self, path: str) -> bool:
        """Put an empty file unless one is there; return whether it was put.

        It is for marks, of which the name is all that counts: it may not survive a loss of power.
        """
        with kept(f"{self._root}/{path}"):
            if self.local:
                return self._seal.put(f"{self._root}/{path}")
            return self._pipe(path, b"")

    def put_to_settle(self, path: str, content: bytes) -> bool:
        """Write a file unless one is there already, of which :meth:`settle` is to make the name durable.

        It appears when what was written to workspaces is durable.
        """
        with kept(f"{self._root}/{path}"):
            if self.local:
                return disk.link_bytes(f"{self._root}/{path}", content, self._flushes.wait)
            return self._pipe(path, content)

    def settle(self, path: str) -> None:
        """Return when the name of a file that was put survives a loss of power, as its content does."""
        if self.local:
            with kept(f"{self._root}/{path}"):
                disk.sync(os.path.dirname(f"{self._root}/{path}"))

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give the path of a file that is to be written and then put; it is gone when the block ends.

        What killed processes of this machine have left is swept.
        """
        if not self.local:
            with tempfile.TemporaryDirectory(prefix="calstream-") as temporary:
                yield Path(temporary) / "incoming"
            return
        folder = Path(self._root) / "incoming"
        with kept(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
        path = folder / _own_name()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def put_file_if_absent(self, path: str, local: Path) -> bool:
        """Put a file that :meth:`incoming` gave; return whether there was none at `path`.

        It appears whole or not at all, and of several writers exactly one wins.
        """
        with kept(f"{self._root}/{path}"):
            if not self.local:
                try:
                    self._fs.put_file(str(local), f"{self._root}/{path}", mode="create")
                except FileExistsError:
                    return False
                return True
            target = f"{self._root}/{path}"
            disk.make(os.path.dirname(target))
            try:
                os.link(local, target)
            except FileExistsError:
                return False
            disk.sync(os.path.dirname(target))
            return True

    @contextlib.contextmanager
    def workspace(self, path: str) -> Iterator[Path]:
        """Give a local folder; its files become those of the store's folder `path` if the block succeeds.

        Their names are durable before anything is put after that.
        """
        if self.local:
            folder = Path(self._root) / path
            with kept(folder):
                os.makedirs(folder, exist_ok=True)
            try:
                yield folder
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._flushes.begin(str(folder))
            return
        with tempfile.TemporaryDirectory(prefix="calstream-") as temporary:
            yield Path(temporary)
            with kept(f"{self._root}/{path}"):
                for file in Path(temporary).iterdir():
                    self._fs.put_file(str(file), f"{self._root}/{path}/{file.name}")

    def names(self, path: str) -> list[str]:
        """Return the names of what lies in a folder; one that is not there is empty."""
        with explained(path, "read"):
            try:
                found = self._fs.ls(f"{self._root}/{path}", detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found)

    def remove(self, path: str) -> None:
        """Remove a folder with what is in it; one that is not there is no error."""
        full = f"{self._root}/{path}"
        with kept(full), contextlib.suppress(FileNotFoundError):
            if self.local and os.path.isdir(full) and not os.path.islink(full):
                disk.remove_folder(full)
            elif self.local:
                os.unlink(full)
            else:
                self._fs.rm(full, recursive=True)

    def remove_if_empty(self, path: str) -> None:
        """Remove a folder if there is nothing in it."""
        if self.local:  # elsewhere there are no folders but in names
            with contextlib.suppress(OSError):
                os.rmdir(f"{self._root}/{path}")

    def demand_writable(self) -> None:
        """Put a file and take it away again.

        Raises
        ------
        Retriable
            If that cannot be done.
        """
        path = f"incoming/{_own_name()}"
        self.put_if_absent(path, bytes(_PROBE), durable=False)
        self.remove(path)

    def half_put(self, before: float) -> Iterator[str]:
        """Yield the paths of files that were begun before a time and never put: their writers were killed.

        Elsewhere than on this machine nothing shows of a file before it is put.
        """
        if self.local:
            for folder, _, names in os.walk(self._root):
                for name in names:
                    path = f"{folder}/{name}"
                    with contextlib.suppress(FileNotFoundError):  # it is put at this moment
                        if name.startswith(disk.BEGUN) and os.lstat(path).st_mtime < before:
                            yield os.path.relpath(path, self._root)

    def size(self, path: str) -> int:
        """Return how many bytes there are in a file, or in all files of a folder; links count nothing."""
        full = f"{self._root}/{path}"
        with explained(path, "read"), contextlib.suppress(FileNotFoundError):
            return disk.size(full) if self.local else int(self._fs.du(full))
        return 0

    def inside(self, uri: str) -> str | None:
        """Return the path in this store of a URI, links followed; None for what lies elsewhere."""
        here = local_path(uri)
        if not self.local or here is None:
            start = self.uri("")
            return uri.removeprefix(start) if uri.startswith(start) and not self.local else None
        root, path = Path(self._root).resolve(), here.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else None

    @contextlib.contextmanager
    def fetch(self, artifact: Artifact) -> Iterator[Path]:
        """Give a local path with an artifact's content, for as long as the block lasts.

        Raises
        ------
        Unprocessable
            If its size is not what the event says; Retriable if the store cannot be reached.
        """
        here = local_path(artifact.uri)
        if here is not None:
            _demand_size(here, artifact)
            yield here
            return
        with tempfile.TemporaryDirectory(prefix="calstream-") as temporary:
            path = Path(temporary) / Path(urlsplit(artifact.uri).path).name
            with explained(artifact.uri, "read"):
                self._fs.get_file(artifact.uri, str(path))
            _demand_size(path, artifact)
            yield path

    def claim(self, uri: str, content: str) -> Artifact:
        """Return the claim check of a product that an association lists by URI and content digest."""
        here = local_path(uri)
        if here is not None:
            with explained(here, "read"):
                size = here.stat().st_size
        else:
            with explained(uri, "read"):
                size = int(self._fs.size(uri))
        return Artifact(uri=uri, size=size, sha256="0" * 64, content=content)

    def artifact(self, path: str, local: Path, content: str = "", sha256: str = "") -> Artifact:
        """Return the claim check of a file that is (or will be) at `path` and now lies at `local`.

        It is read and hashed unless its SHA-256 is given.
        """
        digest = sha256 or file_digest(local)
        return Artifact(uri=self.uri(path), size=local.stat().st_size, sha256=digest, content=content)

    def _pipe(self, path: str, content: bytes) -> bool:
        try:
            self._fs.pipe_file(f"{self._root}/{path}", content, mode="create")
        except FileExistsError:
            return False
        return True


@contextlib.contextmanager
def kept(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the operating system's errors in the block into a sentence about a file that was to be stored.

    Raises
    ------
    Retriable
        Whatever keeps a store from being written to, whoever runs it mends it; what was to be written is not
        to blame.
    """
    try:
        yield
    except OSError as error:
        raise Retriable(str(os_failure(error, path, "written"))) from error


def local_path(uri: str) -> Path | None:
    """Return the path of a file of this machine, or None where the URI leads elsewhere."""
    if uri.startswith("file:///") and not any(mark in uri for mark in "?#"):  # as a store writes them
        return Path(unquote(uri[len("file://") :]))
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(uri)


def _demand_size(path: Path, artifact: Artifact) -> None:
    with explained(path, "read"):
        size = path.stat().st_size
    if size != artifact.size:
        raise Unprocessable(
            f"{path}: {size} bytes where its event says {artifact.size}; the file was changed"
        )


def _own_name() -> str:
    """Return a name in `incoming` that tells whose it is."""
    return f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(8)}"


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine have left that are not there any more."""
    mine = f"{socket.gethostname()}."
    for left in folder.glob(f"{glob.escape(mine)}*"):
        pid = left.name.removeprefix(mine).partition(".")[0]
        if pid.isdigit() and not alive(int(pid)):
            left.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Tell whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
