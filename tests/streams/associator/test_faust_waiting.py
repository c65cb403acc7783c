"""A worker that has to wait for the store or the brokers before it can begin; without a broker."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from schemas.errors import CalstreamError, Retriable
from streams.associator import faust_app
from streams.associator.faust_app import AssociatorApp
from streams.bus.kafka.connection import Connection

LEASE = 1.0


class Begun:
    """A worker to which all is assigned, with an app and with desks that `reopen` opens."""

    def __init__(self, reopen, publish=lambda outputs, number: None) -> None:
        connection = Connection(("nowhere:1",), {})
        self.worker = AssociatorApp(connection, ("cal",), 3, publish, lambda completeness: None, LEASE)
        self.stopped = 0.0
        self.worker.app = SimpleNamespace(
            start=self.nothing, stop=self.stop, crash_reason=None, consumer_generation_id=1,
            rebalancing=False, assignor=SimpleNamespace(assigned_actives=set),
        )  # fmt: skip
        self.worker._recovered = 1
        self.worker._desks = SimpleNamespace(reopen=reopen, open=0, due=lambda now: [])
        self.turns = []
        self.asked = self.over = 0.0

    async def nothing(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = time.monotonic()

    def run(self, enough) -> None:
        """Let it work until `enough()`; the test fails if it takes a minute."""

        def stopping():
            if enough() and not self.asked:
                self.asked = time.monotonic()
            return bool(self.asked)

        async def live() -> None:
            work = self.worker.run(stopping, lambda: self.turns.append(time.monotonic()))
            await asyncio.wait_for(work, 60.0)
            self.over = time.monotonic()

        asyncio.run(live())

    @property
    def longest(self) -> float:
        """Return the longest pause between two turns."""
        return max(after - before for before, after in zip(self.turns, self.turns[1:], strict=False))


def gone(held=None) -> None:
    raise Retriable("the store does not answer; check it")


def test_while_the_store_is_gone_it_goes_round_and_hears_that_it_shall_stop():
    begun = Begun(gone)
    start = time.monotonic()
    begun.run(lambda: time.monotonic() > start + 3 * LEASE)
    assert begun.worker.waits == "the store does not answer; check it"
    assert begun.longest < 0.8 * LEASE
    assert begun.worker.error is None
    assert begun.asked < begun.stopped < begun.asked + 0.5


def test_while_the_brokers_are_gone_it_goes_round_too():
    def publish(outputs, number) -> None:
        raise Retriable("the brokers do not answer; check them")

    begun = Begun(lambda held: None, publish)
    start = time.monotonic()
    begun.run(lambda: time.monotonic() > start + 3 * LEASE)
    assert begun.worker.waits == "the brokers do not answer; check them"
    assert begun.longest < 0.8 * LEASE
    assert begun.worker.error is None


def test_when_the_store_is_there_again_it_begins():
    back = time.monotonic() + 1.5 * LEASE
    begun = Begun(lambda held: gone() if time.monotonic() < back else None)
    begun.run(lambda: begun.worker.ready)
    assert time.monotonic() > back
    assert (begun.worker.waits, begun.worker.error) == ("", None)


def test_a_group_that_is_shared_out_anew_while_it_waits_does_not_end_it():
    opened = []

    def reopen(held) -> None:
        if begun.worker.app.consumer_generation_id == 1:
            begun.worker.app.consumer_generation_id = begun.worker._recovered = 2
            gone()
        opened.append(held)

    begun = Begun(reopen)
    begun.run(lambda: begun.worker.ready)
    assert opened == [set()]


@pytest.mark.parametrize("held_up", ["store", "app"])
def test_what_hangs_holds_up_a_stop_for_so_long_and_no_longer(monkeypatch, held_up):
    monkeypatch.setattr(faust_app, "STOP_WITHIN", 1.0)
    hangs, over = threading.Event(), threading.Event()

    def reopen(held) -> None:
        if held_up == "store":
            hangs.set()
            over.wait(20.0)

    async def stop() -> None:
        if held_up == "app":
            await asyncio.sleep(20.0)

    begun = Begun(reopen)
    begun.worker.app.stop = stop
    ended = []

    async def live() -> None:
        start = time.monotonic()
        try:
            with pytest.raises(CalstreamError, match="did not end within 1 s"):
                await begun.worker.run(
                    lambda: (hangs.is_set() or begun.worker.ready) and time.monotonic() > start + 2.0,
                    lambda: None,
                )
        finally:
            ended.append(time.monotonic() - start - 2.0)
            over.set()

    asyncio.run(live())
    assert 0.9 < ended[0] < 3.0


def test_what_ends_in_time_is_waited_for():
    hangs, ended = threading.Event(), []

    def reopen(held) -> None:
        hangs.set()
        time.sleep(1.5)
        ended.append(time.monotonic())

    begun = Begun(reopen)
    begun.run(hangs.is_set)
    assert begun.asked < ended[0] < begun.over
