"""``calstream run``: the command line, and how progress is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from streams.cli import main
from streams.cli.progress import Plain, Terminal, endings, reporter, tally
from streams.run.report import Begun, Done, Ending, RunSummary

NOTES = (
    Done(stage="detector1", name="jw1_nrca1", outcome="complete", begun=100.0, ended=103.5),
    Done(stage="detector1", name="jw2_nrca1", outcome="up to date", begun=103.5, ended=103.6),
    Done(
        stage="detector1",
        name="jw3_nrca1",
        outcome="failed",
        sentence="step jump: no gain",
        begun=104,
        ended=105,
    ),
    Done(stage="", name="nope.fits", outcome="failed", sentence="nope.fits: it cannot be read"),
)
ENDINGS = (
    Ending(name="jw1_nrca1", level="rate", reason="asked to stop there"),
    Ending(name="jw2_nrca1", level="rate", reason="asked to stop there"),
    Ending(name="jw3_nrca1", level="raw", reason="step jump: no gain", failed=True),
    Ending(name="nope.fits", level="", reason="nope.fits: it cannot be read", failed=True),
)
SUMMARY = RunSummary(endings=ENDINGS, notes=NOTES)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--recipe", "optimol"], "did you mean 'optimal'?"),
        (["--until", "rates"], "did you mean 'rate'?"),
        (["--until", "raw"], "no such level"),
        (["--set", "jump"], "step.parameter=value"),
        (["--set", "jumb.skip=true"], "did you mean 'jump'?"),
        (["--set", "jump.rejection=4"], "jump has no parameter 'rejection'"),
        (["--set", "jump.rejection_threshold=-4"], "jump.rejection_threshold = -4"),
        (["--set", "jump.override_dark=x.fits"], "no 'dark' reference"),
        (["--context", "jwst_12"], "jwst_1234.pmap"),
        (["--log-format", "xml"], "console, json"),
    ],
)
def test_what_is_not_understood_exits_with_2_before_anything_is_done(
    option: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", "nope.fits", "--out", str(out), *option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not out.exists()


def test_bad_files_are_told_each_and_exit_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, text, gone = (tmp_path / f"jw1_nrca{n}_uncal.fits" for n in (1, 2, 3))
    empty.touch()
    text.write_text("no FITS\n")
    assert main(["run", str(empty), str(text), str(gone), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert len(lines) == 3
    for path in (empty, text, gone):
        assert len([line for line in lines if str(path) in line]) == 1
    assert "0 complete, 3 failed" in said.out
    assert said.out.splitlines()[-1].endswith("not begun (failed, as said above)")
    assert list((tmp_path / "out").iterdir()) == []


def test_quiet_tells_failures_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = str(tmp_path / "gone.fits")
    assert main(["run", gone, "--out", str(tmp_path), "--quiet"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert gone in said.err


def test_a_folder_without_exposures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "*_uncal.fits" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["run", str(tmp_path / "gone.fits"), "--out", str(tmp_path / "file" / "out")]) == 1
    assert str(tmp_path / "file" / "out") in capsys.readouterr().err


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Plain()
    told(shown)
    said = capsys.readouterr()
    assert said.out.splitlines()[:3] == [
        "3 inputs, stages: detector1, ramp_fit",
        "detector1 jw1_nrca1: complete (3.5 s)",
        "detector1 jw2_nrca1: up to date (0.1 s)",
    ]
    assert said.err.splitlines() == [
        "calstream: jw3_nrca1: step jump: no gain",
        "calstream: nope.fits: it cannot be read",
    ]
    assert said.out.splitlines()[-3:] == endings(ENDINGS)


def test_endings_are_grouped_by_level_and_reason() -> None:
    many = [Ending(name=f"jw{n}", level="cal", reason="there is no stage") for n in range(5)]
    assert endings((*ENDINGS, *many)) == [
        "jw0, jw1, jw2 and 2 more: stopped at cal (there is no stage)",
        "jw1_nrca1, jw2_nrca1: stopped at rate (asked to stop there)",
        "nope.fits: not begun (failed, as said above)",
        "jw3_nrca1: stopped at raw (failed, as said above)",
    ]
    assert tally(NOTES) == "1 complete, 1 up to date, 2 failed"


def test_a_traceback_with_debug_only(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("what it was")
    except ValueError as error:
        note = Done(stage="jump", name="jw1", outcome="failed", sentence="internal error", error=error)
    Plain().done(note)
    assert capsys.readouterr().err == "calstream: jw1: internal error, with what --debug shows\n"
    Plain(debug=True).done(note)
    assert "ValueError: what it was" in capsys.readouterr().err


@pytest.fixture
def screen() -> tuple[Terminal, Console]:
    console = Console(force_terminal=True, width=100, height=30, record=True, color_system=None)
    return Terminal(console), console


def test_the_terminal_shows_what_is_in_work(screen: tuple[Terminal, Console]) -> None:
    shown, console = screen
    shown.planned(["jw1_nrca1", "jw2_nrca1"], ["detector1", "ramp_fit", "image2"])
    shown.begun(Begun(stage="detector1", name="jw1_nrca1", time=0.0))
    shown.done(NOTES[0])
    shown.begun(Begun(stage="ramp_fit", name="jw1_nrca1", time=0.0))
    console.print(shown)
    text = console.export_text()
    (row,) = [line for line in text.splitlines() if line.startswith("jw1")]
    assert "✓ 3.5 s" in row
    assert " min " in row  # it has been at work since 1970
    assert "image2" not in text  # no product is there yet
    assert "1 complete" in text


def test_the_terminal_shows_the_latest_of_many(screen: tuple[Terminal, Console]) -> None:
    shown, console = screen
    names = [f"jw{n:03}" for n in range(100)]
    shown.planned(names, ["detector1"])
    for n, name in enumerate(names[:50]):
        shown.done(Done(stage="detector1", name=name, outcome="complete", begun=n, ended=n + 1))
    console.print(shown)
    text = console.export_text()
    assert len(text.splitlines()) <= console.height
    assert "jw049" in text
    assert "jw001" not in text
    assert "and 76 more" in text


def test_at_the_end_the_terminal_shows_all(
    screen: tuple[Terminal, Console], capsys: pytest.CaptureFixture[str]
) -> None:
    shown, console = screen
    shown.start()
    told(shown)
    text = console.export_text()
    assert [line.strip() for line in text.splitlines()[-3:]] == endings(ENDINGS)
    assert "· " not in text.splitlines()[-8]
    assert "jw3_nrca1: step jump: no gain" in capsys.readouterr().err or "no gain" in text


def test_lines_where_there_is_no_terminal() -> None:
    with reporter(quiet=False, debug=False) as shown:
        assert type(shown) is Plain


def told(shown: Plain) -> None:
    shown.planned(["jw1_nrca1", "jw2_nrca1", "jw3_nrca1"], ["detector1", "ramp_fit"])
    for note in NOTES:
        shown.begun(Begun(stage=note.stage, name=note.name, time=note.begun))
        shown.done(note)
    shown.finished(SUMMARY, Path("out"))
