"""A run that begins with ramps takes the histories that were made with them, and those that are named."""

from __future__ import annotations

import shutil

import pytest

from schemas.history_file import read_history, write_history
from schemas.reading import read
from tests.endtoend.running import FIRST, SECOND

ON = {"persistence": {"skip": False}, "persistence_history": {"dn_threshold": 500.0}}
ALONE = [f"{SECOND}/ramp"]
WITH = [f"{FIRST}/persistence", f"{SECOND}/ramp"]


@pytest.fixture(scope="module")
def ramps(downlink, tmp_path_factory):
    """Two exposures of a detector as far as their ramps, with their histories; nobody alters them."""
    from streams.run.driver import RunRequest, run

    out = tmp_path_factory.mktemp("ramps")
    paths = [str(downlink / f"{name}_uncal.fits") for name in (FIRST, SECOND)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRDS_PATH", str(downlink / "crds_cache"))
        patch.delenv("CRDS_CONTEXT", raising=False)
        patch.delenv("CRDS_SERVER_URL", raising=False)
        summary = run(RunRequest(paths=paths, out=out, until="ramp", command_line=ON))
    assert not summary.failed, summary.endings
    return out


@pytest.fixture
def fit(process, tmp_path):
    """Make rates of files; returns what the second exposure's was made from, and the summary."""

    def call(*paths, command_line=ON, until="rate"):
        summary = process(*paths, out=tmp_path / "out", until=until, command_line=command_line)
        made = read(tmp_path / "out" / f"{SECOND}_rate.fits").meta.provenance.run
        return sorted(item["product"] for item in made["inputs"]), summary

    return call


def of(folder, name, suffix):
    return folder / f"{name}_{suffix}.fits"


def test_a_folder_means_its_ramps_with_their_histories(fit, ramps):
    inputs, summary = fit(ramps)
    assert inputs == WITH
    assert not summary.failed
    assert sorted(ending.name for ending in summary.endings) == [FIRST, SECOND]
    assert [note.stage for note in summary.notes] == ["ramp_fit", "ramp_fit"]


def test_histories_beside_ramps_are_found_whatever_their_order(fit, ramps):
    assert fit(of(ramps, SECOND, "ramp"), of(ramps, FIRST, "ramp"))[0] == WITH


def test_a_history_is_enough_of_an_exposure_before(fit, ramps):
    inputs, summary = fit(of(ramps, SECOND, "ramp"), of(ramps, FIRST, "persistence"), until="combined")
    assert inputs == WITH
    (ending,) = [ending for ending in summary.endings if ending.name == f"{FIRST}_persistence"]
    assert (ending.level, ending.failed) == ("ramp", False)
    assert ending.reason == "goes along with the exposures after it"
    assert not any("missing" in note.remark for note in summary.notes)


def test_raw_exposures_take_named_histories_too(fit, ramps, downlink):
    assert fit(of(downlink, SECOND, "uncal"), of(ramps, FIRST, "persistence"))[0] == WITH


def test_a_history_of_what_is_there_raw_is_made_anew(fit, ramps, downlink):
    paths = [of(downlink, name, "uncal") for name in (FIRST, SECOND)]
    inputs, summary = fit(*paths, of(ramps, FIRST, "persistence"))
    assert inputs == WITH
    assert "made anew" in summary.endings[-1].reason


def test_where_persistence_is_off_a_named_history_is_not_needed(fit, ramps):
    off = {"persistence": {"skip": True}}
    inputs, summary = fit(of(ramps, SECOND, "ramp"), of(ramps, FIRST, "persistence"), command_line=off)
    assert inputs == ALONE
    assert "persistence off" in summary.endings[-1].reason
    assert not summary.failed


def test_the_rates_of_one_run_are_up_to_date_for_the_other(process, ramps, downlink, tmp_path):
    paths = [of(downlink, name, "uncal") for name in (FIRST, SECOND)]
    process(*paths, out=tmp_path, until="rate", command_line=ON)
    for path in ramps.glob("*_persistence.fits"):
        contents = {read_history(one).meta.provenance.content for one in (path, tmp_path / path.name)}
        assert len(contents) == 1
    again = process(ramps, out=tmp_path, until="rate", command_line=ON)
    assert [note.outcome for note in again.notes] == ["up to date", "up to date"], again.notes


def test_a_history_is_known_by_what_is_in_it(fit, ramps, tmp_path):
    """Not by what the file says that is in it."""
    folder = tmp_path / "altered"
    shutil.copytree(ramps, folder)
    (before,) = fit(of(folder, SECOND, "ramp"), of(folder, FIRST, "persistence"))[1].notes
    history = read_history(of(folder, FIRST, "persistence"))
    history.pixels["fluence"] += 1
    write_history(history, of(folder, FIRST, "persistence"))
    summary = fit(of(folder, SECOND, "ramp"), of(folder, FIRST, "persistence"))[1]
    assert before.outcome == "complete"
    assert [note.outcome for note in summary.notes] == ["refused"]


def test_a_history_that_cannot_be_read_is_named(fit, ramps, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(ramps, folder)
    of(folder, FIRST, "persistence").write_bytes(b"no history")
    inputs, summary = fit(folder)
    assert inputs == ALONE
    (failed,) = [ending for ending in summary.endings if ending.failed]
    assert f"{FIRST}_persistence.fits" in failed.name
    assert "cannot be read as a persistence history" in failed.reason


def test_the_same_run_again_is_up_to_date(process, downlink, tmp_path):
    paths = [of(downlink, name, "uncal") for name in (FIRST, SECOND)]
    process(*paths, out=tmp_path, until="rate", command_line=ON)
    again = process(*paths, out=tmp_path, until="rate", command_line=ON)
    assert {note.outcome for note in again.notes} == {"up to date"}, again.notes
