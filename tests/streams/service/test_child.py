"""What a child says when, and who is blamed when it ends."""

from __future__ import annotations

import threading
import time

import pytest

from schemas.errors import Retriable
from streams.bus import Message
from streams.service.child import ChildOptions
from streams.service.messages import Failed, Task
from streams.service.progress import Progress
from streams.service.settling import Settler
from streams.service.slot import Limits, Slot
from streams.service.window import Entry

from .support import PATIENT, TO_RAMP


class Disk:
    """A store whose disk takes its time, or fails."""

    def __init__(self, error=None):
        self.error = error
        self.asked = threading.Event()
        self.ready = threading.Event()

    def settle(self, path):
        self.asked.set()
        assert self.ready.wait(PATIENT)
        if self.error is not None:
            raise self.error


def answer(number):
    return Failed(number=number, memory=1, kind="unprocessable", error="Unprocessable", sentence="bad")


def said_by(disk, paths):
    """Take an answer; let the disk be done once nothing was said before; return what is said then."""
    said, there = [], threading.Event()
    settler = Settler(disk, lambda one: (said.append(one), there.set()))
    settler.take(answer(7), paths)
    assert disk.asked.wait(PATIENT)
    assert said == []
    disk.ready.set()
    assert there.wait(PATIENT)
    return said


def test_an_answer_is_said_when_what_it_tells_of_is_durable():
    assert said_by(Disk(), ["runs/00/0/manifest.json"]) == [answer(7)]


def test_what_cannot_be_made_durable_is_tried_again():
    (said,) = said_by(Disk(Retriable("the disk does not answer; check it")), ["runs/00/0/manifest.json"])
    assert (said.number, said.kind) == (7, "retriable")
    assert said.sentence.startswith("the disk does not answer")


def test_time_counts_for_preparing_first_and_for_computing_then():
    progress = Progress()
    assert not progress.overran(0, 0)
    progress.taken(3)
    time.sleep(0.01)
    assert progress.number == 3
    assert progress.overran(0, 3600)
    assert not progress.overran(3600, 0)
    progress.begun()
    time.sleep(0.01)
    assert progress.overran(3600, 0)
    assert not progress.overran(0, 3600)
    progress.done()
    assert not progress.overran(0, 0)
    progress.clear()
    assert progress.number == 0


class Pipe:
    """The end of a pipe at which nobody listens."""

    def send(self, task):
        pass


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_of_what_a_child_has_it_is_blamed_on_what_it_took_last(taken, tmp_path):
    slot = Slot(ChildOptions(store=str(tmp_path), stages=(TO_RAMP,)), Limits())
    slot.pipe = Pipe()
    message = Message(topic="raw", key="k", value=b"", partition=0, offset=0, timestamp=0.0)
    entries = [Entry(message=message, since=0.0) for _ in range(3)]
    for number, entry in enumerate(entries, start=1):
        slot.give(entry, Task(number=number, value=b"", stage=TO_RAMP))
    if taken:
        slot._progress.taken(taken)
    suspect, rest = slot.hand_back()
    assert suspect is (entries[taken - 1] if taken else None)
    assert rest == [entry for entry in entries if entry is not suspect]
    assert slot.entry is None
