"""Services of stages that do next to nothing, each a process of its own, on an embedded bus.

``python -m tests.bench.noop FOLDER`` is one: it runs until SIGTERM. The stage is that of the service's tests: a product
of a kilobyte, flushed to the disk; an exposure whose name begins with ``sleeps_`` takes a while.
"""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from streams.bus.protocol import PARTITIONS, partition_of
from streams.envelope import pack
from streams.service.loop import Service
from streams.service.options import ServiceOptions
from streams.service.serving import Stopping
from streams.site import Address, Site, open_site
from tests.bench.workers import ROOT, Failed
from tests.streams.service.support import TO_RAMP, raw, write_crds

PATIENCE = 600.0
SLEEP = 0.2
"""Seconds that a sleeping exposure takes."""


def address(folder):
    """Return bus and store in a folder."""
    return Address(bus=f"embedded:{folder / 'bus'}", store=str(folder / "store"))


class Replicas:
    """Processes of one service, and the topics before and behind them.

    Parameters
    ----------
    folder : Path
        For bus, store, references and logs.
    number : int
        How many processes.
    """

    def __init__(self, folder, number=1):
        folder.mkdir(parents=True)
        environment = {**os.environ, **write_crds(folder), "CALSTREAM_TEST_SLEEP": str(SLEEP)}
        for name in ("CRDS_SERVER_URL", "CALSTREAM_TEST_NOTES"):
            environment.pop(name, None)
        self.site: Site = open_site(address(folder))
        self._log = folder / "service.log"
        with self._log.open("w") as log:
            self._processes = [
                subprocess.Popen(
                    [sys.executable, "-m", "tests.bench.noop", str(folder)],
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )  # fmt: skip
                for _ in range(number)
            ]
        self._wait(lambda: sum(bool(m.positions) for m in self.site.bus.members("to_ramp")) == number)
        for _ in range(2):  # every process has done some, and imported what that takes
            self.through([f"first-{secrets.token_hex(4)}-{n}" for n in range(PARTITIONS * 2)])

    @property
    def pids(self):
        """Return the processes."""
        return [process.pid for process in self._processes]

    def through(self, names):
        """Publish exposures of these names at once; return the seconds until the last one's event is out."""
        events = [pack(raw(self.site, name)) for name in names]
        bus = self.site.bus
        before = self._out()
        began = time.time()
        bus.publish(events)
        self._wait(lambda: self._out() == before + len(events))
        return max(message.timestamp for message in bus.read("ramp", began)) - began

    def latency(self, number):
        """Return the median seconds from event in to event out of exposures that come one by one."""
        return median(self.through([f"single-{secrets.token_hex(6)}"]) for _ in range(number))

    def close(self):
        """Stop the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()
        self.site.bus.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _out(self):
        return sum(self.site.bus.offsets_at("ramp", float("inf")).values())

    def _wait(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end or any(process.poll() is not None for process in self._processes):
                raise Failed(f"a service does not go on, see {self._log}")
            time.sleep(0.02)


def balanced(each, prefix="sleeps"):
    """Return names of which so many fall on each partition."""
    token, found = secrets.token_hex(4), {number: [] for number in range(PARTITIONS)}
    count = 0
    while any(len(names) < each for names in found.values()):
        name = f"{prefix}_{token}-{count}"
        names = found[partition_of(name)]
        if len(names) < each:
            names.append(name)
        count += 1
    return [name for names in found.values() for name in names]


def main(folder):
    """Run the service."""
    stopping = Stopping()
    with stopping.on_signals():
        site = open_site(address(folder))
        Service(site, ServiceOptions(name="to_ramp", stages=(TO_RAMP,), free=0.0), stopping).run()
        site.bus.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
