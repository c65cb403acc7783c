"""What `calstream run` promises of the folder that the user named."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from astropy.io import fits

from schemas.errors import CalstreamError
from schemas.reading import read
from streams.run.folder import run_key_of

MOSAIC = "jw01234-o001_t-simulated-field_nircam_clear-f200w-sub160"


def outcomes(summary) -> dict[tuple[str, str], str]:
    return {(note.name, note.stage): note.outcome for note in summary.notes}


def digests(folder: Path) -> dict[str, str]:
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.is_file()
    }


def uncals(downlink: Path) -> list[Path]:
    return sorted(downlink.glob("*_uncal.fits"))


def test_all_levels_lie_side_by_side_under_their_jwst_names(downlink, processed):
    names = {path.name for path in processed.iterdir()}
    for uncal in uncals(downlink):
        stem = uncal.name.removesuffix("_uncal.fits")
        assert {f"{stem}_{suffix}.fits" for suffix in ("rate", "rateints", "cal", "i2d")} <= names
    assert {f"{MOSAIC}_i2d.fits", f"{MOSAIC}_segm.fits", f"{MOSAIC}_cat.ecsv"} <= names
    assert not [name for name in names if name.startswith(".") or "ramp" in name]


def test_again_is_up_to_date_and_touches_nothing(downlink, processed, process):
    before = {path: path.stat().st_mtime_ns for path in processed.iterdir()}
    summary = process(downlink, out=processed)
    assert not summary.failed
    assert set(outcomes(summary).values()) == {"up to date"}
    assert {path: path.stat().st_mtime_ns for path in processed.iterdir()} == before


def test_the_same_bytes_in_a_fresh_folder_for_any_block_and_one_thread(
    downlink, processed, process, tmp_path
):
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        process(downlink, out=tmp_path, block_bytes=1)
    finally:
        numba.set_num_threads(threads)
    assert digests(tmp_path) == digests(processed)


def test_the_ramp_in_between_changes_nothing_of_the_rate(downlink, processed, process, tmp_path):
    uncal = uncals(downlink)[0]
    assert not process(uncal, out=tmp_path, until="ramp").failed
    ramp = next(tmp_path.glob("*_ramp.fits"))
    assert [p.name for p in tmp_path.iterdir()] == [ramp.name]
    assert not process(ramp, out=tmp_path, until="rate").failed
    stem = uncal.name.removesuffix("_uncal.fits")
    for suffix in ("rate", "rateints"):
        ours, fused = read(tmp_path / f"{stem}_{suffix}.fits"), read(processed / f"{stem}_{suffix}.fits")
        for name, array in fused.arrays().items():
            assert array.tobytes() == getattr(ours, name).tobytes(), name


def test_a_recipe_may_publish_the_ramp_too(downlink, processed, process, tmp_path):
    uncal = uncals(downlink)[0]
    recipe = tmp_path / "published.yaml"
    recipe.write_text("name: published\nbase: optimal\npublish_ramp: true\n")
    out = tmp_path / "out"
    assert not process(uncal, out=out, until="rate", recipe=recipe).failed
    stem = uncal.name.removesuffix("_uncal.fits")
    assert {path.name for path in out.iterdir()} == {f"{stem}_{s}.fits" for s in ("ramp", "rate", "rateints")}
    np.testing.assert_array_equal(
        read(out / f"{stem}_rate.fits").data, read(processed / f"{stem}_rate.fits").data
    )


def test_another_recipe_name_with_the_same_values_is_all_hits(downlink, processed, process, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nbase: optimal\n")
    summary = process(downlink, out=processed, recipe=recipe)
    assert set(outcomes(summary).values()) == {"up to date"}


def test_another_value_is_refused_without_overwrite_and_the_others_go_on(downlink, process, tmp_path):
    one, two = uncals(downlink)[:2]
    process(one, out=tmp_path, until="rate")
    before = digests(tmp_path)
    changed = {"jump": {"rejection_threshold": 7.5}}
    if "rejection_threshold" not in _jump_options():
        changed = {"jump": {_jump_options()[0]: None}}
    summary = process(one, two, out=tmp_path, until="rate", command_line=changed)
    assert summary.failed
    assert sorted(outcomes(summary).values()) == ["complete", "refused"]
    refused = next(note for note in summary.notes if note.outcome == "refused")
    assert "--overwrite" in refused.sentence
    after = digests(tmp_path)
    assert {name: after[name] for name in before} == before
    summary = process(one, out=tmp_path, until="rate", command_line=changed, overwrite=True)
    assert outcomes(summary)[one.name.removesuffix("_uncal.fits"), "detector1+ramp_fit"] == "complete"
    assert (
        digests(tmp_path)[f"{one.name.removesuffix('_uncal.fits')}_rate.fits"]
        != before[f"{one.name.removesuffix('_uncal.fits')}_rate.fits"]
    )


def _jump_options() -> list[str]:
    from processors.detector1 import jump

    return list(jump.options_type.model_fields)


def test_a_file_of_somebody_else_is_not_taken_for_ours(downlink, process, tmp_path):
    uncal = uncals(downlink)[0]
    target = tmp_path / uncal.name.replace("_uncal", "_rate")
    target.write_bytes(b"precious")
    summary = process(uncal, out=tmp_path, until="rate")
    assert summary.failed
    assert target.read_bytes() == b"precious"


def test_a_lost_product_of_a_run_is_made_again(downlink, process, tmp_path):
    uncal = uncals(downlink)[0]
    process(uncal, out=tmp_path, until="rate")
    before = digests(tmp_path)
    next(tmp_path.glob("*_rateints.fits")).unlink()
    assert not process(uncal, out=tmp_path, until="rate").failed
    assert digests(tmp_path) == before


def test_files_of_every_level_go_on_from_there(downlink, processed, process, tmp_path):
    rates = sorted(processed.glob("*_rate.fits"))
    assert not process(*rates, out=tmp_path).failed
    for name, value in digests(tmp_path).items():
        assert digests(processed)[name] == value
    again = tmp_path / "from_cal"
    cals = sorted(processed.glob("*_cal.fits"))
    assert not process(*cals, out=again).failed
    assert digests(again) == {n: d for n, d in digests(processed).items() if n.startswith(MOSAIC)}


def test_two_runs_at_once_in_one_folder_do_not_harm_each_other(downlink, processed, tmp_path):
    code = (
        "import sys; from pathlib import Path; from streams.run.driver import RunRequest, run;"
        "s = run(RunRequest(paths=[sys.argv[1]], out=Path(sys.argv[2]))); sys.exit(s.failed)"
    )
    command = [sys.executable, "-c", code, str(downlink), str(tmp_path)]
    environment = {**os.environ, "CRDS_PATH": str(downlink / "crds_cache")}
    both = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(timeout=600) for process in both] == [0, 0]
    assert digests(tmp_path) == digests(processed)


def test_an_edited_constant_is_recomputed(downlink, tmp_path):
    """By the edited code: kernels that were compiled before are not taken for it."""
    root = Path(__file__).parents[2]
    for package in ("schemas", "processors", "streams"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    # Few steps, because their kernels are compiled twice here.
    code = (
        "import sys; from pathlib import Path; from streams.run.driver import RunRequest, run;"
        "skipped = 'saturation refpix linearity dark_current jump'.split();"
        "s = run(RunRequest(paths=[sys.argv[1]], out=Path(sys.argv[2]), until='ramp', overwrite=True,"
        " command_line={step: {'skip': True} for step in skipped}));"
        "print(*[n.outcome for n in s.notes])"
    )
    command = [sys.executable, "-c", code, str(uncals(downlink)[0]), str(tmp_path / "out")]
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment |= {"CRDS_PATH": str(downlink / "crds_cache"), "PYTHONPATH": str(tmp_path)}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")

    def run_once() -> tuple[str, str, np.ndarray]:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        (ramp,) = (tmp_path / "out").glob("*_ramp.fits")
        return done.stdout.splitlines()[-1], run_key_of(ramp), read(ramp).data

    outcome, key, data = run_once()
    assert outcome == "complete"
    assert run_once()[:2] == ("up to date", key)
    source = tmp_path / "processors" / "detector1" / "superbias.py"
    before = source.read_text()
    source.write_text(before.replace("else what[x]", "else np.float32(0.5) * what[x]"))
    assert source.read_text() != before
    outcome, other_key, other = run_once()
    assert outcome == "complete"
    assert other_key != key
    assert np.median(other - data) > 1000


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"recipe": "optimall"}, "optimal"),
        ({"until": "mosaic"}, "combined"),
        ({"command_line": {"jmp": {"skip": True}}}, "jump"),
        ({"command_line": {"jump": {"rejection_treshold": 3}}}, "threshold"),
        ({"command_line": {"resample": {"pixfrac": 7}}}, "pixfrac"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(downlink, process, tmp_path, request_, sentence):
    try:
        summary = process(uncals(downlink)[0], out=tmp_path / "out", **request_)
    except CalstreamError as error:
        text = str(error)
    else:
        assert summary.failed
        text = next(e.reason for e in summary.endings if e.failed)
    assert sentence in text
    assert "\n" not in text
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_what_a_killed_run_left_is_swept_by_the_next(downlink, process, tmp_path):
    import socket

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".calstream-{socket.gethostname()}.{dead.pid}-abc"
    elsewhere = tmp_path / f".calstream-another-machine.{dead.pid}-abc"
    for folder in (left, elsewhere):
        folder.mkdir()
    process(uncals(downlink)[0], out=tmp_path, until="rate")
    assert not left.exists()
    assert elsewhere.exists()


def test_a_stage_that_a_service_takes_over_is_left_to_it(downlink, process, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nbase: optimal\nhandlers: {ramp_fit: {service: my-fit}}\n")
    summary = process(uncals(downlink)[0], out=tmp_path / "out", recipe=recipe)
    (ending,) = summary.endings
    assert ending.level == "ramp"
    assert "my-fit" in ending.reason
    assert [p.name.rpartition("_")[2] for p in (tmp_path / "out").iterdir()] == ["ramp.fits"]


def test_files_of_a_note_are_those_that_the_stage_made(downlink, process, tmp_path):
    summary = process(uncals(downlink)[0], out=tmp_path, until="cal")
    made = {note.stage: sorted(p.name.rpartition("_")[2] for p in note.files) for note in summary.notes}
    assert made == {
        "detector1+ramp_fit": ["rate.fits", "rateints.fits"],
        "image2": ["cal.fits", "i2d.fits"],
    }
    assert all(path.exists() for note in summary.notes for path in note.files)


def edited_copy(uncal: Path, target: Path, **cards) -> Path:
    with fits.open(uncal) as hdus:
        hdus[0].header.update(cards)
        hdus.writeto(target)
    return target


@pytest.mark.parametrize("card", [{"FRMDIVSR": 2}, {"NOUTPUTS": 4}, {"TGROUP": 2.0}, {"NFRAMES": 2}])
def test_a_keyword_that_steps_read_is_part_of_the_run_key(downlink, process, tmp_path, card):
    uncal = uncals(downlink)[0]
    process(uncal, out=tmp_path / "one", until="rate")
    other = edited_copy(uncal, tmp_path / uncal.name, **card)
    process(other, out=tmp_path / "two", until="rate")
    keys = {run_key_of(next((tmp_path / folder).glob("*_rate.fits"))) for folder in ("one", "two")}
    assert len(keys) == 2


def test_another_exposure_of_the_same_name_is_refused_not_dropped(downlink, process, tmp_path):
    uncal = uncals(downlink)[0]
    copy = edited_copy(uncal, tmp_path / "copy_uncal.fits", TGROUP=2.0, FILENAME=uncal.name)
    summary = process(uncal, copy, out=tmp_path / "out", until="rate")
    assert summary.failed
    (refused,) = [ending for ending in summary.endings if ending.failed]
    assert str(copy) in refused.reason
    assert str(uncal) in refused.reason
    same = tmp_path / "again_uncal.fits"
    shutil.copy(uncal, same)
    assert not process(uncal, same, out=tmp_path / "out", until="rate").failed


def test_a_damaged_product_is_made_again(downlink, process, tmp_path):
    uncal = uncals(downlink)[0]
    process(uncal, out=tmp_path, until="rate")
    before = digests(tmp_path)
    rate = next(tmp_path.glob("*_rate.fits"))
    with open(rate, "r+b") as file:
        file.seek(40_000)
        file.write(bytes(100))
    assert set(outcomes(process(uncal, out=tmp_path, until="rate")).values()) == {"complete"}
    assert digests(tmp_path) == before


def test_a_truncated_product_in_the_way_is_called_so(downlink, process, tmp_path):
    uncal = uncals(downlink)[0]
    process(uncal, out=tmp_path, until="rate")
    rate = next(tmp_path.glob("*_rate.fits"))
    rate.write_bytes(rate.read_bytes()[:60_000])
    (ending,) = process(uncal, out=tmp_path, until="rate").endings
    assert ending.failed
    assert "truncated" in ending.reason
    assert not process(uncal, out=tmp_path, until="rate", overwrite=True).failed


def test_a_folder_in_a_product_s_place_leaves_nothing_half_written(downlink, process, tmp_path):
    uncal = uncals(downlink)[0]
    (tmp_path / uncal.name.replace("_uncal", "_rate")).mkdir()
    summary = process(uncal, out=tmp_path, until="rate", overwrite=True)
    assert summary.failed
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_input_beyond_until_has_nothing_to_do(downlink, processed, process, tmp_path):
    cal = next(processed.glob("*_cal.fits"))
    (ending,) = process(cal, out=tmp_path, until="rate").endings
    assert "nothing to do" in ending.reason
