"""The bench runs, on a subarray, and its arithmetic is right; nothing depends on how long anything takes."""

import io
import json
import os
import sys

import pytest
from rich.console import Console

from tests.bench.__main__ import PARTS, main
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


def test_bounds_are_kept_at_the_bound_and_broken_beyond():
    assert FASTER_IN_PROCESS.met(8.0)
    assert not FASTER_IN_PROCESS.met(7.99)
    assert MEMORY.met(0.33)
    assert not MEMORY.met(0.34)


def test_a_report_judges_time_and_memory():
    report = Report(judged=True)
    report.comparison("x", samples(1, 1, peak=50), samples(9, 9, peak=100), FASTER_IN_PROCESS, MEMORY)
    bounds = report.results["bounds"]
    assert bounds["x: time"] == {"ratio": 9, "bound": 8.0, "met": True}
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


def test_the_bench_on_a_subarray(tmp_path, capsys):
    """With the peer where there is one, else alone."""
    if not peer.interpreter() and os.environ.get("CI") == "true":
        pytest.fail(f"{peer.VARIABLE} names no interpreter that has jwst")
    parts = [text for part in PARTS if part != "kafka" for text in ("--only", part)]  # that takes brokers
    assert main(["--quick", "--rounds", "1", *parts, "--out", str(tmp_path)]) == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["steps"]["ours"]) >= {"read", "saturation", "jump", "ramp_fit", "write", "other"}
    assert len(results["storing the ramp in between"]["cut"]) == 1
    if results["raw to rate, warm"]["peer"]:
        assert set(results["steps"]["peer"]) >= {"saturation", "jump", "ramp_fit", "other"}
        assert results["bounds"]["raw to rate, warm: time"]["met"] is None  # not judged on a subarray
