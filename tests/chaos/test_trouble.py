"""What a whole machine suffers from: one clear sentence, nothing lost, on when it is mended."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import deque
from contextlib import closing

import pytest

from schemas.errors import Retriable
from streams.bus.embedded.database import NAME
from streams.current import current_products
from streams.overview import idle, look
from tests.chaos.disks import Disk
from tests.chaos.places import RECIPE, ROAD, exposure
from tests.chaos.processes import PATIENT

DAY = 86400.0
NAMES = [exposure(number) for number in range(8)]
EMBEDDED = pytest.mark.parametrize("bus", ["embedded"], indirect=True)
LATER = [exposure(number) for number in range(8, 16)]


@pytest.fixture
def store_disk(tmp_path):
    disk = Disk(tmp_path / "store", "2m")
    yield disk
    disk.close()


@pytest.fixture
def bus_disk(tmp_path):
    disk = Disk(tmp_path / "bus", "16m")
    yield disk
    disk.close()


def begun(place, crew, **how):
    """Start a service and let it process the first exposures."""
    place.feed(*NAMES)
    worker = crew.start("detector1", **how)
    crew.until(lambda: place.done("detector1") and place.record("detector1").state == "ready")
    return worker


def went_on(place, crew, worker):
    """Demand that it does the rest now, in the process that waited, and says that it is well again."""
    crew.until(lambda: place.done("detector1"))
    crew.until(lambda: place.record("detector1").state == "ready")
    crew.stop()
    assert worker.ends == []
    place.demand_all([*NAMES, *LATER], levels=["ramp"])


def test_a_store_whose_disk_is_full_is_waited_for(store_disk, place, crew):
    worker = begun(place, crew)
    place.feed(*LATER[:1])
    crew.until(lambda: place.done("detector1"))
    events = [place.product("raw", name, 1234) for name in LATER[1:]]
    store_disk.fill()
    place.publish(*events)
    sentence = crew.until(lambda: place.waits("detector1"))
    assert sentence.startswith(str(store_disk.folder))
    assert sentence.endswith("it cannot be written (no space left on device); free some space there")
    store_disk.free()
    went_on(place, crew, worker)


def test_a_store_whose_disk_is_nearly_full_is_spared(store_disk, place, crew):
    worker = begun(place, crew, options=["--free=0.1"])
    events = [place.product("raw", name, 1234) for name in LATER]
    store_disk.fill()
    place.publish(*events)
    crew.until(
        lambda: (
            place.waits("detector1") == f"{store_disk.folder}: 0.0% of the disk is free, less than 10%; "
            "free some space (`calstream prune --superseded`), and work goes on"
        )
    )
    store_disk.free()
    went_on(place, crew, worker)


def test_a_store_that_cannot_be_written_to_is_waited_for(store_disk, place, crew):
    worker = begun(place, crew)
    events = [place.product("raw", name, 1234) for name in LATER]
    store_disk.let_write(False)
    place.publish(*events)
    sentence = crew.until(lambda: place.waits("detector1"))
    assert sentence.startswith(str(store_disk.folder))
    assert "(read-only file system); choose a place that can be written to" in sentence
    store_disk.let_write(True)
    went_on(place, crew, worker)


def test_a_store_that_was_taken_away_is_waited_for_and_no_event_is_to_blame(place, crew, tmp_path):
    worker = begun(place, crew)
    other = RECIPE.model_copy(update={"name": "other"})
    events = [place.product("raw", name, 1234, recipe=other) for name in LATER]
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").touch()
    place.publish(*events)
    sentence = crew.until(lambda: place.waits("detector1"))
    assert sentence.startswith(f"{tmp_path}/store/")
    assert "it cannot be written (" in sentence
    assert "; check the path" in sentence
    late = crew.start("detector1")
    late.again = False
    late.process.join(PATIENT)
    assert late.process.exitcode == 1
    assert late.said().splitlines()[-1].startswith(f"calstream: {tmp_path}/store: it cannot be written")
    (tmp_path / "store").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    went_on(place, crew, worker)


@EMBEDDED
def test_a_bus_whose_disk_is_full_is_waited_for(bus_disk, place, crew):
    worker = begun(place, crew)
    worker.signal(signal.SIGSTOP)
    place.feed(*LATER)
    bus_disk.fill()
    with pytest.raises(Retriable, match=f"{bus_disk.folder}/{NAME}: .*(disk is full|cannot be written)"):
        deque(place.feed(NAMES[0]) for _ in range(2000))
    extra = len(place.events("raw")) - len(NAMES) - len(LATER)
    worker.signal(signal.SIGCONT)
    sentence = crew.until(lambda: [line for line in worker.said().splitlines() if "waiting" in line])[0]
    assert f"{bus_disk.folder}/{NAME}: " in sentence
    assert len(place.events("ramp")) == len(NAMES)
    bus_disk.free()
    crew.until(lambda: place.done("detector1"))
    crew.stop()
    assert worker.ends == []
    place.demand_all([*NAMES, *LATER, *NAMES[:1] * extra], levels=["ramp"])


@EMBEDDED
def test_a_damaged_bus_is_told_and_taken_up_again_from_a_copy(place, crew, tmp_path):
    worker = begun(place, crew)
    place.feed(*LATER)
    crew.until(lambda: place.done("detector1"))
    folder = tmp_path / "bus"
    place.site.bus.close()
    worker.again = False
    crew.until(lambda: stands_still(worker, folder / NAME))
    whole = (folder / NAME).read_bytes()
    (tmp_path / "noise").write_bytes(os.urandom(len(whole)))
    os.replace(tmp_path / "noise", folder / NAME)
    worker.signal(signal.SIGCONT)
    worker.process.join(PATIENT)
    assert worker.process.exitcode == 1
    assert f"calstream: {folder}/{NAME}: it is damaged" in worker.said()
    assert "put a copy back" in worker.said().splitlines()[-1]
    for name in (NAME, f"{NAME}-wal", f"{NAME}-shm"):
        (folder / name).unlink(missing_ok=True)
    (folder / NAME).write_bytes(whole)
    again = crew.start("detector1")
    new = [exposure(number) for number in range(16, 24)]
    place.feed(*new)
    crew.until(lambda: place.done("detector1"))
    crew.stop()
    assert again.ends == []
    place.demand_all([*NAMES, *LATER, *new], levels=["ramp"])


def test_a_clock_that_goes_back_a_day_leaves_the_newest_products_current(place, crew, monkeypatch):
    road = ("detector1", "ramp_fit", "image2", "image3", "associator")
    place.feed(*NAMES)
    for service in road:
        crew.start(service)
    crew.until(lambda: place.events("combined") and idle(look(place.site.bus)))
    crew.stop()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - DAY)
    place.feed(NAMES[0], version="2")
    place.feed(*LATER)
    for service in road:
        crew.start(service, clock=-DAY)
    crew.until(lambda: place.mosaic() and place.mosaic().input_count == 16 and idle(look(place.site.bus)))
    crew.stop()
    for topic in ("raw", *ROAD):
        first, second = (event for event in place.events(topic) if event.name == NAMES[0])
        assert second.generation > first.generation
        assert second.product.content != first.product.content
        assert current_products([second, first])[second.identity] == second
    renewed = next(event for event in place.events("cal")[::-1] if event.name == NAMES[0])
    (association,) = (e for e in place.events("association") if e.association == place.mosaic().association)
    with place.site.store.fetch(association.association) as path:
        assert renewed.product.content in path.read_text()
    place.demand_order()


def stands_still(worker, path):
    """Stop a process at a moment at which all of the bus is in its one file."""
    worker.signal(signal.SIGSTOP)
    with closing(sqlite3.connect(path)) as db:
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        worker.signal(signal.SIGCONT)
    return not busy
