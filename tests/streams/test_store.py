from __future__ import annotations

import errno
import hashlib
import os
import resource
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from schemas.errors import Retriable, Unprocessable
from schemas.events import Artifact
from streams import disk
from streams.store import Store, local_path


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        yield Store(tmp_path / "a store#1")
        return
    import fsspec

    yield Store(f"memory://{tmp_path.name}")
    fsspec.filesystem("memory").rm("/", recursive=True)


def test_a_file_is_put_once(store):
    assert store.put_if_absent("recipes/a.yaml", b"first")
    assert not store.put_if_absent("recipes/a.yaml", b"second")
    assert store.read_bytes("recipes/a.yaml") == b"first"
    assert store.exists("recipes/a.yaml")
    assert not store.exists("recipes/b.yaml")


def test_of_many_writers_exactly_one_wins(tmp_path):
    store = Store(tmp_path)
    won = []
    barrier = threading.Barrier(8)

    def write(n: int) -> None:
        barrier.wait()
        if store.put_if_absent("runs/x/manifest.json", str(n).encode() * 1000):
            won.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read_bytes("runs/x/manifest.json") == str(won[0]).encode() * 1000
    assert [p.name for p in (tmp_path / "runs/x").iterdir()] == ["manifest.json"]


def test_a_workspace_appears_whole_and_is_fetched_by_claim_check(store):
    with store.workspace("runs/ab/try") as folder:
        (folder / "x_rate.fits").write_bytes(b"pixels")
        artifact = store.artifact("runs/ab/try/x_rate.fits", folder / "x_rate.fits", "c" * 64)
    assert artifact.sha256 == hashlib.sha256(b"pixels").hexdigest()
    with store.fetch(artifact) as path:
        assert path.read_bytes() == b"pixels"
    assert store.claim(artifact.uri, "c" * 64).size == 6


def test_a_workspace_that_failed_leaves_nothing(store):
    def fail() -> None:
        with store.workspace("runs/ab/try") as folder:
            (folder / "x_rate.fits").write_bytes(b"pix")
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    assert not store.exists("runs/ab/try/x_rate.fits")


def test_nothing_is_put_before_the_names_in_a_workspace_are_durable(tmp_path, monkeypatch):
    store, folder, flushed = Store(tmp_path), str(tmp_path / "runs/ab/try"), []
    waits = threading.Event()

    def sync(path):
        if path == folder:
            assert waits.wait(60)
            flushed.append((path, store.exists("runs/ab/manifest.json")))

    monkeypatch.setattr(disk, "sync", sync)
    with store.workspace("runs/ab/try"):
        pass
    # the content of the manifest, which the disk has first
    monkeypatch.setattr(os, "fsync", lambda fd: waits.set())
    assert store.put_if_absent("runs/ab/manifest.json", b"{}")
    assert flushed == [(folder, False)]


@pytest.mark.parametrize("there", [False, True])
def test_a_workspace_that_cannot_be_made_durable_lets_nothing_be_put_once(there, tmp_path, monkeypatch):
    store = Store(tmp_path)
    if there:
        store.put_if_absent("runs/ab/manifest.json", b"first")
    with monkeypatch.context() as broken:
        broken.setattr(disk, "sync", lambda path: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        with store.workspace("runs/ab/try"):
            pass
        with pytest.raises(Retriable, match=r"manifest\.json: it cannot be written"):
            store.put_to_settle("runs/ab/manifest.json", b"{}")
    assert store.exists("runs/ab/manifest.json") == there
    assert store.put_if_absent("runs/ab/manifest.json", b"{}") != there


def test_where_no_file_is_without_a_name_one_has_a_passing_one(tmp_path, monkeypatch):
    seen = []
    store, opened, link = Store(tmp_path), os.open, os.link

    def refuse(path, flags, *args, **keywords):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return opened(path, flags, *args, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "link", lambda source, target: (seen.append(source), link(source, target)))
    assert store.put_if_absent("runs/x/manifest.json", b"first")
    assert not store.put_if_absent("runs/x/manifest.json", b"second")
    assert store.read_bytes("runs/x/manifest.json") == b"first"
    assert [Path(path).name.startswith(disk.BEGUN) for path in seen] == [True]
    assert [path.name for path in (tmp_path / "runs/x").iterdir()] == ["manifest.json"]


def test_a_changed_file_is_not_taken_for_the_one_that_was_announced(tmp_path):
    store = Store(tmp_path)
    file = tmp_path / "x.fits"
    file.write_bytes(b"12345")
    artifact = Artifact(uri=file.as_uri(), size=4, sha256="0" * 64)
    with pytest.raises(Unprocessable, match="5 bytes where its event says 4"), store.fetch(artifact):
        pass


def test_a_missing_file_is_one_sentence(store):
    with pytest.raises(Unprocessable, match=r"nothing\.json"):
        store.read_bytes("nothing.json")


def test_a_folder_that_may_not_be_written_to(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(Unprocessable, match="file"):
        Store(blocker / "store")


def test_a_store_that_was_taken_away_is_its_operators_matter_whoever_wants_to_write(tmp_path):
    store = Store(tmp_path / "store")
    store.demand_writable()
    assert store.names("incoming") == []
    (tmp_path / "store" / "incoming").rmdir()
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("x")
    sentence = f"{tmp_path}/store/.*: it cannot be written .*; check the path"
    for write in (
        lambda: store.put_if_absent("a/b", b"x"),
        lambda: store.put_if_absent("a/b", b"x", durable=False),
        lambda: store.mark("a/b"),
        lambda: store.workspace("runs/x").__enter__(),
        lambda: store.incoming().__enter__(),
        store.demand_writable,
    ):
        with pytest.raises(Retriable, match=sentence):
            write()


def test_a_full_disk_leaves_no_mark_that_was_not_made(tmp_path):
    store = Store(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        for durable in (True, False):
            with pytest.raises(Retriable, match="it cannot be written"):
                store.put_if_absent("attempts/x/1", b"x" * 100, durable=durable)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.names("attempts/x") == []


def test_paths_with_odd_characters_survive_the_way_through_a_uri(tmp_path):
    store = Store(tmp_path / "a b#c%d")
    store.put_if_absent("é.json", b"1")
    assert local_path(store.uri("é.json")).read_bytes() == b"1"


def test_a_file_that_was_written_apart_is_put_once_and_nothing_is_left(store):
    for content, wins in ((b"first", True), (b"second", False)):
        with store.incoming() as path:
            path.write_bytes(content)
            assert store.put_file_if_absent("raw/ab/x_uncal.fits", path) is wins
    assert store.read_bytes("raw/ab/x_uncal.fits") == b"first"
    assert store.names("raw/ab") == ["x_uncal.fits"]
    assert store.names("incoming") == []
    assert store.names("nowhere") == []


def test_what_killed_processes_were_writing_is_swept(tmp_path):
    store = Store(tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        (tmp_path / "incoming").mkdir(exist_ok=True)
        (tmp_path / "incoming" / f"{socket.gethostname()}.{pid}.ab").write_bytes(b"half")
    (tmp_path / "incoming" / f"another-host.{ended.pid}.ab").write_bytes(b"half")
    with store.incoming():
        pass
    left = [f"another-host.{ended.pid}.ab", f"{socket.gethostname()}.{os.getpid()}.ab"]
    assert store.names("incoming") == sorted(left)
