"""What can go wrong with the file of an embedded bus: a sentence, nothing lost, on when it is mended."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
from pathlib import Path

import pytest

from schemas.errors import Retriable, Unprocessable, UsageError
from streams.bus import Topic, open_bus
from streams.bus.embedded import EmbeddedBus, mounts
from streams.bus.embedded.database import NAME
from streams.bus.embedded.schema import MIGRATIONS
from streams.bus.memory import MemoryBus

from .made import positions, said, take, values


@pytest.fixture
def bus(tmp_path):
    made = EmbeddedBus(tmp_path, patience=0.2)
    made.create_topics(["raw", "ramp"])
    yield made
    made.close()


def fill(bus):
    for i in range(10_000):
        bus.publish([said("ramp", f"k{i}", "x" * 60_000)])


@pytest.fixture
def small_files(tmp_path):
    """No file may grow beyond a megabyte, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_nothing(bus, tmp_path, small_files):
    bus.publish([said("raw", "a", "1"), said("raw", "b", "2")])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    small_files()
    with pytest.raises(Retriable, match=f"{tmp_path}/{NAME}: .*try again"):
        fill(bus)
    full = len(list(bus.read("ramp")))
    with pytest.raises(Retriable):
        consumer.commit(batch, [said("ramp", "a", "made"), *(said("ramp", "a", "x" * 60_000),) * 20])
    assert bus.lag("g", ["raw"]) == {"raw": 2}
    assert len(list(bus.read("ramp"))) == full
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    consumer.commit(batch, [said("ramp", "a", "made")])
    assert values(bus.read("ramp"))[full:] == [b"made"]
    assert bus.lag("g", ["raw"]) == {"raw": 0}


def test_a_full_disk_has_a_sentence_of_its_own(bus, tmp_path):
    with bus.database.reading() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(Retriable, match=f"{tmp_path}/{NAME}: the disk is full .*free some space"):
        fill(bus)
    full = len(list(bus.read("ramp")))
    bus.publish([said("ramp", "a", "x" * 60_000)])
    assert len(list(bus.read("ramp"))) == full + 1


def test_a_damaged_file_is_told_and_the_same_object_goes_on_without_it(bus, tmp_path):
    bus.publish([said("raw", "a", "1")])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 1)
    bus.database.close()
    path = tmp_path / NAME
    path.write_bytes(os.urandom(path.stat().st_size))
    for refused in (
        lambda: EmbeddedBus(tmp_path),
        lambda: bus.publish([said("raw", "a", "2")]),
        lambda: consumer.poll(0),
        lambda: consumer.commit(batch),
    ):
        with pytest.raises(Unprocessable, match=f"{path}: it is damaged .*move it"):
            refused()
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(UsageError, match="create it first"):
        consumer.poll(0)
    bus.create_topics(["raw", "ramp"])
    bus.publish([said("raw", "a", "anew")])
    assert values(take(consumer, 1)) == [b"anew"]


def test_damage_in_the_middle_is_told_as_well(bus, tmp_path):
    bus.publish([said("raw", f"k{i}", "x" * 1000) for i in range(500)])
    bus.close()
    path = tmp_path / NAME
    content = path.read_bytes()
    path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    with pytest.raises(Unprocessable, match="it is damaged"):
        list(EmbeddedBus(tmp_path).read("raw"))


def test_a_copy_that_is_put_back_is_taken_up(bus, tmp_path):
    bus.publish([said("raw", "a", "1")])
    bus.database.close()
    shutil.copy(tmp_path / NAME, tmp_path / "copy")
    bus.create_topics(["later"])
    bus.publish([said("raw", "a", "2"), said("later", "a", "3")])
    bus.database.close()
    os.replace(tmp_path / "copy", tmp_path / NAME)
    with pytest.raises(UsageError, match="'later'; create it first"):
        bus.publish([said("later", "a", "4")])
    assert values(bus.read("raw")) == [b"1"]


def test_what_was_committed_is_not_called_a_failure_by_what_comes_after(bus, monkeypatch):
    bus.publish([said("raw", "a", "1")])
    consumer = bus.consumer("g", ["raw"])
    stepped = []

    def step():
        stepped.append(True)
        raise Retriable("the disk is full")

    monkeypatch.setattr(bus.retention, "step", step)
    monkeypatch.setattr(bus.retention, "_due", 0)
    consumer.commit(take(consumer, 1), [said("ramp", "a", "made")])
    assert stepped
    assert bus.lag("g", ["raw"]) == {"raw": 0}


def test_a_poll_that_fails_half_way_skips_nothing(bus, monkeypatch):
    bus.publish([said("raw", f"k{i}", str(i)) for i in range(30)])
    consumer = bus.consumer("g", ["raw"])
    rows, calls = bus.log.rows, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise sqlite3.OperationalError("disk I/O error")
        return rows(*arguments)

    monkeypatch.setattr(bus.log, "rows", failing)
    with pytest.raises(sqlite3.OperationalError):
        consumer.poll(0)
    assert len(take(consumer, 30)) == 30


def test_a_folder_that_was_taken_away_is_noticed(bus, tmp_path):
    consumer = bus.consumer("g", ["raw"])
    shutil.rmtree(tmp_path)
    with pytest.raises(UsageError, match="create it first"):
        bus.publish([said("raw", "a", "1")])
    bus.create_topics(["raw"])
    other = bus.consumer("g", ["raw"])
    assert set(other.keep()) | set(consumer.keep()) == positions("raw")
    assert len(bus.members("g")) == 2


def test_a_file_that_another_process_holds_is_waited_for_and_then_told(bus, tmp_path):
    bus.publish([said("raw", "a", "1")])
    other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Retriable, match=r"another process has held it for 0\.2 s; try again"):
        bus.publish([said("raw", "a", "2")])
    assert values(bus.read("raw")) == [b"1"]
    other.execute("COMMIT")
    other.close()
    bus.publish([said("raw", "a", "2")])
    assert values(bus.read("raw")) == [b"1", b"2"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become somebody without rights")
def test_a_folder_without_rights_is_told(tmp_path):
    tmp_path.chmod(0o755)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    EmbeddedBus(tmp_path).create_topics(["raw"])
    (tmp_path / NAME).chmod(0o644)
    os.seteuid(65534)
    try:
        with pytest.raises(Unprocessable, match=r"cannot be written .*give yourself the right"):
            EmbeddedBus(tmp_path).publish([said("raw", "a", "1")])
        with pytest.raises(Unprocessable, match="cannot be written"):
            EmbeddedBus(tmp_path / "below")
    finally:
        os.seteuid(0)
    bus = EmbeddedBus(tmp_path)
    bus.publish([said("raw", "a", "1")])
    assert values(bus.read("raw")) == [b"1"]


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Unprocessable, match="cannot be written"):
        EmbeddedBus(tmp_path / "file")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path, monkeypatch, kind):
    table = tmp_path / "mounts"
    spelled = str(tmp_path / "far away").replace(" ", "\\040")
    table.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {spelled} {kind} rw 0 0\n")
    monkeypatch.setattr(mounts, "_MOUNTS", table)
    with pytest.raises(UsageError, match=rf"network file system \({kind}\).* choose a folder on a disk"):
        EmbeddedBus(tmp_path / "far away" / "bus")
    assert not (tmp_path / "far away").exists()
    EmbeddedBus(tmp_path / "far away too").close()


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(bus, tmp_path):
    bus.close()
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute("PRAGMA user_version = 99")
    content = (tmp_path / NAME).read_bytes()
    with pytest.raises(UsageError, match=f"newer calstream .version 99 .* knows {len(MIGRATIONS)}"):
        EmbeddedBus(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content


def test_a_file_of_an_older_version_is_brought_up_to_date(bus, tmp_path, monkeypatch):
    bus.publish([said("raw", "a", "1")])
    bus.close()
    step = ("CREATE TABLE novelty (x)", "INSERT INTO novelty VALUES (1)")
    monkeypatch.setattr("streams.bus.embedded.database.MIGRATIONS", (*MIGRATIONS, step))
    for _ in range(2):
        again = EmbeddedBus(tmp_path)
        assert values(again.read("raw")) == [b"1"]
        with again.database.reading() as db:
            assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
            assert db.execute("SELECT count(*) FROM novelty").fetchone() == (1,)
        again.close()


def test_partitions_are_fixed_when_topics_are_created(bus, tmp_path):
    other = EmbeddedBus(tmp_path, partitions=7)
    with pytest.raises(UsageError, match="raw has 12 partitions, for ever, and not 7"):
        other.create_topics(["raw"])
    with pytest.raises(UsageError, match="topics have 12 partitions, for ever, and not 7"):
        other.create_topics(["new"])
    few = EmbeddedBus(tmp_path / "few", partitions=3)
    few.create_topics([Topic(name="raw")])
    again = EmbeddedBus(tmp_path / "few")
    again.create_topics(["raw", "ramp"])
    assert len(again.offsets_at("ramp", 0)) == 3


def test_a_bus_is_opened_by_its_url(tmp_path: Path):
    assert isinstance(open_bus("memory:"), MemoryBus)
    assert isinstance(open_bus(f"embedded:{tmp_path / 'bus'}"), EmbeddedBus)
    assert (tmp_path / "bus" / NAME).exists()
    for wrong, sentence in {
        "embeded:there": "did you mean embedded:there",
        "/some/folder": "did you mean embedded:/some/folder",
        "amqp://host": "choose from memory:, embedded:DIR",
        "embedded:": "write embedded:DIR",
        "memory:x": "write memory:",
        "": "choose from",
    }.items():
        with pytest.raises(UsageError, match=sentence):
            open_bus(wrong)
