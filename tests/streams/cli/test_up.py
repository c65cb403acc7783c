"""``calstream up`` and ``serve`` as commands; services that have nothing to compute."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from streams.bus import Outgoing
from streams.bus.memory import MemoryBus
from streams.cli import main
from streams.cli.attendance import Shown, line_of
from streams.cli.top import Watch
from streams.roster import process_runs
from streams.site import BUS, STORE, Address, Site, add_to_environment_file, address
from streams.supervisor import Managed, Supervisor
from tests.streams.pipeline import Pipeline
from tests.streams.service.support import until, write_crds


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A folder of its own, and no variable that leads elsewhere."""
    for name in (BUS, STORE, "CRDS_PATH", "CRDS_PATH_SINGLE", "CRDS_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def up(alone):
    """Start ``calstream up`` in the folder; it is killed afterwards if it has not ended."""
    begun = []

    def start(*arguments):
        begun.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "streams.cli", "up", *map(str, arguments)],
                env={**os.environ, **write_crds(alone)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True,
            )
        )  # fmt: skip
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def pids(folder):
    """Return the processes of the services that say they are ready, by service."""
    told = subprocess.run(
        [sys.executable, "-P", "-m", "streams.cli", "status", "--json"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = json.loads(told.stdout)["services"] if told.returncode == 0 else []
    return {one["service"]: one["pid"] for one in rows if one["state"] == "ready"}


def test_without_a_crds_cache_nothing_is_begun(alone, capsys):
    assert main(["up"]) == 2
    assert "CRDS_PATH is not set" in capsys.readouterr().err
    assert not list(alone.iterdir())


def test_an_unknown_bus_is_named(alone, capsys, monkeypatch):
    monkeypatch.setenv("CRDS_PATH", str(alone))
    assert main(["up", "--bus", "embeded:x"]) == 2
    assert "did you mean embedded:x?" in capsys.readouterr().err


def test_it_runs_until_it_is_idle_and_a_refused_file_makes_the_exit_code_1(up, alone):
    (alone / "in").mkdir()
    (alone / "in/jw01234001001_02101_00001_nrca1_uncal.fits").write_bytes(b"no FITS")
    process = up("--ingest", "in", "--ingest", "missing.fits", "--until-idle")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 1, out + err
    here = alone / "calstream-data"
    assert out.splitlines()[:3] == [
        f"bus   embedded:{here / 'bus'}", f"store {here / 'store'}", f"logs  {here / 'bus/logs'}",
    ]  # fmt: skip
    assert out.count("not a FITS file") == 1
    assert err.count("not a FITS file") == 1
    assert err.count("missing.fits") == 1
    assert "Traceback" not in err
    assert "0 exposures in; nothing out; 1 failure; in " in out
    assert out.splitlines()[-1].startswith("next: calstream export")  # it finds the folder by itself


def test_a_killed_service_comes_again_and_a_stop_leaves_nothing_behind(up, alone):
    process = up()
    first = until(lambda: (found := pids(alone)) and len(found) == 5 and found, 600)
    os.kill(first["image3"], signal.SIGKILL)
    again = until(lambda: (found := pids(alone)).get("image3") not in (None, first["image3"]) and found, 600)
    targets = alone / "calstream-data/bus/targets.json"
    until(lambda: len(json.loads(targets.read_text())) == 5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0
    assert "image3 was killed by SIGKILL; it is started again" in err
    assert "what is in work is finished first; Ctrl-C again stops at once" in err
    assert not [pid for pid in (*first.values(), *again.values()) if process_runs(pid)]


def test_what_is_stopped_before_it_is_idle_is_no_success(up, alone):
    process = up("--until-idle", "--ingest", alone, "--watch")
    until((alone / "calstream-data/bus/logs/image2.log").exists, 600)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM


def test_an_address_means_the_same_in_every_folder(alone):
    found = address("embedded:a/b", "c", environ={})
    assert found == Address(bus=f"embedded:{alone / 'a/b'}", store=str(alone / "c"))
    told = address("kafka://host:9092", "s3://bucket/c", environ={})
    assert told == Address(bus="kafka://host:9092", store="s3://bucket/c")


def test_an_environment_file_keeps_what_else_is_in_it(alone):
    path = alone / "new/env.sh"
    add_to_environment_file(path, Address(bus="embedded:/a b", store="/s"))
    path.write_text("export CRDS_PATH=/crds\n" + path.read_text())
    add_to_environment_file(path, Address(bus="embedded:/a b", store="/other"))
    assert path.read_text() == (
        "export CRDS_PATH=/crds\nexport CALSTREAM_BUS='embedded:/a b'\nexport CALSTREAM_STORE=/other\n"
    )


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline.on(MemoryBus(), tmp_path / "store")


def test_events_are_lines(pipeline):
    event = pipeline.raw(1)
    pipeline.say(pipeline.made("detector1", event, "ramp", outcome="cached"))
    pipeline.mosaic(pipeline.along(event))
    pipeline.failed("image2", event, "no flat")
    lines = [
        line_of(message)[10:]
        for topic in ("raw", "ramp", "association", "failures")
        for message in pipeline.bus.read(topic)
    ]
    assert lines == [
        f"raw          {event.name}  arrived",
        f"ramp         {event.name}  cached",
        f"ramp         {event.name}  complete",
        "association  jw01234-o001_t001_nircam_clear-f200w  1 member, complete",
        f"failures     {event.name}: no flat (image2)",
    ]


def test_whatever_lies_on_a_topic_is_one_line_that_leaves_the_terminal_alone(pipeline):
    pipeline.bus.publish([Outgoing(topic="raw", key="\x1b[31mred\n" + 900 * "k", value=b"no event")])
    event = pipeline.raw(1)
    pipeline.failed("image2", event, "no flat\x1b]0;\x07")
    bad, _ = pipeline.bus.read("raw")
    assert line_of(bad)[10:] == (
        f"raw          ?[31mred?{119 * 'k'}: no event; `calstream dlq list` tells more"
    )
    (failed,) = pipeline.bus.read("failures")
    assert line_of(failed)[10:] == f"failures     {event.name}: no flat?]0;? (image2)"


def test_what_has_been_told_is_remembered_no_longer_than_it_is_read_again(
    pipeline, tmp_path, capsys, monkeypatch
):
    site = Site(bus=pipeline.bus, store=pipeline.store, address=Address(bus="embedded:/b", store="/s"))
    now = time.time()
    shown = Shown(site, tmp_path)
    pipeline.raw(1)
    shown.tell()
    shown.tell()
    assert capsys.readouterr().out.count("arrived") == 1
    pipeline.raw(2)
    shown.tell()
    shown.tell()
    assert capsys.readouterr().out.count("arrived") == 1
    assert len(shown._told) == 2
    monkeypatch.setattr("streams.cli.attendance.time.time", lambda: now + 3600)
    shown.tell()
    pipeline.raw(3)
    shown.tell()
    assert capsys.readouterr().out.count("arrived") == 1
    assert len(shown._told) == 1


def test_the_summary_counts_what_came_since_and_names_few_of_many_failures(pipeline, tmp_path, capsys):
    old = pipeline.raw(1)
    site = Site(bus=pipeline.bus, store=pipeline.store, address=Address(bus="embedded:/b", store="/s"))
    time.sleep(0.01)
    began = time.time()
    shown = Shown(site, tmp_path)
    supervisor = Supervisor(site.address, [Managed(name="none", arguments=())], tmp_path / "logs")
    pipeline.along(pipeline.raw(2))
    for number in range(7):
        pipeline.failed("image2", old, f"failure {number}")
    shown.last()
    shown.summary(supervisor, began, None)
    said = capsys.readouterr()
    assert "1 exposure in; 1 ramp, 1 rate, 1 cal out; 7 failures; in " in said.out
    assert "next: export CALSTREAM_BUS=embedded:/b CALSTREAM_STORE=/s\n      calstream export" in said.out
    assert said.err.count("failure ") == 5
    assert "and 2 more failures" in said.err
    assert shown.failed(supervisor, began)


def test_what_services_wait_for_is_told_once_and_only_if_it_lasts(pipeline, tmp_path, capsys):
    site = Site(bus=pipeline.bus, store=pipeline.store, address=Address(bus="embedded:/b", store="/s"))
    shown = Shown(site, tmp_path)
    pipeline.record("image2", "waiting", sentence="the store is full")
    pipeline.record("image3", "waiting", sentence="the store is full")
    seen = Watch(pipeline.bus).look()
    told = []
    for later in (0, 4, 6, 60):
        shown.draw(replace(seen, time=seen.time + later), "")
        told.append(capsys.readouterr().err.count("calstream: the store is full"))
    assert told == [0, 0, 1, 0]
