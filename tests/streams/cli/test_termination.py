"""SIGTERM: a sentence, an exit code, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from simulator.downlink import write_downlink
from simulator.observation import Request
from streams.cli import main
from streams.cli.progress import Plain
from streams.cli.termination import Terminated, terminable
from streams.run.report import Begun, Done


@pytest.fixture(autouse=True)
def usual_handling() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)  # the handler runs within


def test_it_interrupts_once_and_is_put_back() -> None:
    with pytest.raises(Terminated), terminable() as termination:  # noqa: PT012
        try:
            terminate()
        finally:
            assert termination.received
            terminate()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class Deaf:
    """Python swallows what is raised while an object is taken away."""

    def __del__(self) -> None:
        terminate()


def test_it_comes_again_where_nobody_could_hear_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Terminated), terminable():  # noqa: PT012
        Deaf()
        time.sleep(10)
    assert not capsys.readouterr().err


def test_a_run_stops_behind_code_that_swallowed_it() -> None:
    shown = Plain(quiet=True)
    with terminable():
        shown.begun(Begun(stage="image2", name="jw1", time=0.0))
        with suppress(KeyboardInterrupt):
            terminate()
        with pytest.raises(Terminated):
            shown.done(Done(stage="image2", name="jw1", outcome="failed", sentence="compiler is confused"))
        with pytest.raises(Terminated):
            shown.begun(Begun(stage="image2", name="jw2", time=0.0))


def test_what_others_decided_stays() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with terminable() as termination:
        terminate()
    assert not termination.received
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_any_command_exits_with_143(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streams.cli.steps._overview", lambda steps, console: terminate())
    assert main(["steps"]) == 143
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("calstream: terminated")


def test_a_run_leaves_nothing_behind(tmp_path: Path) -> None:
    down, out = tmp_path / "down", tmp_path / "out"
    write_downlink(Request(detectors=("NRCA1",), subarray="SUB160", dithers=2, ngroups=5), down)
    variables = {**os.environ, "CRDS_PATH": str(down / "crds_cache")}
    command = [sys.executable, "-m", "streams.cli", "run", str(down), "--out", str(out)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        command, cwd=root, env=variables, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not list(out.glob(".*")):
            time.sleep(0.01)
        process.terminate()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    (line,) = said.splitlines()
    assert line == f"calstream: interrupted; products that were finished are in {out}"
    assert not list(out.glob(".*"))
