"""New files, taken once they are whole."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from watchfiles import Change

from schemas.errors import UsageError
from schemas.records import ServiceRecord
from streams.ingest.finding import Finder
from streams.ingest.report import Taken
from streams.ingest.session import IngestRequest, ingest, ingest_and_watch
from streams.ingest.watching import Pace, Watcher
from streams.store import Store
from streams.topics import SERVICES

PACE = Pace(settle=100.0, patience=500.0, again=50.0, rescan=10_000.0)
DEADLINE = 60.0


class Watched:
    """A watcher whose clock stands still, and what it took."""

    def __init__(self, tmp_path: Path, pace: Pace = PACE) -> None:
        self.now = 0.0
        self.folder = tmp_path / "inbox"
        self.folder.mkdir(exist_ok=True)
        self.taken: list[str] = []
        self.told: list[Taken] = []
        self.outcome = "published"
        store = Store(self.folder / "store")
        self.watcher = Watcher(
            [self.folder], Finder(store), self._take, self.told.append, pace, clock=lambda: self.now
        )
        self.watcher.turn()

    def _take(self, path: Path) -> list[Taken]:
        self.taken.append(path.name)
        sentence = "not now" if self.outcome == "waiting" else ""
        return [Taken(path=path, outcome=self.outcome, sentence=sentence)]

    def hear(self, *changes: tuple[Change, Path], after: float = 0.0) -> list[str]:
        """Let time pass and changes be told; return what was taken then."""
        self.now += after
        before = len(self.taken)
        self.watcher.turn([(change, str(path)) for change, path in changes])
        return self.taken[before:]


@pytest.fixture
def watched(tmp_path) -> Watched:
    return Watched(tmp_path)


def test_a_file_that_is_being_written_is_taken_once_it_has_settled(watched, arrive):
    whole = arrive("elsewhere").read_bytes()
    path = watched.folder / "x_uncal.fits"
    for end in (0, 2880, len(whole) // 2, len(whole)):
        path.write_bytes(whole[:end])
        assert watched.hear((Change.added, path), (Change.modified, path), after=90) == []
    assert watched.hear(after=90) == []
    assert watched.hear(after=20) == ["x_uncal.fits"]
    assert watched.hear((Change.modified, path), after=1000) == []


def test_a_file_that_was_renamed_into_its_place_is_taken_at_once(watched, arrive):
    source = arrive("elsewhere")
    os.utime(source, (1, 1))
    target = watched.folder / source.name
    source.rename(target)
    assert watched.hear((Change.added, target)) == [source.name]


def test_one_that_only_seems_whole_and_new_waits(watched, arrive):
    """Between two of its extensions a file that is being written has all that its headers announce."""
    path = arrive("inbox")
    path.write_bytes(path.read_bytes())
    while os.stat(path).st_mtime_ns != os.stat(path).st_ctime_ns:
        path.write_bytes(path.read_bytes())
    assert watched.hear((Change.added, path)) == []
    assert watched.hear(after=101) == [path.name]


def test_a_file_that_stays_cut_off_is_refused_after_a_longer_while_and_again_when_it_changes(watched, arrive):
    watched.outcome = "refused"
    path = arrive("inbox")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2880])
    assert watched.hear((Change.added, path), (Change.modified, path)) == []
    assert watched.hear(after=499) == []
    assert watched.hear(after=2) == [path.name]
    assert watched.hear((Change.modified, path), after=1000) == []
    path.write_bytes(whole)
    assert watched.hear((Change.modified, path)) == []
    assert watched.hear(after=101) == [path.name]


def test_a_file_that_could_not_be_taken_is_tried_again_and_told_once(watched, arrive):
    watched.outcome = "waiting"
    path = arrive("inbox")
    watched.hear((Change.added, path))
    assert watched.hear(after=101) == [path.name]
    assert watched.hear(after=49) == []
    assert watched.hear(after=2) == [path.name]
    assert len(watched.told) == 1
    watched.outcome = "published"
    assert watched.hear(after=51) == [path.name]
    assert [note.outcome for note in watched.told] == ["waiting", "published"]
    assert watched.watcher.waiting == 0


def test_what_is_there_and_old_is_taken_first(tmp_path, arrive):
    for number in (1, 2):
        path = arrive("inbox/deep/down", number=number)
        os.utime(path, (10 - number, 10 - number))
    watched = Watched(tmp_path, Pace(settle=0.0))
    assert [name.split("_")[2] for name in watched.taken] == ["00002", "00001"]


def test_a_folder_that_is_moved_here_brings_its_files(watched, arrive):
    path = arrive("elsewhere")
    folder = path.parent.rename(watched.folder / "night")
    assert watched.hear((Change.added, folder)) == []
    assert watched.hear(after=101) == [path.name]


def test_files_that_nobody_told_of_are_found(tmp_path, arrive):
    watched = Watched(tmp_path, Pace(settle=100.0, rescan=30.0))
    path = arrive("inbox")
    assert watched.hear(after=29) == []
    assert watched.hear(after=2) == []
    assert watched.hear(after=101) == [path.name]


def test_hidden_files_other_files_and_the_stores_are_left_alone(watched, arrive):
    whole = arrive("elsewhere").read_bytes()
    names = (".part_uncal.fits", ".hidden/x_uncal.fits", "x_rate.fits", "store/raw/x_uncal.fits", "note.txt")
    paths = [watched.folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole)
    assert watched.hear(*((Change.added, path) for path in (*paths, watched.folder / ".hidden"))) == []
    assert watched.watcher.waiting == 0
    assert Finder(Store(watched.folder / "store")).files([watched.folder]) == [watched.folder]


def test_a_file_that_goes_away_is_forgotten(watched, arrive):
    path = arrive("inbox")
    watched.hear((Change.added, path))
    path.unlink()
    assert watched.hear((Change.deleted, path), after=101) == []
    assert watched.watcher.waiting == 0


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path, site):
    with pytest.raises(UsageError, match="make the folder first"):
        Watcher([tmp_path / "nowhere"], Finder(site.store), lambda path: [], lambda note: None)


@pytest.mark.parametrize("polling", [False, True])
def test_a_folder_is_watched_until_it_is_stopped(tmp_path, site, arrive, events, notes, polling):
    first, stop = arrive(), threading.Event()
    request = IngestRequest(paths=[first.parent], plan=False, interval=0.05)
    pace = Pace(settle=0.2, patience=0.5, rescan=1000.0, polling=polling)
    thread = threading.Thread(target=ingest_and_watch, args=(request, site, notes, pace, stop))
    thread.start()
    _until(lambda: len(notes) == 1)
    record = _records(site)[-1]
    assert (record.service, record.state, record.pid) == ("ingest", "watching", os.getpid())
    arrive("elsewhere", number=2).rename(tmp_path / "inbox" / "second_uncal.fits")
    (tmp_path / "inbox" / "broken_uncal.fits").write_bytes(b"SIMPLE")
    _until(lambda: len(notes) == 3)
    assert sorted(note.outcome for note in notes) == ["published", "published", "refused"]
    stop.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert [event.name.split("_")[2] for event in events("raw")] == ["00001", "00002"]
    assert [event.stage for event in events("failures")] == ["ingest"]
    assert events("plan") == []
    assert _records(site)[-1].state == "stopped"


def test_a_file_that_comes_while_the_watch_begins_is_found(site, arrive, notes, monkeypatch):
    """The file system tells of what comes after it was asked to; what is there then is looked for."""
    first, stop = arrive(), threading.Event()

    def begun(*_, **__):
        arrive(number=2)
        while not stop.is_set():
            yield set()

    monkeypatch.setattr("streams.ingest.watching.watch", begun)
    pace = Pace(settle=0.0, rescan=1000.0)
    request = IngestRequest(paths=[first.parent], plan=False)
    thread = threading.Thread(target=ingest_and_watch, args=(request, site, notes, pace, stop))
    thread.start()
    _until(lambda: len(notes) == 2)
    stop.set()
    thread.join(DEADLINE)


def test_ingest_without_watching_says_that_it_runs_too(site, arrive, notes, events):
    ingest(IngestRequest(paths=[arrive().parent]), site, notes)
    assert [record.state for record in _records(site)] == ["watching", "stopped"]
    assert [note.outcome for note in notes] == ["published"]
    assert len(events("plan")) == 1


def _records(site) -> list[ServiceRecord]:
    return [ServiceRecord.model_validate_json(message.value) for message in site.bus.read(SERVICES)]


def _until(holds) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
