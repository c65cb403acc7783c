"""``calstream ingest``, ``line``, ``recipe enable`` and ``export`` over the embedded bus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from processors.recipes import builtin
from schemas.records import ServiceRecord
from streams.cli import main
from streams.current import events_of
from streams.site import Address, Site, open_site
from streams.topics import SERVICES
from tests.streams.arrivals import NAME, arrive, simulated

__all__ = ["arrive", "simulated"]

DEADLINE = 120.0


@pytest.fixture
def where(tmp_path, monkeypatch) -> Address:
    """Lead commands to a new pipeline."""
    address = Address(bus=f"embedded:{tmp_path / 'bus'}", store=str(tmp_path / "store"))
    for name, value in address.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return address


@pytest.fixture
def site(where):
    site: Site = open_site(where)
    yield site
    site.bus.close()


def topic(site: Site, name: str) -> list:
    return list(events_of(site.bus, [name]))


def test_a_folder_is_taken_in_with_a_plan_and_a_line_for_each_file(site, arrive, capsys):
    arrive("inbox/a")
    folder = arrive("inbox/b", number=2).parent.parent
    assert main(["ingest", str(folder)]) == 0
    said = capsys.readouterr()
    assert "1 plan" in said.out
    assert f"{NAME}_uncal: published (on main)" in said.out
    assert "2 published" in said.out
    assert not said.err
    assert len(topic(site, "raw")) == 2
    assert len(topic(site, "plan")) == 1
    assert main(["ingest", str(folder)]) == 0
    assert "2 known" in capsys.readouterr().out
    assert len(topic(site, "raw")) == 2
    assert len(topic(site, "plan")) == 1


def test_a_refused_file_makes_the_exit_code_1_and_the_rest_goes_on(site, arrive, capsys):
    path = arrive()
    (path.parent / "broken_uncal.fits").write_bytes(b"nothing")
    assert main(["ingest", "--quiet", "--no-plan", str(path.parent), str(path.parent / "missing.fits")]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert "broken_uncal.fits: this is not a FITS file" in said.err
    assert "missing.fits: it cannot be read" in said.err
    assert len(topic(site, "raw")) == 1
    assert topic(site, "plan") == []
    assert {event.name for event in topic(site, "failures")} == {"broken"}


def test_a_folder_without_exposures_is_refused(where, tmp_path, capsys):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert main(["ingest", str(folder)]) == 1
    assert "there is no *_uncal.fits in this folder" in capsys.readouterr().err


def test_files_stay_in_place_only_where_that_is_allowed(site, arrive, monkeypatch, capsys):
    path = arrive()
    assert main(["ingest", "--in-place", str(path)]) == 2
    assert "CALSTREAM_IN_PLACE_ROOTS" in capsys.readouterr().err
    monkeypatch.setenv("CALSTREAM_IN_PLACE_ROOTS", f"/nowhere{os.pathsep}{path.parent}")
    assert main(["ingest", "--in-place", str(path)]) == 0
    assert topic(site, "raw")[0].product.uri == path.as_uri()


def test_without_a_pipeline_the_sentence_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CALSTREAM_BUS", raising=False)
    monkeypatch.delenv("CALSTREAM_STORE", raising=False)
    assert main(["ingest", str(tmp_path)]) == 2
    assert "calstream up" in capsys.readouterr().err


def test_sigterm_ends_a_watch_cleanly(site, arrive):
    first = arrive()
    command = [sys.executable, "-m", "streams.cli", "ingest", "--watch", "--settle", "0.2", str(first.parent)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as process:
        try:
            _until(lambda: len(topic(site, "raw")) == 1, process)
            arrive(number=2)
            _until(lambda: len(topic(site, "raw")) == 2, process)
            (first.parent / "broken_uncal.fits").write_bytes(b"nothing")
            told = process.stderr.readline()  # its event alone would not say that all is done with the file
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()  # one that goes on would be waited for
    assert process.returncode == 0, err
    assert "2 published, 1 refused" in out
    assert "this is not a FITS file" in told
    assert not err
    assert [event.stage for event in topic(site, "failures")] == ["ingest"]
    (*_, last) = site.bus.read(SERVICES)
    assert ServiceRecord.model_validate_json(last.value).state == "stopped"
    assert site.store.names("incoming") == []


def test_lines_are_made_listed_and_stopped(site, arrive, capsys):
    assert main(["line", "add", "two", "--recipe", "baseline"]) == 0
    assert builtin("baseline").digest in capsys.readouterr().out
    assert main(["ingest", str(arrive())]) == 0
    assert "published (on main, two)" in capsys.readouterr().out
    assert main(["line", "stop", "main"]) == 0
    capsys.readouterr()
    assert main(["line", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["main", "optimal", "stopped", builtin("optimal").digest] in rows
    assert ["two", "baseline", "active", builtin("baseline").digest] in rows
    assert main(["ingest", "--line", "main", str(arrive())]) == 2
    assert "line 'main' was stopped" in capsys.readouterr().err


def test_a_line_is_not_made_with_a_recipe_that_is_none(where, tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("steps: {jump: {rejection_treshold: 5}}\n")
    assert main(["line", "add", "two", "--recipe", str(recipe)]) == 2
    assert "did you mean 'rejection_threshold'" in capsys.readouterr().err


def test_a_recipe_that_replaces_code_is_enabled_by_the_beginning_of_its_digest(where, tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text('steps: {ramp_fit: {use: "my_lab.ramps:fit"}}\n')
    assert main(["line", "add", "two", "--recipe", str(recipe)]) == 0
    said = capsys.readouterr()
    digest = said.out.split("(")[1].rstrip(")\n")
    assert f"calstream recipe enable {digest[:12]}" in said.err
    main(["line", "list"])
    assert "recipe not enabled" in capsys.readouterr().out
    assert main(["recipe", "enable", digest[:12]]) == 0
    assert "my_lab.ramps:fit as ramp_fit" in capsys.readouterr().out
    main(["line", "list"])
    assert "not enabled" not in capsys.readouterr().out
    assert main(["recipe", "enable", builtin("optimal").digest[:8]]) == 0
    assert "sets parameters only" in capsys.readouterr().out
    assert main(["recipe", "enable", "no digest"]) == 2


def test_what_was_taken_in_can_be_exported(where, arrive, tmp_path, capsys):
    path, out = arrive(), tmp_path / "out"
    main(["ingest", str(path)])
    capsys.readouterr()
    assert main(["export", "--out", str(out)]) == 0
    assert "no current product" in capsys.readouterr().out
    only = ["--level", "raw", "--where", "detector == 'NRCA1' and program == 1234"]
    assert main(["export", "--out", str(out), *only]) == 0
    assert f"{NAME}_uncal.fits: exported" in capsys.readouterr().out
    assert (out / path.name).read_bytes() == path.read_bytes()
    assert main(["export", "--out", str(out), *only, "--quiet"]) == 0
    assert not capsys.readouterr().out
    main(["ingest", str(arrive(spot=1))])
    capsys.readouterr()
    assert main(["export", "--out", str(out), *only]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", "--out", str(out), *only, "--overwrite"]) == 0
    assert main(["export", "--where", "__import__('os')"]) == 2


def _until(holds, process) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
