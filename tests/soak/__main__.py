"""Thousands of small exposures through all services: ``python -m tests.soak``, or ``make soak``.

`calstream up` runs the whole road on the embedded bus, raw to combined. Every exposure is to be there once,
none may fail, and no process may hold more memory in the end than in the middle.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streams.site import Address, open_site
from tests.bench.workers import ROOT, environment
from tests.soak.downlink import DITHERS, write_many
from tests.soak.inspection import expected, faults
from tests.soak.watching import ALLOWANCE, GROWTH, Watcher

SETTLED = 1000
"""Exposures from which on memory is judged: with fewer, processes still import and fill their caches."""
LOOK = 2.0
"""Seconds between two looks."""


def main(arguments=None):
    """Run it; return 1 where something was lost, doubled or failed, or a process grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--exposures", type=int, default=2000, help=f"a multiple of {DITHERS} (2000)")
    parser.add_argument("--out", type=Path, default=ROOT / "soak-output", help="emptied, and filled")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    result = soak(chosen.out.resolve(), chosen.exposures, console)
    console.print(table(result))
    for fault in result["faults"]:
        console.print(fault, style="bold red", markup=False)
    return 1 if result["faults"] else 0


def soak(out, exposures, console):
    """Run the pipeline in a folder until it is idle; return what was seen."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    console.print(f"[dim]writing {exposures} exposures into {out}[/]")
    files, crds = write_many(out, exposures)
    where = Address(bus=f"embedded:{out / 'data/bus'}", store=str(out / "data/store"))
    site = open_site(where)
    began = time.time()
    watcher, code = _watched(out, files, crds, site, exposures, console)
    seconds = time.time() - began
    wrong = faults(site.bus, site.store, exposures)
    site.bus.close()
    if code:
        wrong.append(f"calstream up ended with code {code}; see {out / 'up.log'}")
    lives = [life for life in watcher.lives.values() if len(life.samples) > 3]
    if exposures >= SETTLED:
        grown = [life for life in lives if not life.flat]
        wrong += [f"{life.name} grew by {life.growth / 1e6:.1f} MB in the second half" for life in grown]
    result = {
        "exposures": exposures,
        "seconds": seconds,
        "faults": wrong,
        "processes": [_said(life) for life in lives],
    }
    (out / "results.json").write_text(json.dumps({**result, "samples": [vars(life) for life in lives]}))
    return result


def _watched(out, files, crds, site, exposures, console):
    where = site.address
    there = ["--bus", where.bus, "--store", where.store]
    command = ["up", "--until-idle", "--ingest", str(files), *there, "--free=0.01"]
    total, said = sum(expected(exposures).values()), 0.0
    with (out / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", *command], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, env=environment(crds, min(2, os.cpu_count() or 1)),
        )  # fmt: skip
        watcher = Watcher(process.pid)
        while process.poll() is None:
            done = {t: sum(site.bus.offsets_at(t, float("inf")).values()) for t in expected(exposures)}
            watcher.look(sum(done.values()) / total)
            if time.monotonic() - said > 60:
                said = time.monotonic()
                console.print(f"[dim]{' '.join(f'{topic} {number}' for topic, number in done.items())}[/]")
            time.sleep(LOOK)
    return watcher, process.returncode


def _said(life):
    return {
        "name": life.name, "middle": life.middle, "most": max(life.held), "growth": life.growth,
        "allowed": life.allowed, "flat": life.flat,
    }  # fmt: skip


def table(result):
    """Return what was seen as a table."""
    number, seconds = result["exposures"], result["seconds"]
    shown = Table(
        title=f"{number} exposures raw to combined in {seconds / 60:.1f} min, {number / seconds:.1f}/s; "
        f"in the second half a process may grow by {GROWTH:.0%}, or {ALLOWANCE / 1e6:.0f} MB",
        title_justify="left",
    )
    for heading in ("process", "memory (2nd half)", "most", "growth (2nd half)", ""):
        shown.add_column(heading, justify="left" if heading in ("process", "") else "right")
    for one in sorted(result["processes"], key=lambda one: one["name"]):
        grew = "-" if one["growth"] is None else f"{one['growth'] / 1e6:+.1f} MB"
        verdict = "[green]flat[/]" if one["flat"] else "[bold red]GROWS[/]"
        verdict = verdict if number >= SETTLED else ""
        shown.add_row(
            one["name"], f"{one['middle'] / 1e6:.0f} MB", f"{one['most'] / 1e6:.0f} MB", grew, verdict
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
