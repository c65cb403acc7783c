"""Marks of attempts: counted from 1, kept apart by event, gone when they are forgotten."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from streams import marks
from streams.store import SEAL, Store

ONE, TWO = "1" * 32, "2" * 32


@pytest.fixture(params=["local", "memory://"])
def store(request, tmp_path):
    """A store on the disk, and one in which there are no folders and no links."""
    return Store(tmp_path / "store" if request.param == "local" else f"memory://{tmp_path.name}")


def test_attempts_and_failures_of_an_event_are_counted(store):
    assert [marks.begin(store, ONE) for _ in range(3)] == [1, 2, 3]
    assert marks.begin(store, TWO) == 1
    assert [marks.note_failure(store, ONE, sentence) for sentence in ("first", "second")] == [1, 2]
    assert marks.failures(store, ONE) == 2
    assert marks.failures(store, TWO) == 0
    assert marks.last_failure(store, ONE, 2) == "second"
    assert {event: len(paths) for event, paths in marks.all_marks(store).items()} == {ONE: 5, TWO: 1}


def test_what_is_forgotten_begins_anew_and_leaves_others_alone(store):
    for event in (ONE, TWO):
        marks.begin(store, event)
        marks.note_failure(store, event, "no light")
    marks.forget(store, ONE)
    marks.forget(store, ONE)  # nothing is left to forget
    assert marks.failures(store, ONE) == 0
    assert marks.begin(store, ONE) == 1
    assert marks.failures(store, TWO) == 1
    assert marks.begin(store, TWO) == 2


def test_of_many_at_once_each_has_a_number_of_its_own(tmp_path):
    stores = [Store(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda n: marks.begin(stores[n % 8], ONE), range(64)))
    assert sorted(numbers) == list(range(1, 65))


@pytest.mark.parametrize("refusal", [errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP])
def test_a_disk_that_gives_no_more_names_is_given_files(refusal, tmp_path, monkeypatch):
    store = Store(tmp_path)
    marks.begin(store, ONE)

    def refuse(source, target):
        if os.path.exists(target):
            raise FileExistsError(target)
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refuse)
    assert [marks.begin(store, ONE), marks.begin(store, ONE), marks.begin(store, TWO)] == [2, 3, 1]


def test_a_seal_that_somebody_removed_is_made_again(tmp_path):
    store = Store(tmp_path)
    marks.begin(store, ONE)
    (tmp_path / SEAL).unlink()
    assert [marks.begin(store, ONE), marks.begin(store, TWO)] == [2, 1]
    assert (tmp_path / SEAL).stat().st_nlink == 3
