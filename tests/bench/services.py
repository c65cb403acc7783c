"""What the services are measured at: their loop, their replicas, and raw to rate from event to event."""

import shutil
import sys
import time
from pathlib import Path

from schemas.events import next_generation, parse_event
from streams.envelope import pack
from streams.inputs import open_inputs
from streams.recipes import freeze, load_recipe
from streams.roots import Roots
from streams.service.table import group_of
from streams.site import open_site
from tests.bench.bare import BareLoop
from tests.bench.comparison import alternate
from tests.bench.noop import Replicas, address, named
from tests.bench.processes import Processes
from tests.bench.workers import Failed

EVENTS = 60
"""Of a round of the loop, for each partition: so many that the first and the last count little."""
SINGLES = 20
"""Events that come alone."""
SLEEPING = 4
"""Exposures that sleep, for each partition."""
NUMBERS = (1, 2, 4)
"""Of replicas."""
ROADS = {"fused": ("detector1+ramp_fit",), "separate": ("detector1", "ramp_fit")}


def loop(work, rounds, say):
    """Measure the services' loop and the bare one in turns, on an embedded bus.

    Returns
    -------
    dict of str to Samples, list of float
        Of both loops; and the seconds from in to out of events that came alone.
    """
    folder = fresh(work / "loop")
    with BareLoop(folder / "bare") as bare, Replicas(folder / "ours") as service:
        found = beside(service, bare, EVENTS, rounds, say)
    shutil.rmtree(folder)
    return found


def beside(service, bare, events, rounds, say):
    """Measure a service's loop and a bare one in turns, so many events for each partition."""
    bare.through(named(1, "first"))
    ways = {
        name: lambda side=side: sample(side.through(named(events, "plain")))
        for name, side in (("ours", service), ("bare", bare))
    }
    measured = alternate(ways, rounds, say)
    return measured, [service.through(named(1, "single")[:1]) for _ in range(SINGLES)]


def replicas(work, rounds, say):
    """Measure `NUMBERS` of processes of a service whose stage sleeps, in turns; return samples by number."""
    folder = fresh(work / "replicas")
    try:
        return in_turns(lambda number: Replicas(folder / str(number), number), rounds, say)
    finally:
        shutil.rmtree(folder)


def in_turns(make, rounds, say):
    """Measure ``make(number)`` replicas for `NUMBERS` in turns; return samples by number."""
    running = {}
    try:
        for number in NUMBERS:
            running[number] = make(number)
        ways = {
            number: lambda side=side: sample(side.through(named(SLEEPING, "sleeps")))
            for number, side in running.items()
        }
        return alternate(ways, rounds, say)
    finally:
        for side in running.values():
            side.close()


class Road:
    """Warm services of the real stages on a bus of their own, raw to rate.

    Parameters
    ----------
    folder : Path
        For bus and store.
    names : tuple of str
        Services, each a process of its own.
    env : mapping of str to str
        Of the bench.
    raw : Path
        A Level-1b file.
    """

    def __init__(self, folder, names, env, raw):
        self._folder, self._raw = folder, raw
        where = address(folder)
        self._site = open_site(where)
        serve = [sys.executable, "-m", "streams.cli", "serve"]
        there = ["--free=0", "--bus", where.bus, "--store", where.store]
        commands = [[*serve, name, *there] for name in names]
        self._processes = Processes(commands, env, folder / "services.log")
        self._processes.wait(lambda: all(self._site.bus.members(group_of(name)) for name in names))

    def through(self):
        """Publish a raw event; return a sample of the time until the event of its rate is out.

        Raises
        ------
        Failed
            If the exposure fails.
        """
        event, bus = self._event(), self._site.bus
        cpu, _ = self._processes.used()
        began = time.time()
        bus.publish([pack(event)])
        self._processes.wait(lambda: self._made("rate", event) or self._made("failures", event))
        for message in self._made("failures", event):
            raise Failed(parse_event(message.value).message)
        (made,) = self._made("rate", event)
        spent, peak = self._processes.used()
        shutil.rmtree(self._folder / "store/runs")  # full frames: the disk would fill up
        return {**sample(made.timestamp - began), "cpu": spent - cpu, "peak": peak}

    def stop(self):
        """Stop the services."""
        self._processes.stop()
        self._site.bus.close()

    def _event(self):
        """Return the event of the raw file under a name that it had never before: nothing of it is known."""
        recipe, store = load_recipe("optimal"), self._site.store
        freeze(recipe, store)
        (found,) = open_inputs([Path(self._raw)])
        event = Roots(recipe, store, next_generation(time.time())).product(found)
        return event.with_(name=f"{event.name}_{event.generation[-12:].lower()}")

    def _made(self, topic, event):
        found = self._site.bus.read(topic, time.time() - 3600)
        return [m for m in found if parse_event(m.value).generation == event.generation]


def open_roads(work, env, raw):
    """Start the services that go from raw to rate: in one, and in two."""
    folder = fresh(work / "roads")
    return {name: Road(fresh(folder / name), names, env, raw) for name, names in ROADS.items()}


def sample(seconds):
    """Return a sample of a time alone."""
    return {"seconds": seconds, "cpu": 0.0, "peak": 0, "result": {}}


def fresh(folder):
    """Return a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
