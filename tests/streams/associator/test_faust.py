"""The associator on a real broker: a Faust app in processes of its own, which stop, die and stall."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from processors.recipes import builtin
from schemas.associations import Association
from schemas.events import PlanEvent, RecipeReference, parse_event
from schemas.records import ServiceRecord
from streams.associator import Associator, Expectation
from streams.bus import Outgoing
from streams.bus.kafka import KafkaBus
from streams.envelope import pack
from streams.recipes import freeze
from streams.roots import put_by_digest
from streams.site import Address, Site
from streams.store import Store
from streams.topics import READERS, changelog, every_topic
from streams.usage import Usage, usage
from tests.streams.bus.brokers import empty_bus, stop_clusters
from tests.streams.bus.locked import locked_broker

from .made import IMAGE, cal, exposure, failure, plan
from .test_reducer import last_words

PATIENT = 180.0
"""Seconds within which anything happens."""


@pytest.fixture(scope="module", autouse=True)
def _no_broker_stays():
    yield
    stop_clusters()


class Observatory:
    """A bus, a store, and the associators that were started on them."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.here = folder / "here"
        self.here.mkdir()
        self.bus = KafkaBus(url) if url else empty_bus()
        self.bus.create_topics(every_topic())
        self.store = Store(folder / "store")
        self.recipe = RecipeReference(name="optimal", digest=freeze(builtin("optimal"), self.store))
        self.url = url or f"kafka://{','.join(self.bus.connection.servers)}"
        self.workers: list[subprocess.Popen[bytes]] = []

    def worker(self, quiet: float = 1e6, deadline: float = 1e6) -> subprocess.Popen[bytes]:
        """Start an associator, and wait until it is ready."""
        command = [
            sys.executable, "-P", "-m", "streams.cli", "serve", "associator", "--bus", self.url,
            "--store", str(self.folder / "store"), "--quiet-period", str(quiet),
            "--association-deadline", str(deadline), "-v",
        ]  # fmt: skip
        return self.start(command)

    def start(self, command: list[str], state: str = "ready") -> subprocess.Popen[bytes]:
        number = len(self.workers)
        with (self.folder / f"worker-{number}.log").open("wb") as log:
            self.workers.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.here))
        self.until(lambda: self.state() == state)
        return self.workers[-1]

    def state(self) -> str:
        """Return what the last worker says it is at."""
        return next((r.state for r in self.records() if r.pid == self.workers[-1].pid), "")

    def records(self) -> list[ServiceRecord]:
        last = {message.key: message.value for message in self.bus.read("services")}
        return [ServiceRecord.model_validate_json(value) for value in last.values() if value]

    def watch(self) -> None:
        """Let an ingest watch for files: somebody to wait for."""
        now = time.time()
        record = ServiceRecord(
            service="ingest", instance="a-1", host="a", pid=1, started=now, time=now, state="watching",
            interval=1e6,
        )  # fmt: skip
        self.bus.publish([Outgoing(topic="services", key=record.key, value=record.to_bytes())])

    def say(self, *messages) -> None:
        self.bus.publish([pack(self.event(message)) for message in messages])

    def event(self, message):
        if not isinstance(message, Expectation):
            return message.with_(recipe=self.recipe)
        text = message.plan.model_dump_json().encode()
        return PlanEvent(
            name=f"plan-{message.plan.program}", generation=message.generation, recipe=self.recipe,
            keywords={"PROGRAM": message.plan.program},
            plan=put_by_digest(self.store, "plans", text, ".json"),
        )  # fmt: skip

    def said(self):
        return [parse_event(message.value) for message in self.bus.read("association")]

    def words(self):
        """Return the last word on each association: completeness and what it says."""
        return {event.association_id: (event.completeness, self.association(event)) for event in self.said()}

    def association(self, event) -> Association:
        with self.store.fetch(event.association) as path:
            return Association.model_validate_json(path.read_bytes())

    def needed(self) -> Usage:
        address = Address(bus=self.url, store=str(self.folder / "store"))
        return usage(Site(bus=self.bus, store=self.store, address=address))

    def lag(self) -> int:
        return sum(self.bus.lag("associator", READERS["associator"]).values())

    def until(self, holds) -> None:
        deadline = time.monotonic() + PATIENT
        while not holds():
            ended = [n for n, worker in enumerate(self.workers) if worker.poll() not in (None, 0, -9)]
            told = "".join((self.folder / f"worker-{number}.log").read_text() for number in ended)
            assert not told, told
            lag = self.bus.lag("associator", READERS["associator"])
            assert time.monotonic() < deadline, f"not within {PATIENT} s; lag {lag}, said {len(self.said())}"
            time.sleep(0.1)

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.bus.close()


@pytest.fixture
def there(tmp_path):
    made = Observatory(tmp_path)
    yield made
    made.end()


def programs(number: int, members: int):
    """Return plans, members and failures of programs, and the last words of the reducer on them."""
    every = [{**IMAGE, "PROGRAM": f"{program:05}"} for program in range(1, number + 1)]
    messages = [plan(range(1, members + 1), keywords=keywords) for keywords in every]
    for keywords in every:
        messages += [cal(n, keywords=keywords) for n in range(2, members + 1)]
        messages.append(
            failure(1, keywords=keywords) if keywords["PROGRAM"][-1] == "3" else cal(1, keywords=keywords)
        )
    return messages


def expected(there: Observatory, messages):
    alone = Associator()
    said = []
    for message in messages:
        taken = message if isinstance(message, Expectation) else there.event(message)
        said += alone.take(taken, 0.0).emissions
    return {key: (word.completeness, word.association) for key, word in last_words(said).items()}


def test_shuffled_and_doubled_arrivals_give_the_associations_of_the_reducer(there):
    messages = programs(20, 6)
    mixed = [*messages, *messages[::3]]
    random.Random(4).shuffle(mixed)
    there.worker()
    for some in (mixed[first : first + 40] for first in range(0, len(mixed), 40)):
        there.say(*some)
    wanted = expected(there, messages)
    there.until(lambda: there.words() == wanted and not there.lag())
    assert len(wanted) == 20
    assert len({event.id for event in there.said()}) == len(there.said())


def test_it_gets_into_a_broker_that_demands_tls_and_a_password(tmp_path, monkeypatch):
    with locked_broker(tmp_path) as locked:
        for name, value in locked.secrets.items():
            monkeypatch.setenv(name, value)
        there = Observatory(tmp_path, locked.url)
        try:
            there.worker()
            there.say(plan([1, 2]), cal(1), cal(2))
            there.until(lambda: len(there.said()) == 1 and not there.lag())
            assert [(event.members, event.completeness) for event in there.said()] == [(2, "complete")]
            assert list(there.here.iterdir()) == [], "nothing is written where it is started"
        finally:
            there.end()


def test_one_of_two_workers_is_killed_and_nothing_is_missing_or_wrong(there):
    messages = programs(30, 6)
    random.Random(5).shuffle(messages)
    first, _ = there.worker(), there.worker()
    half = len(messages) // 2
    there.say(*messages[:half])
    there.until(lambda: len(there.said()) > 0 or not there.lag())
    there.say(*messages[half : half + 20])
    first.send_signal(signal.SIGKILL)
    there.say(*messages[half + 20 :])
    wanted = expected(there, messages)
    there.until(lambda: there.words() == wanted and not there.lag())
    assert len(wanted) == 30


def test_another_one_goes_on_from_the_changelog(there):
    there.watch()  # else a wait may end before the worker does
    first = there.worker()
    there.say(plan(range(1, 9)), *(cal(n) for n in range(1, 8)))
    there.until(lambda: not there.lag())
    assert {cal(n).product.content for n in range(1, 8)} <= there.needed().digests
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENT) == 0
    assert there.said() == []
    there.worker()
    there.until(lambda: any(record.open == 1 for record in there.records()))
    there.say(cal(8))
    there.until(lambda: len(there.said()) == 1)
    (event,) = there.said()
    assert (event.members, event.completeness, event.stage) == (8, "complete", "image3")


def test_the_clock_sends_out_what_is_quiet_and_what_is_late_and_the_rest_follows(there):
    there.watch()
    other = {**IMAGE, "PROGRAM": "00042"}
    there.worker(quiet=2.0, deadline=4.0)
    there.say(cal(1), cal(2), plan([1, 2, 3], keywords=other), cal(1, keywords=other))
    there.until(lambda: len(there.words()) == 2)
    assert sorted(completeness for completeness, _ in there.words().values()) == ["partial", "unknown"]
    there.say(cal(2, keywords=other), cal(3, keywords=other))
    there.until(lambda: "complete" in [event.completeness for event in there.said()])
    assert sorted(event.members for event in there.said() if event.program == "00042") == [1, 3]


def test_a_wait_for_nothing_ends_at_once(there):
    there.worker()
    there.say(cal(1), cal(2))
    there.until(lambda: len(there.said()) > 0 and not there.lag())
    assert {event.completeness for event in there.said()} == {"unknown"}
    assert there.said()[-1].members == 2


def test_bytes_that_are_no_event_go_to_the_dead_letters_and_the_rest_goes_on(there):
    there.worker()
    there.bus.publish([Outgoing(topic="cal", key="k", value=b"no event")])
    there.say(plan([1]), cal(1))
    there.until(lambda: len(there.said()) == 1 and not there.lag())
    (letter,) = there.bus.read("cal.associator.dlq")
    assert (letter.value, letter.headers["dlq.topic"]) == (b"no event", "cal")


SMALL = """
import functools, sys
from streams.associator import faust_service, tables
from streams.site import Address, open_site

tables.Desks = functools.partial(tables.Desks, kept=4)
site = open_site(Address(bus=sys.argv[1], store=sys.argv[2]))
faust_service.FaustAssociatorService(site, lambda: 0).run()
"""


def test_programs_that_are_quiet_are_parked_and_what_comes_later_of_them_is_added(there):
    messages = programs(30, 6)
    small = there.start([sys.executable, "-c", SMALL, there.url, str(there.folder / "store")])
    there.say(*messages)
    there.until(lambda: there.words() == expected(there, messages) and not there.lag())
    last = {message.key: message for message in there.bus.read(changelog("exposures"))}
    kept = Counter(message.partition for message in last.values() if message.value)
    assert max(kept.values()) <= 6, "of each partition only the last program stays"
    assert there.store.names("associator") != []
    small.kill()
    small.wait()
    there.worker()
    later = [cal(2, born=5, keywords={**IMAGE, "PROGRAM": f"{program:05}"}) for program in range(1, 31)]
    there.say(*later)
    there.until(lambda: there.words() == expected(there, [*messages, *later]) and not there.lag())


STALLED = """
import asyncio, sys
from streams.associator import faust_app, faust_service
from streams.site import Address, open_site

async def never(self, messages, generation):
    await asyncio.Event().wait()

faust_app.AssociatorApp._reduced = never
site = open_site(Address(bus=sys.argv[1], store=sys.argv[2]))
try:
    faust_service.FaustAssociatorService(site, lambda: 0, stall=5.0).run()
except Exception as error:
    sys.exit(str(error))
"""


def test_one_that_does_not_get_on_ends_and_says_so(there):
    worker = there.start([sys.executable, "-c", STALLED, there.url, str(there.folder / "store")])
    there.say(cal(1))
    assert worker.wait(PATIENT) not in (0, None)
    told = (there.folder / "worker-0.log").read_text()
    assert "has not got on with members" in told, told
    there.workers.clear()
    there.worker(quiet=0.1)
    there.until(lambda: len(there.said()) == 1)
    assert there.association(there.said()[0]).products[0].members[0].expname == f"{exposure(1)}_cal.fits"


AWAY = """
import pathlib, sys
from schemas.errors import Retriable
from streams.associator import tables
from streams.cli import main

def reopen(self, partitions=None, honest=tables.Desks.reopen):
    if pathlib.Path(sys.argv[1]).exists():
        raise Retriable("the store does not answer; check it")
    honest(self, partitions)

tables.Desks.reopen = reopen
sys.exit(main(sys.argv[2:]))
"""


def test_while_the_store_is_away_it_waits_and_a_stop_is_heard(there):
    away = there.folder / "away"
    away.touch()
    command = [
        sys.executable, "-c", AWAY, str(away), "serve", "associator", "--bus", there.url,
        "--store", str(there.folder / "store"), "-v",
    ]  # fmt: skip
    first = there.start(command, state="waiting")
    time.sleep(10.0)  # for longer than a process may sleep
    away.unlink()
    there.until(lambda: there.state() == "ready")
    there.say(plan([1]), cal(1))
    there.until(lambda: len(there.said()) == 1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENT) == 0
    away.touch()
    second = there.start(command, state="waiting")
    second.send_signal(signal.SIGTERM)
    assert second.wait(20.0) == 0
