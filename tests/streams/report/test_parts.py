"""The parts of a page: record, timeline, images, provenance."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from schemas.errors import Unprocessable
from streams.report.gather import gather
from streams.report.history import of_record
from streams.report.images import (
    Compass,
    compass,
    coverage,
    exposures_per_pixel,
    reduced,
    scale_bar,
    stretched,
)
from streams.report.provenance import origins
from streams.report.timeline import duration, timeline
from streams.run.record import read_record, recorded, write_record
from streams.run.report import Done, Ending, RunSummary


def pixels(picture):
    content = base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)


def summary():
    return RunSummary(
        endings=(
            Ending(name="a", level="cal", reason="as asked"),
            Ending(name="b", level="", reason="x", failed=True),
        ),
        notes=(
            Done(stage="image2", name="a", outcome="complete", begun=10.25, ended=11.5),
            Done(
                stage="image2",
                name="b",
                outcome="failed",
                sentence="no flat",
                begun=12.0,
                ended=12.5,
                error=OSError(),
            ),
        ),
    )


def test_a_record_says_what_the_run_did(tmp_path):
    path = tmp_path / "new folder/run.json"
    settings = {"jump": {"rejection_threshold": 5.0}}
    made = recorded(summary(), recipe="optimal", until="cal", settings=settings, span=(10.0, 13.0))
    write_record(made, path)
    found = read_record(path)
    assert found == made
    assert found.seconds == 3.0
    assert found.settings == settings
    assert [(s.name, s.outcome, s.began, s.ended, s.sentence) for s in found.stages] == [
        ("a", "complete", 10.25, 11.5, ""),
        ("b", "failed", 12.0, 12.5, "no flat"),
    ]
    assert [(e.name, e.failed) for e in found.endings] == [("a", False), ("b", True)]
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_a_record_of_a_later_version_is_read(tmp_path):
    path = tmp_path / "run.json"
    made = recorded(summary(), recipe="optimal", until="cal", settings={}, span=(10.0, 13.0))
    write_record(made, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "new": [1]}))
    assert read_record(path) == made


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", "\x00"])
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(Unprocessable, match="--record"):
        read_record(path)
    with pytest.raises(Unprocessable, match=r"none\.json"):
        read_record(tmp_path / "none.json")


def test_the_timeline_is_to_scale(products):
    found = timeline(of_record(read_record(products / "run.json")))
    assert [row.name for row in found.rows][-1].startswith("jw01234-o001")
    assert [stage.name for stage in found.stages] == ["detector1+ramp_fit", "image2", "image3"]
    first, last = found.rows[0].bars, found.rows[-1].bars
    assert [(bar.left, bar.width) for bar in first] == [(0, 10), (40, 10)]
    assert (last[0].left, last[0].width, last[0].seconds) == (50, 50, 5)
    assert [stage.seconds for stage in found.stages] == [3, 1, 5]
    assert [tick.label for tick in found.ticks] == ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]


@given(st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(seconds):
    made = recorded(RunSummary(), recipe="r", until="cal", settings={}, span=(5.0, 5.0 + seconds))
    ticks = timeline(of_record(made)).ticks
    assert 1 <= len(ticks) <= 13
    assert all(0 <= tick.left <= 100.001 for tick in ticks)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (125, "2 min 05 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_first_row_is_drawn_at_the_bottom():
    data = np.random.default_rng(1).normal(0, 1, (40, 60))
    data[2, 5] = 500
    drawn = pixels(stretched(data)).sum(axis=2)
    assert np.unravel_index(drawn.argmax(), drawn.shape) == (37, 5)


def test_empty_pixels_differ_from_dark_ones():
    data = np.random.default_rng(1).normal(0, 1, (40, 60))
    data[:, :10] = np.nan
    drawn = pixels(stretched(data))
    assert (drawn[:, :10, 3] < 100).all()
    assert (drawn[:, 10:, 3] == 255).all()


@pytest.mark.parametrize("data", [np.full((5, 5), np.nan), np.zeros((5, 5)), np.full((5, 5), 3.0)])
def test_flat_and_empty_images_are_drawn(data):
    assert pixels(stretched(data)).shape == (5, 5, 4)


def test_wide_images_are_averaged():
    data = np.arange(24.0).reshape(4, 6)
    data[0, 0] = np.nan
    np.testing.assert_array_equal(reduced(data, 3), [[14 / 3, 5.5, 7.5], [15.5, 17.5, 19.5]])
    picture = stretched(np.ones((10, 4000)))
    assert (picture.width, picture.height) == (4000, 10)
    assert pixels(picture).shape[1] <= 1600


def test_exposures_are_counted_in_all_planes_of_the_context():
    con = np.zeros((2, 3, 3), np.int32)
    con[0] = 0b101
    con[1, 0] = -(2**31)
    np.testing.assert_array_equal(exposures_per_pixel(con), [[3, 3, 3], [2, 2, 2], [2, 2, 2]])


@pytest.mark.parametrize("most", [1, 4, 8, 9, 37])
def test_coverage_has_a_legend_that_adds_up(most):
    counts = np.arange(400).reshape(20, 20) % (most + 1)
    picture, shares = coverage(counts)
    assert sum(share.fraction for share in shares) == pytest.approx(1)
    assert len(shares) == min(most, 8)
    drawn = pixels(picture)[::-1]
    assert ((drawn[..., 3] < 100) == (counts == 0)).all()
    for share in shares:
        colour = [int(share.colour[i : i + 2], 16) for i in (1, 3, 5)]
        part = (drawn[..., :3] == colour).all(axis=2) & (counts > 0)
        assert part.sum() / (counts > 0).sum() == pytest.approx(share.fraction)


def test_the_compass_shows_north_and_east(products):
    [combined] = gather(products).combined
    found = compass(combined.image.read().meta.wcs, (160, 160))
    assert isinstance(found, Compass)
    assert found.scale == pytest.approx(0.031, rel=1e-4)
    assert np.rad2deg(np.arctan2(-found.north[0], -found.north[1])) % 360 == pytest.approx(30, abs=0.01)
    # seen from inside the sphere, East is to the left of North
    assert found.north[0] * found.east[1] - found.north[1] * found.east[0] == pytest.approx(-1, abs=1e-3)


@given(st.floats(0.001, 1), st.integers(20, 20000))
def test_scale_bars_are_round_and_fit(scale, width):
    bar = scale_bar(scale, width)
    assert 0.05 * width < bar.pixels < 0.5 * width or scale * width < 0.1
    assert bar.label[0].isdigit()


def test_only_mosaics_are_combined_and_exposures_have_their_images(products):
    found = gather(products)
    assert [combined.image.name for combined in found.combined] == ["jw01234-o001_t001_nircam_clear-f200w"]
    assert len(found.exposures) == 3
    assert [list(images) for images in found.exposures.values()] == [["rate", "cal"]] * 3


def test_products_made_alike_are_told_once(products):
    found = origins(gather(products).heads)
    assert [len(origin.files) for origin in found] == [1, 3, 3]
    [line] = found[0].steps
    assert list(line.changed) == [("rejection_threshold", "5.5", "command line")]
    assert line.count == 2
    assert list(line.references) == [("gain", "jwst_nircam_gain_0001.fits", "ab" * 32)]
