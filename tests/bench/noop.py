"""Services of a stage that does next to nothing, each a process of its own, on an embedded bus or on Kafka.

``python -m tests.bench.noop FOLDER [BUS]`` is one: it runs until SIGTERM. The stage is that of the service's
tests: a product of a kilobyte, flushed to the disk; an exposure whose name begins with ``sleeps_`` takes a
while.
"""

import os
import secrets
import sys
import time
from pathlib import Path

from streams.bus.protocol import PARTITIONS, partition_of
from streams.envelope import pack
from streams.service.loop import Service
from streams.service.options import ServiceOptions
from streams.service.serving import Stopping
from streams.site import Address, open_site
from tests.bench.processes import Processes
from tests.streams.service.support import TO_RAMP, raw, write_crds

SLEEP = 0.2
"""Seconds that a sleeping exposure takes."""


TO_RAMP_PROCESS = [sys.executable, "-m", "tests.bench.noop"]
"""Command of one; folder and bus follow."""


def address(folder, bus=""):
    """Return bus and store in a folder, unless the bus is another one."""
    return Address(bus=bus or f"embedded:{folder / 'bus'}", store=str(folder / "store"))


class Replicas:
    """Processes of one service, and the topics before and behind them.

    Parameters
    ----------
    folder : Path
        For bus, store, references and logs.
    number : int
        How many processes.
    bus : str
        URL, if it is not in the folder.
    """

    def __init__(self, folder, number=1, bus=""):
        folder.mkdir(parents=True)
        env = {**os.environ, **write_crds(folder), "CALSTREAM_TEST_SLEEP": str(SLEEP)}
        for name in ("CRDS_SERVER_URL", "CALSTREAM_TEST_NOTES"):
            env.pop(name, None)
        where = address(folder, bus)
        self._site = open_site(where, begin=True)
        command = [*TO_RAMP_PROCESS, str(folder), where.bus]
        self._processes = Processes([command] * number, env, folder / "service.log")
        holders = self._site.bus.members
        self._processes.wait(lambda: sum(bool(member.positions) for member in holders("to_ramp")) == number)
        self.through(named(2, "first"))  # each has done some, and imported what that takes

    def through(self, names):
        """Publish exposures of these names at once; return the seconds until the last one's event is out."""
        events = [pack(raw(self._site, name)) for name in names]
        bus, before = self._site.bus, self._out()
        began = time.time()
        bus.publish(events)
        self._processes.wait(lambda: self._out() == before + len(events))
        return max(message.timestamp for message in bus.read("ramp", began)) - began

    def close(self):
        """Stop the processes."""
        self._processes.stop()
        self._site.bus.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _out(self):
        return sum(self._site.bus.offsets_at("ramp", float("inf")).values())


def named(each, what):
    """Return new names of which so many fall on each partition; `what` says what such an exposure does."""
    found = {number: [] for number in range(PARTITIONS)}
    while any(len(names) < each for names in found.values()):
        name = f"{what}_{secrets.token_hex(6)}"
        if len(names := found[partition_of(name)]) < each:
            names.append(name)
    return [name for names in zip(*found.values(), strict=True) for name in names]


def main(folder, bus=""):
    """Run the service."""
    stopping = Stopping()
    with stopping.on_signals():
        site = open_site(address(folder, bus))
        Service(site, ServiceOptions(name="to_ramp", stages=(TO_RAMP,), free=0.0), stopping).run()
        site.bus.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
