"""``calstream status``, ``top``, ``topics``, ``services`` and ``trace``."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from schemas.errors import Retriable
from streams.bus.memory import MemoryBus
from streams.cli import main
from streams.cli.picture import picture
from streams.cli.top import Watch
from streams.cli.units import number, rate, span
from streams.overview import WINDOW, look
from tests.streams.pipeline import PRODUCT, Pipeline, exposure, work

SENTENCE = "the store has 3 % of its disk free, 10 % are wanted; free some space"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline in the middle of its work, which commands find."""
    bus = MemoryBus()
    monkeypatch.setattr(bus, "close", lambda: None)
    monkeypatch.setattr("streams.bus.opening.open_bus", lambda url: bus)
    monkeypatch.setenv("CALSTREAM_BUS", "memory:")
    monkeypatch.setenv("CALSTREAM_STORE", str(tmp_path / "store"))
    made = Pipeline.on(bus, tmp_path / "store")
    made.mosaic(*(made.along(made.raw(number)) for number in (1, 2)))
    made.failed("detector1", made.raw(3), f"{exposure(3)}: all pixels are saturated; give it up")
    made.read("detector1", "raw", 1)
    made.record("detector1", in_work=(work(2, "detector1"),), metrics="127.0.0.1:9001")
    made.record("detector1", instance="two")
    made.record("image2", "waiting", sentence=SENTENCE)
    made.record("image3", pid=2**22 + 1)
    return made


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def row(text: str, *beginning: str) -> str:
    (line,) = [line for line in text.splitlines() if line.split()[: len(beginning)] == list(beginning)]
    return line


def test_status_shows_topics_services_and_what_is_wrong(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "status")
    assert row(text, "raw", "detector1").split()[2:4] == ["3", "2"]
    assert row(text, "combined").split()[1] == "1"
    assert f"{exposure(2)} 10 s" in row(text, "detector1", "ready")
    assert row(text, "image2", "waiting").rstrip().endswith(SENTENCE)
    assert "silent for" in row(text, "image3", "dead")
    assert row(text, "ramp_fit").split() == ["ramp_fit", "not", "running"]
    assert "there is work left: detector1 has 2 of raw, ramp_fit has 2 of ramp" in text
    assert "1 failure, 1 in the last minute; 1 dead letter" in text


def test_status_for_programs(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "status", "--json"))
    topics = {(one["topic"], one["group"]): one for one in found["topics"]}
    assert topics["raw", "detector1"]["lag"] == 2
    assert topics["raw", "detector1"]["dead_letters"] == 1
    assert topics["raw", "associator"]["lag"] == 3
    assert not found["idle"]
    assert found["reason"].startswith("there is work left")
    assert {(one["service"], one["state"]) for one in found["services"]} == {
        ("detector1", "ready"), ("image2", "waiting"), ("image3", "dead"),
    }  # fmt: skip
    assert (found["in_work"], found["failures"]) == (1, 1)


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_fits_its_terminal(pipeline: Pipeline, width: int) -> None:
    console = Console(width=width, height=24, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(picture(look(pipeline.bus), "embedded:calstream-data/bus"))
    lines = captured.get().splitlines()
    assert len(lines) < 24
    assert max(len(line) for line in lines) <= width
    assert all(len([line for line in lines if name in line.split()]) >= 1 for name in ("associator", "ETA"))
    assert f"{exposure(2)} 10 s" in captured.get()


def test_topics(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "topics")
    readers = ["detector1,", "associator", "2,", "3"]
    assert row(text, "raw").split() == ["raw", "12", "3", "for", "ever", *readers]
    assert row(text, "services").split() == ["services", "12", "last", "of", "each", "key"]
    assert row(text, "combined").split()[-1] == "nobody"
    assert row(text, "raw.detector1.dlq").split()[:3] == ["raw.detector1.dlq", "12", "1"]


def test_services(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "services")
    first, second = [line for line in text.splitlines() if line.startswith("detector1")]
    assert ":9001" in first
    assert f"{exposure(2)}, 10 s" in first
    assert second.split()[1:3] == ["ready", str(os.getpid())]
    assert SENTENCE in row(text, "image2", "waiting")
    assert row(text, "image3").split()[1] == "dead"


def test_no_services(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    empty = MemoryBus()
    Pipeline.on(empty, Path(pipeline.store.root))
    pipeline.bus.read = empty.read  # type: ignore[method-assign]
    assert "`calstream up` starts them" in said(capsys, "services")


def test_trace(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "trace", exposure(1)).splitlines()
    names = [line.split()[0] for line in lines if line.startswith("jw")]
    assert names == [exposure(1), PRODUCT]
    rows = [line.split() for line in lines if line[0].isdigit()]
    assert [cells[1] for cells in rows] == ["raw", "ramp", "rate", "cal", "association", "combined"]
    assert rows[1][2:6] == ["detector1", "complete", "1.5", "s"]
    assert "  2 members for image3" in lines


def test_trace_tells_quality_figures(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    quality = {"cosmic_ray_rate": 4.8765, "median_background": None, "of_somebody_else": 1.0}
    pipeline.say(pipeline.made("detector1", pipeline.raw(7), "ramp", quality=quality))
    lines = said(capsys, "trace", exposure(7)).splitlines()
    assert lines[-1] == "  cosmic rays 4.88 cm-2 s-1"


def test_trace_of_a_failure(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "trace", exposure(3))
    assert text.count("all pixels are saturated; give it up") == 2
    assert "dead letter" in text


def test_trace_fits_80_columns(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = said(capsys, "trace", exposure(1)).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert len([line for line in lines if line[0].isdigit()]) == 6


def test_trace_for_programs(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "trace", exposure(1), "--json"))
    assert [one["stage"] for one in found] == [
        "ingest", "detector1", "ramp_fit", "image2", "associator", "image3",
    ]  # fmt: skip


def test_trace_of_an_unknown_name(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", exposure(1)[:-1]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"did you mean {exposure(1)}" in line


@pytest.mark.parametrize("command", ["status", "topics", "services", "top"])
def test_where_nothing_is_nothing_is_made(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main([command, "--bus", f"embedded:{tmp_path}/bus"]) == 2
    assert "there is no pipeline at" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main([command, "--bus", "memory:"]) == 2


def test_top_needs_a_terminal(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top"]) == 2
    assert "calstream status" in capsys.readouterr().err


def test_a_watch_goes_on_when_the_bus_cannot_be_read_for_a_while(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(pipeline.bus)
    first = watch.look()

    def fail(*arguments: object) -> None:
        raise Retriable("the disk is away; try again")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.bus, "committed", fail)
        assert watch.look() is first
        assert watch.failure == "the disk is away; try again"
        with pytest.raises(Retriable):
            Watch(pipeline.bus).look()
    assert watch.look() is not first
    assert watch.failure == ""


def test_a_watch_remembers_a_minute(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    watch = Watch(pipeline.bus)
    for seconds in range(0, 200, 10):
        monkeypatch.setattr("streams.overview.time.time", lambda seconds=seconds: began + seconds)
        watch.look()
    first, last = watch._past[0], watch._past[-1]
    assert last.time - began == pytest.approx(190)
    assert WINDOW - 0.01 <= last.time - first.time <= WINDOW + 10.01


TOP = """
import sys
from pathlib import Path
from streams.bus.memory import MemoryBus
from streams.cli import main
from tests.streams.pipeline import Pipeline
import streams.bus.opening
bus = MemoryBus()
made = Pipeline.on(bus, Path(sys.argv[1]))
made.raw(1)
streams.bus.opening.open_bus = lambda url: bus
sys.exit(main(["top", "--bus", "memory:", "--interval", "0.1"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_top_gives_the_terminal_back(tmp_path: Path, number: signal.Signals, code: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TOP, str(tmp_path)],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=Path(__file__).parents[3],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"no service runs" not in shown and b"work left" not in shown:
        shown += os.read(ours, 4096)
    process.send_signal(number)
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # the other end was closed
            break
        if not more:
            break
        shown += more
    assert process.wait(60) == code
    os.close(ours)
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1  # the other screen, and back
    assert shown.count(b"\x1b[?25h") >= 1  # the cursor is there again
    assert b"Traceback" not in shown


def test_units() -> None:
    seconds = (0.04, 9.96, 99.0, 100.0, 5999.0, 6001.0, 7500.0, 172_800.0, None)
    assert [span(one) for one in seconds] == [
        "0.0 s", "10 s", "99 s", "2 min", "1 h 40", "1 h 40", "2 h 05", "2 d", "",
    ]  # fmt: skip
    assert [rate(one) for one in (0.0, 0.001, 0.5, 1.25, 9.97, 812.0, 45_000.0)] == [
        "", "0.1/min", "30/min", "1.2/s", "10/s", "812/s", "45k/s",
    ]  # fmt: skip
    assert [number(one) for one in (0, 99_999, 100_000, 12_345_678)] == ["0", "99999", "100k", "12M"]
