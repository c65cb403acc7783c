"""The bench runs, on a subarray, and its arithmetic is right; nothing depends on how long anything takes."""

import io
import json
import os
import sys

import pytest
from rich.console import Console

from tests.bench import services
from tests.bench.__main__ import main
from tests.bench.comparison import FASTER_IN_PROCESS, MEMORY, Samples, alternate, ratio
from tests.bench.measure import Bench
from tests.bench.report import Report
from tests.bench.workers import Failed, Worker, environment, whole_process
from tests.bench.workload import Downlink
from tests.parity import peer


def shown(report):
    console = Console(width=200, file=io.StringIO())
    console.print(report.table())
    return console.file.getvalue()


def samples(*seconds, peak=100):
    return Samples([{"seconds": s, "cpu": s / 2, "peak": peak, "result": {"jump": s / 4}} for s in seconds])


def test_the_ratio_is_the_median_of_the_ratios_of_neighbours():
    assert ratio(samples(10, 40, 90), samples(1, 2, 3), "seconds") == 20
    assert ratio(samples(10, 40, 90), samples(1, 2, 3), "cpu") == 20


def test_ways_take_turns():
    called = []

    def way(name):
        def run():
            called.append(name)
            return {"seconds": 1.0}

        return run

    measured = alternate({"a": way("a"), "b": way("b")}, 2, lambda text: None)
    assert called == ["a", "b", "a", "b"]
    assert measured["a"].of("seconds") == [1.0, 1.0]

    called.clear()
    measured = alternate({"a": way("a"), "b": way("b")}, 2, lambda text: None, woken=True)
    assert called == ["a", "a", "b", "b"] * 2
    assert measured["a"].of("seconds") == [1.0, 1.0]


def test_bounds_are_kept_at_the_bound_and_broken_beyond():
    assert FASTER_IN_PROCESS.met(12.0)
    assert not FASTER_IN_PROCESS.met(11.99)
    assert MEMORY.met(0.25)
    assert not MEMORY.met(0.26)


def test_a_report_judges_time_and_memory():
    report = Report(judged=True)
    report.comparison("x", samples(1, 1, peak=50), samples(13, 13, peak=100), FASTER_IN_PROCESS, MEMORY)
    bounds = report.results["bounds"]
    assert bounds["x: time"] == {"ratio": 13, "bound": 12.0, "met": True}
    assert bounds["x: peak memory"]["met"] is False
    assert report.broken() == ["x: peak memory"]


def test_what_no_step_takes_is_other():
    report = Report(judged=True)
    report.steps(samples(4.0), samples(8.0))
    assert report.results["steps"] == {
        "ours": {"jump": 1.0, "other": 3.0},
        "peer": {"jump": 2.0, "other": 6.0},
    }


def test_a_worker_that_fails_says_why(tmp_path):
    bench = Bench(Downlink((tmp_path / "no_uncal.fits",), tmp_path), tmp_path, "", 1, 1, lambda text: None)
    with pytest.raises(Failed, match=r"no_uncal\.fits"):
        bench.ingest()


def test_a_worker_that_ends_says_so(tmp_path):
    worker = Worker([sys.executable, "-c", "raise SystemExit(3)"], environment(tmp_path, 1), tmp_path / "log")
    with pytest.raises(Failed, match="code 3"):
        worker.do("anything")
    worker.stop()


def test_a_command_that_fails_is_no_measurement(tmp_path):
    with pytest.raises(Failed, match="code 4"):
        whole_process(
            [sys.executable, "-c", "raise SystemExit(4)"], environment(tmp_path, 1), tmp_path / "log"
        )


def test_the_bench_says_loudly_that_there_is_no_peer(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(peer.VARIABLE, raising=False)
    monkeypatch.setattr("tests.bench.__main__.ROOT", tmp_path)  # no .venv-peer there

    def stop(*_):
        raise Failed("far enough")

    monkeypatch.setattr("tests.bench.__main__.simulated", stop)
    assert main(["--quick", "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "NO PEER" in shown
    assert "far enough" in shown


def test_without_a_peer_nothing_is_judged():
    report = Report(judged=True)
    report.comparison("x", samples(1), None, FASTER_IN_PROCESS, MEMORY)
    assert report.results["bounds"] == {}
    assert "not compared" in shown(report)


def test_the_bench_shows_the_loop_and_replicas(tmp_path, monkeypatch, capsys):
    for name in ("EVENTS", "SINGLES", "SLEEPING"):
        monkeypatch.setattr(services, name, 1)
    monkeypatch.setattr(services, "NUMBERS", (1, 2))
    parts = ["--only", "loop", "--only", "replicas"]
    assert main(["--quick", "--rounds", "1", "--out", str(tmp_path), *parts]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    for heading in ("calstream", "jwst", "ratio", "bound"):
        assert heading in said
    results = json.loads((tmp_path / "results.json").read_text())
    assert {name: len(taken) for name, taken in results["services: loop"].items()} == {"ours": 1, "bare": 1}
    assert len(results["services: single events"]) == 1
    assert set(results["services: replicas"]) == {"1", "2"}
    assert results["bounds"]["services: no-op loop"]["met"] is None  # not judged


def test_the_bench_on_a_subarray(tmp_path, monkeypatch, capsys):
    """With the peer where there is one, else alone."""
    if not peer.interpreter() and os.environ.get("CI") == "true":
        pytest.fail(f"{peer.VARIABLE} names no interpreter that has jwst")
    monkeypatch.setattr(Bench, "warming", False)
    parts = ["--only", "files", "--only", "series", "--only", "services"]
    assert main(["--quick", "--rounds", "1", "--out", str(tmp_path), *parts]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    for row in ("raw to rate, warm", "raw to rate, whole process", "services: raw to rate, fused"):
        assert row in said
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["steps"]["ours"]) >= {"read", "saturation", "jump", "ramp_fit", "write", "other"}
    assert len(results["storing the ramp in between"]["cut"]) == 1
    assert {int(number): len(taken) for number, taken in results["series"].items()} == {2: 1, 20: 1}
    if results["raw to rate, warm"]["peer"]:
        assert results["same, the peer's LIKELY"]["peer"] != results["raw to rate, warm"]["peer"]
        assert set(results["steps"]["peer"]) >= {"saturation", "jump", "ramp_fit", "other"}
        assert results["bounds"]["raw to rate, warm: time"]["met"] is None  # not judged on a subarray
