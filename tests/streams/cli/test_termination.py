"""SIGTERM: a sentence, an exit code, and nothing left behind. Each test sends it to a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from simulator.downlink import write_downlink
from simulator.observation import Request

ROOT = Path(__file__).parents[3]

BEFORE = """
import os, signal, sys, time
from contextlib import suppress
from streams.cli import main
from streams.cli.progress import Plain
from streams.cli.termination import Terminated, terminable
from streams.run.report import Begun, Done

def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)  # the handler runs within
"""


def ran(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python lines behind those of `BEFORE`; what ends the process too early is not exit code 0."""
    command = [sys.executable, "-c", BEFORE + code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def said(code: str) -> list[str]:
    """Return the lines that the code printed, and that nothing else was said."""
    done = ran(code)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_it_interrupts_once_and_is_put_back() -> None:
    code = """
try:
    with terminable() as termination:
        try:
            terminate()
            print("went on")
        finally:
            print(termination.received)
            terminate()
            print("cleaned up")
except Terminated:
    print("terminated", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    assert said(code) == ["True", "cleaned up", "terminated True"]


def test_it_is_told_before_the_command_has_begun() -> None:
    code = """
from streams.cli import application
application.plugins = terminate
sys.exit(application.start(["--version"]))
"""
    done = ran(code)
    assert done.returncode == 143
    assert done.stderr == "calstream: terminated before it was finished; run it again\n"


def test_it_comes_again_where_nobody_could_hear_it() -> None:
    """Python swallows what is raised while an object is taken away."""
    code = """
class Deaf:
    def __del__(self):
        terminate()

try:
    with terminable():
        Deaf()
        print("swallowed")
        time.sleep(60)
        print("never came")
except Terminated:
    print("terminated")
"""
    assert said(code) == ["swallowed", "terminated"]


def test_a_run_stops_behind_code_that_swallowed_it() -> None:
    code = """
shown = Plain(quiet=True)
with terminable():
    shown.begun(Begun(stage="image2", name="jw1", time=0.0))
    with suppress(KeyboardInterrupt):
        terminate()
    for told, note in (
        (shown.done, Done(stage="image2", name="jw1", outcome="failed", sentence="compiler is confused")),
        (shown.begun, Begun(stage="image2", name="jw2", time=0.0)),
    ):
        try:
            told(note)
        except Terminated:
            print("terminated")
"""
    assert said(code) == ["terminated"] * 2


def test_what_others_decided_stays() -> None:
    code = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with terminable() as termination:
    terminate()
print(termination.received, signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)
"""
    assert said(code) == ["False True"]


def test_any_command_exits_with_143() -> None:
    code = """
import streams.cli.steps
streams.cli.steps._overview = lambda steps, console: terminate()
sys.exit(main(["steps"]))
"""
    done = ran(code)
    assert done.returncode == 143
    (line,) = done.stderr.splitlines()
    assert line.startswith("calstream: terminated")


def test_a_run_leaves_nothing_behind(tmp_path: Path) -> None:
    down, out = tmp_path / "down", tmp_path / "out"
    write_downlink(Request(detectors=("NRCA1",), subarray="SUB160", dithers=2, ngroups=5), down)
    variables = {**os.environ, "CRDS_PATH": str(down / "crds_cache")}
    command = [sys.executable, "-m", "streams.cli", "run", str(down), "--out", str(out)]
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not list(out.glob(".*")):
            time.sleep(0.01)
        process.terminate()
        _, told = process.communicate(timeout=120)
    assert process.returncode == 143, told
    (line,) = told.splitlines()
    assert line == f"calstream: interrupted; products that were finished are in {out}"
    assert not list(out.glob(".*"))
