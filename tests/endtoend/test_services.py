"""The road as services, by the commands that a user types: raw to mosaic, a replay, looks at it all."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from astropy.io import fits

from schemas.events import ProductEvent
from schemas.naming import suffix_of
from schemas.stored_content import digest_of_path
from streams.current import current_products, events_of
from streams.site import open_site
from tests.endtoend.place import Place

FIRST = "jw01234001001_02101_00001_nrca1"


def test_every_exposure_goes_to_the_mosaic_once(place):
    events = place.done()
    assert Counter(event.stage for event in events) == {
        "detector1": 4, "ramp_fit": 4, "image2": 4, "image3": 1,
    }  # fmt: skip
    assert {event.outcome for event in events} == {"complete"}


def test_products_equal_those_of_run(place, processed, tmp_path):
    done = place("export", "--out", tmp_path, "--quiet")
    assert done.returncode == 0, done.stderr
    exported = {path.name: path for path in tmp_path.iterdir() if suffix_of(path.name) != "ramp"}
    made = {path.name: path for path in processed.iterdir() if path.suffix in (".fits", ".ecsv")}
    assert set(exported) == set(made)
    for name, path in exported.items():
        if path.suffix == ".fits":
            assert digest_of_path(path) == digest_of_path(made[name]), name
        else:
            rows = [
                [line for line in p.read_text().splitlines() if line[:1] != "#"] for p in (path, made[name])
            ]
            assert rows[0] == rows[1]


def test_every_event_was_told_in_order_and_then_a_summary(place):
    lines = (place.folder / "said").read_text().splitlines()
    assert lines[0] == f"bus   embedded:{place.folder / 'bus'}"
    *events, summary, where, following, commands = lines[3:]
    topics = [line.split()[1] for line in events]
    assert Counter(topics) == {
        "plan": 1, "raw": 4, "ramp": 4, "rate": 4, "cal": 4, "association": 1, "combined": 1,
    }  # fmt: skip
    times = [line.split()[0] for line in events]
    assert times == sorted(times)
    assert topics[0] == "plan"
    assert topics[-2:] == ["association", "combined"]
    assert summary.startswith("4 exposures in; 4 ramp, 4 rate, 4 cal, 1 combined out; no failures; in ")
    assert where == f"products in {place.folder / 'store'}"
    assert following == "next: . ./env.sh"
    assert commands.startswith("      calstream export")


def test_the_environment_file_leads_other_commands_there(place):
    assert (place.folder / "env.sh").read_text().splitlines() == [
        "export MINE=1",
        f"export CALSTREAM_BUS=embedded:{place.folder / 'bus'}",
        f"export CALSTREAM_STORE={place.folder / 'store'}",
    ]


def test_nothing_is_left_running_and_every_service_has_said_goodbye(place):
    found = json.loads(place("status", "--json").stdout)
    assert [one for one in found["services"] if one["live"]] == []
    assert found["failures"] == found["dead_letters"] == 0
    targets = json.loads((place.folder / "bus/targets.json").read_text())
    services = {target["labels"]["service"] for target in targets}
    assert services == {"detector1", "ramp_fit", "image2", "image3", "associator"}


@pytest.fixture(scope="module")
def replayed(place) -> tuple[Place, list[ProductEvent]]:
    """One detector's rates went again with another flat, the other's as they were; what came of it."""
    before = len(place.done())
    (flat,) = {path for path in place.crds.rglob("*_flat_*.fits") if fits.getval(path, "DETECTOR") == "NRCA1"}
    mine = place.folder / "my_flat.fits"
    with fits.open(flat) as file:
        file["SCI"].data = file["SCI"].data * 1.25
        file.writeto(mine)
    chosen = ("replay", "rate", "--where", "detector == 'NRCA1'", "--set", f"flat_field.override_flat={mine}")
    dry = place(*chosen, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "2 events of rate chosen: 3 runs would be computed" in dry.stdout
    assert len(place.done()) == before
    assert place(*chosen).returncode == 0
    assert place("replay", "rate", "--where", "detector == 'NRCA3'").returncode == 0
    done = place("up", "--until-idle")
    assert done.returncode == 0, done.stdout + done.stderr
    new = sorted(place.done(), key=lambda event: event.generation)[before:]
    return place, [event for event in new if event.topic != "rate"]


def test_a_replay_redoes_what_depends_on_it_and_nothing_else(replayed):
    _, events = replayed
    computed = Counter((event.stage, event.outcome) for event in events if event.outcome == "complete")
    assert computed == {("image2", "complete"): 2, ("image3", "complete"): 1}
    assert all(
        "nrca1" in event.name for event in events if event.outcome == "complete" and event.topic == "cal"
    )
    hits = {event.name for event in events if event.outcome == "cached" and event.topic == "cal"}
    assert len(hits) == 2
    assert all("nrca3" in name for name in hits)


def test_the_new_mosaic_is_current_and_is_what_export_takes(replayed, processed, tmp_path):
    place, _ = replayed
    done = place("export", "--out", tmp_path, "--level", "cal")
    assert done.returncode == 0, done.stderr
    one, other = f"{FIRST}_cal.fits", f"{FIRST.replace('nrca1', 'nrca3')}_cal.fits"
    old, new = (fits.getdata(folder / one, "SCI") for folder in (processed, tmp_path))
    ratio = (new / old)[abs(old) > 0]
    assert abs(ratio[abs(ratio - 0.8) < 0.01].size / ratio[ratio == ratio].size - 1) < 0.01
    assert digest_of_path(tmp_path / other) == digest_of_path(processed / other)
    site = open_site(place.address)
    mosaics = current_products(events_of(site.bus, ["combined"])).values()
    site.bus.close()
    (mosaic,) = mosaics
    assert mosaic.outcome == "complete"
    assert mosaic.campaign


def test_trace_tells_the_whole_road_of_an_exposure(replayed):
    place, _ = replayed
    found = json.loads(place("trace", FIRST, "--json").stdout)
    stages = Counter((one["stage"], one["outcome"]) for one in found)
    assert stages["ingest", "arrived"] == 1
    assert stages["detector1", "complete"] == 1
    assert stages["image2", "complete"] == 2
    assert stages["image3", "complete"] == 2
    times = [one["time"] for one in found]
    assert times == sorted(times)


def test_the_page_shows_both_generations(replayed, tmp_path):
    place, _ = replayed
    assert place("export", "--out", tmp_path, "--quiet").returncode == 0
    done = place("report", tmp_path, "--bus", place.address.bus)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "index.html").read_text()
    for words in ("Timeline of every event", "Longest wait", "published again by a replay", "associated"):
        assert words in text
