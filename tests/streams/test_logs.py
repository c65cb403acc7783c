"""Logs: what they carry, where they go, and who is heard."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from streams.logs import configure, quiet_unless_configured


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_lines_for_machines_carry_exposure_and_run_key(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging.INFO, "json")
    with structlog.contextvars.bound_contextvars(exposure="jw1_nrca1", run_key="0123"):
        structlog.get_logger("calstream").info("complete", seconds=1.5)
        logging.getLogger("crds").warning("a library's %s", "word")
    structlog.get_logger("calstream").info("later")
    said = capsys.readouterr()
    assert said.out == ""
    first, second, third = (json.loads(line) for line in said.err.splitlines())
    assert list(first)[:5] == ["timestamp", "level", "event", "exposure", "run_key"]
    assert (first["event"], first["exposure"], first["run_key"], first["seconds"]) == (
        "complete",
        "jw1_nrca1",
        "0123",
        1.5,
    )
    assert (second["event"], second["logger"], second["run_key"]) == ("a library's word", "crds", "0123")
    assert "exposure" not in third


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging.INFO)
    structlog.get_logger("calstream").info("complete", exposure="jw1_nrca1")
    (line,) = capsys.readouterr().err.splitlines()
    assert "complete" in line
    assert "exposure=jw1_nrca1" in line


def test_quiet_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    structlog.get_logger("calstream").info("complete")
    logging.getLogger("crds").info("fetched")
    warnings.warn("of interest to developers", stacklevel=1)
    assert capsys.readouterr().err == ""
    structlog.get_logger("calstream").warning("full")
    assert "full" in capsys.readouterr().err


def test_configuring_again_doubles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging.INFO, "json")
    configure(logging.INFO, "json")
    logging.getLogger("crds").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_warnings_are_logged_when_all_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    warnings.simplefilter("always")
    configure(logging.INFO, "json")
    warnings.warn("of interest to developers", stacklevel=1)
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["event"], found["warning"]) == ("of interest to developers", "UserWarning")


def test_a_program_of_its_own_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    quiet_unless_configured()
    structlog.get_logger("calstream").info("complete")
    assert capsys.readouterr() == ("", "")
    configure(logging.INFO)
    quiet_unless_configured()
    structlog.get_logger("calstream").info("complete")
    assert "complete" in capsys.readouterr().err
