"""Several processes fill one CRDS cache: one at a time."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from types import SimpleNamespace

import pytest

from streams import crds_client


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CRDS_PATH", str(tmp_path))
    monkeypatch.setenv("CRDS_SERVER_URL", "https://localhost:9")
    return tmp_path


def fetching(fetch):
    return SimpleNamespace(api=SimpleNamespace(cache_references=fetch))


def test_the_cache_is_locked_while_something_is_fetched(cache):
    locked = []

    def fetch(context, files, parameters):
        with open(cache / crds_client.LOCK, "w") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                locked.append(files)
        return {"flat": "a.fits"}

    got = crds_client._fetched(fetching(fetch), "jwst_0001.pmap", {"flat": "a.fits"}, {})
    assert got == {"flat": "a.fits"}
    assert locked == [{"flat": "a.fits"}]
    with open(cache / crds_client.LOCK, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is free again


def once(folder, answers):
    """Fetch a file as the client does: not if it is there."""
    os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://localhost:9")

    def fetch(context, files, parameters):
        path = folder / "a.fits"
        if not path.exists():
            with (folder / "downloads").open("a") as log:
                log.write("x")
            path.write_bytes(b"")
            path.write_bytes(b"whole")
        return {"flat": path.read_bytes()}

    answers.put(crds_client._fetched(fetching(fetch), "c", {"flat": "a.fits"}, {}))


def test_what_one_process_fetches_the_others_find(cache):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=once, args=(cache, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(120)
    assert got == [{"flat": b"whole"}] * 3
    assert (cache / "downloads").read_text() == "x"


def test_a_cache_that_cannot_be_written_is_used_without_a_lock(cache, monkeypatch):
    monkeypatch.setenv("CRDS_PATH", str(cache / "nowhere"))
    got = crds_client._fetched(fetching(lambda *_, **__: {"flat": "a"}), "c", {"flat": "a.fits"}, {})
    assert got == {"flat": "a"}
