"""References against a CRDS cache of a few files, read by the unmodified client."""

from __future__ import annotations

import hashlib
import json
import os
import pprint
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits

from schemas.errors import Retriable, Unprocessable, UsageError
from schemas.references import ImageReference, Reference, Window
from streams.references import ReferenceLibrary

KEYWORDS = {
    "TELESCOP": "JWST",
    "INSTRUME": "NIRCAM",
    "DETECTOR": "NRCA1",
    "EXP_TYPE": "NRC_IMAGE",
    "FILTER": "F200W",
    "PUPIL": "CLEAR",
    "SUBARRAY": "FULL",
    "READPATT": "RAPID",
    "DATE-OBS": "2023-01-01",
    "TIME-OBS": "01:02:03.000",
}
WINDOW = Window(2, 1, 4, 3)
DETECTOR = "META.INSTRUMENT.DETECTOR"


def write_mapping(root: Path, name: str, header: dict, selector: str) -> None:
    header = {"name": name, "observatory": "JWST", "derived_from": "a test", **header}
    rows = "".join(f"    {key!r} : {value!r},\n" for key, value in sorted(header.items()))
    body = "}\n\nselector = " + selector + "\n"
    digest = hashlib.sha1(("header = {\n" + rows + body).encode()).hexdigest()
    path = root / "mappings/jwst" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("header = {\n" + rows + f"    'sha1sum' : {digest!r},\n" + body)


def write_rmap(root: Path, reftype: str, serial: int, files: dict[str, str]) -> str:
    name = f"jwst_nircam_{reftype}_{serial:04d}.rmap"
    rules = "".join(f"    ({d!r},) : UseAfter({{'2020-01-01 00:00:00': {f!r}}}),\n" for d, f in files.items())
    header = {
        "filekind": reftype.upper(),
        "instrument": "NIRCAM",
        "mapping": "REFERENCE",
        "parkey": ((DETECTOR,), ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")),
    }
    write_mapping(root, name, header, "Match({\n" + rules + "})")
    return name


def write_context(root: Path, serial: int, rmaps: dict[str, str]) -> None:
    imap = f"jwst_nircam_{serial:04d}.imap"
    header = {"instrument": "NIRCAM", "mapping": "INSTRUMENT", "parkey": ("REFTYPE",)}
    write_mapping(root, imap, header, pprint.pformat(rmaps))
    header = {"mapping": "PIPELINE", "parkey": ("META.INSTRUMENT.NAME",)}
    write_mapping(root, f"jwst_{serial:04d}.pmap", header, repr({"NIRCAM": imap}))
    config = {
        "observatory": "jwst",
        "operational_context": f"jwst_{serial:04d}.pmap",
        "bad_files_list": [],
        "last_synced": "never",
        "force_remote_mode": False,
    }
    (root / "config/jwst").mkdir(parents=True, exist_ok=True)
    (root / "config/jwst/server_config.new").write_text(repr(config))
    (root / "config/jwst/server_config.new").replace(root / "config/jwst/server_config")
    (root / "config/jwst/ref_cache_subdir_mode").write_text("instrument")


def write_image(path: Path, level: float, shape: tuple[int, int] = (8, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape) + level
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(ramp, name="SCI")]).writeto(path, overwrite=True)
    return path


def write_parameters(path: Path, tree: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    asdf.AsdfFile(tree).write_to(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "crds"
    folder = root / "references/jwst/nircam"
    write_image(folder / "jwst_nircam_gain_0001.fits", 100.0)
    write_image(folder / "jwst_nircam_gain_0002.fits", 200.0)
    write_image(folder / "jwst_nircam_readnoise_0001.fits", 5.0)
    write_parameters(
        folder / "jwst_nircam_pars-jumpstep_0001.asdf", {"parameters": {"rejection_threshold": 4.5}}
    )
    steps = [
        {"name": "jump", "parameters": {"skip": True}},
        {"name": "not_ours", "parameters": {"skip": True}},
    ]
    pipeline = folder / "jwst_nircam_pars-detector1pipeline_0001.asdf"
    write_parameters(pipeline, {"parameters": {"save_calibrated_ramp": True}, "steps": steps})
    files = {
        "gain": {"NRCA1": "jwst_nircam_gain_0001.fits", "NRCA2": "jwst_nircam_gain_0002.fits"},
        "readnoise": {"NRCA1": "jwst_nircam_readnoise_0001.fits"},
        "dark": {"NRCA1": "jwst_nircam_dark_0001.fits"},
        "pars-jumpstep": {"NRCA1": "jwst_nircam_pars-jumpstep_0001.asdf"},
        "pars-detector1pipeline": {"NRCA1": pipeline.name},
    }
    rmaps = {reftype: write_rmap(root, reftype, 1, chosen) for reftype, chosen in files.items()}
    write_context(root, 1, {**rmaps, "ipc": "N/A"})
    for name in ("CRDS_CONTEXT", "CRDS_SERVER_URL", "CRDS_PATH_SINGLE", "CRDS_READONLY_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRDS_PATH", str(root))
    return root


def test_picks_by_detector(cache: Path) -> None:
    library = ReferenceLibrary()
    folder = cache / "references/jwst/nircam"
    picked = library.pick(KEYWORDS, ["gain", "readnoise", "ipc", "flat", "unheard_of"])
    assert picked == {
        "gain": folder / "jwst_nircam_gain_0001.fits",
        "readnoise": folder / "jwst_nircam_readnoise_0001.fits",
        "ipc": None,
    }
    other = library.pick({**KEYWORDS, "DETECTOR": "NRCA2"}, ["gain", "readnoise"])
    assert other == {"gain": folder / "jwst_nircam_gain_0002.fits"}


def test_case_and_padding_of_keywords_do_not_matter(cache: Path) -> None:
    keywords = {**KEYWORDS, "DETECTOR": " nrca1 ", "INSTRUME": "nircam"}
    assert ReferenceLibrary().pick(keywords, ["gain"])["gain"] is not None


@pytest.mark.parametrize("changed", [{"DETECTOR": "NRCX9"}, {"INSTRUME": "MIRI"}, {"DATE-OBS": "1999-01-01"}])
def test_what_crds_does_not_know_is_not_there(cache: Path, changed: dict) -> None:
    keywords = {**KEYWORDS, **changed}
    references = ReferenceLibrary().references(keywords, ["gain"], WINDOW)
    assert "gain" not in references
    (keyword, value), *_ = changed.items()
    with pytest.raises(Unprocessable, match=rf"'gain'.*{keyword}={value}.*jwst_0001\.pmap.*override_gain"):
        references["gain"]


@pytest.mark.parametrize("keyword", ["INSTRUME", "DETECTOR", "DATE-OBS"])
def test_a_lacking_keyword_is_named(cache: Path, keyword: str) -> None:
    keywords = {key: value for key, value in KEYWORDS.items() if key != keyword}
    references = ReferenceLibrary().references(keywords, ["gain"], WINDOW)
    with pytest.raises(Unprocessable, match=f"without {keyword}"):
        references["gain"]


def test_not_applicable_is_missing_for_a_step_that_needs_it(cache: Path) -> None:
    references = ReferenceLibrary().references(KEYWORDS, ["gain", "ipc"], WINDOW)
    assert list(references) == ["gain"]
    with pytest.raises(Unprocessable, match="'ipc'"):
        references["ipc"]


def test_references_are_cut_to_the_window(cache: Path) -> None:
    gain = ReferenceLibrary().references(KEYWORDS, ["gain"], WINDOW).image("gain")
    full = fits.getdata(cache / "references/jwst/nircam/jwst_nircam_gain_0001.fits")
    np.testing.assert_array_equal(gain.data, full[1:4, 2:6])
    assert gain.name == "jwst_nircam_gain_0001.fits"


def test_decoded_once_and_per_window(cache: Path) -> None:
    library = ReferenceLibrary()
    first = library.references(KEYWORDS, ["gain"], WINDOW)["gain"]
    assert library.references(KEYWORDS, ["gain"], WINDOW)["gain"] is first
    other = library.references(KEYWORDS, ["gain"], Window(0, 0, 10, 8))["gain"]
    assert isinstance(other, ImageReference)
    assert other.data.shape == (8, 10)


def test_the_bound_drops_the_least_recently_used(cache: Path) -> None:
    # an image of 3 x 4 pixels holds 48 bytes of data; flags that are all 0 take none
    library = ReferenceLibrary(cache_bytes=16 * 48)
    windows = [Window(x, y, 4, 3) for x in range(5) for y in range(4)][:17]

    def of(window: Window) -> Reference:
        return library.references(KEYWORDS, ["gain"], window)["gain"]

    decoded = [of(window) for window in windows]
    assert of(windows[16]) is decoded[16]
    assert of(windows[1]) is decoded[1]
    assert of(windows[0]) is not decoded[0]
    assert of(windows[1]) is decoded[1]
    assert of(windows[2]) is not decoded[2]


def test_a_reference_above_its_share_of_the_bound_is_served_and_not_kept(cache: Path) -> None:
    library = ReferenceLibrary(cache_bytes=16 * 48 - 1)
    first = library.references(KEYWORDS, ["gain"], WINDOW)["gain"]
    again = library.references(KEYWORDS, ["gain"], WINDOW)["gain"]
    assert first is not again
    np.testing.assert_array_equal(first.data, again.data)


def test_nothing_is_decoded_before_it_is_asked_for(cache: Path) -> None:
    path = cache / "references/jwst/nircam/jwst_nircam_gain_0001.fits"
    path.write_bytes(b"not FITS")
    library = ReferenceLibrary()
    digest = library.digests(KEYWORDS, ["gain"])["gain"]["digest"]
    assert digest == hashlib.sha256(b"not FITS").hexdigest()
    references = library.references(KEYWORDS, ["gain", "readnoise"], WINDOW)
    assert references["readnoise"].name == "jwst_nircam_readnoise_0001.fits"
    with pytest.raises(Unprocessable, match=r"jwst_nircam_gain_0001\.fits"):
        references["gain"]


def test_digests_follow_the_bytes(cache: Path) -> None:
    library = ReferenceLibrary()
    path = cache / "references/jwst/nircam/jwst_nircam_gain_0001.fits"
    before = library.digests(KEYWORDS, ["gain", "ipc"])
    assert before == {"gain": {"name": path.name, "digest": file_digest(path), "path": str(path)}}
    old = library.references(KEYWORDS, ["gain"], WINDOW)["gain"]
    write_image(path, 300.0)
    assert library.digests(KEYWORDS, ["gain"])["gain"]["digest"] == file_digest(path) != old.digest
    new = library.references(KEYWORDS, ["gain"], WINDOW)["gain"]
    np.testing.assert_array_equal(new.data, old.data + 200)


def test_digests_are_remembered_beside_the_cache(cache: Path) -> None:
    path = cache / "references/jwst/nircam/jwst_nircam_gain_0001.fits"
    os.utime(path, (1.6e9, 1.6e9))
    ReferenceLibrary().digests(KEYWORDS, ["gain"])
    file = cache / "calstream-digests.json"
    tree = json.loads(file.read_text())
    assert tree[str(path)][1] == file_digest(path)
    tree[str(path)][1] = "0" * 64
    file.write_text(json.dumps(tree))
    assert ReferenceLibrary().digests(KEYWORDS, ["gain"])["gain"]["digest"] == "0" * 64
    os.utime(path, (1.7e9, 1.7e9))
    assert ReferenceLibrary().digests(KEYWORDS, ["gain"])["gain"]["digest"] == file_digest(path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 3}'])
def test_a_damaged_memory_of_digests_does_no_harm(cache: Path, content: str) -> None:
    (cache / "calstream-digests.json").write_text(content)
    path = cache / "references/jwst/nircam/jwst_nircam_gain_0001.fits"
    os.utime(path, (1.6e9, 1.6e9))
    assert ReferenceLibrary().digests(KEYWORDS, ["gain"])["gain"]["digest"] == file_digest(path)


def test_a_read_only_cache_stays_as_it_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRDS_READONLY_CACHE", "1")
    path = cache / "references/jwst/nircam/jwst_nircam_gain_0001.fits"
    os.utime(path, (1.6e9, 1.6e9))
    before = sorted(cache.rglob("*"))
    ReferenceLibrary().digests(KEYWORDS, ["gain"])
    assert sorted(cache.rglob("*")) == before


def test_override_wins_and_needs_no_crds(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = write_image(tmp_path / "my_gain.fits", 1000.0)
    library = ReferenceLibrary()
    both = library.digests(KEYWORDS, ["gain", "readnoise"], {"gain": mine, "flat": mine})
    assert [entry["name"] for entry in both.values()] == ["my_gain.fits", "jwst_nircam_readnoise_0001.fits"]
    monkeypatch.delenv("CRDS_PATH")
    references = library.references(KEYWORDS, ["gain"], WINDOW, {"gain": str(mine)})
    assert references.image("gain").data[0, 0] == 1012


def test_override_that_is_not_there(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"override_gain.*nothing\.fits"):
        ReferenceLibrary().digests(KEYWORDS, ["gain"], {"gain": tmp_path / "nothing.fits"})


def test_parameters_of_steps(cache: Path) -> None:
    library = ReferenceLibrary()
    assert library.parameters(KEYWORDS, ["jump", "ramp_fit"]) == {"jump": {"rejection_threshold": 4.5}}
    assert library.parameters({**KEYWORDS, "DETECTOR": "NRCA2"}, ["jump"]) == {}
    whole = library.parameters(KEYWORDS, ["jump", "ramp_fit"], ["detector1", "image2"])
    assert whole == {"jump": {"rejection_threshold": 4.5, "skip": True}}


def test_a_damaged_parameter_reference(cache: Path) -> None:
    path = cache / "references/jwst/nircam/jwst_nircam_pars-jumpstep_0001.asdf"
    path.write_text("not ASDF")
    with pytest.raises(Unprocessable, match=r"pars-jumpstep_0001\.asdf"):
        ReferenceLibrary().parameters(KEYWORDS, ["jump"])


def test_context_by_argument_environment_and_default(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rmap = write_rmap(cache, "gain", 2, {"NRCA1": "jwst_nircam_gain_0002.fits"})
    write_context(cache, 2, {"gain": rmap})
    library = ReferenceLibrary()
    assert library.context() == "jwst_0002.pmap"
    older = library.with_context("jwst_0001.pmap")
    assert older.context() == "jwst_0001.pmap"
    assert library.pick(KEYWORDS, ["gain"])["gain"].name == "jwst_nircam_gain_0002.fits"
    assert older.pick(KEYWORDS, ["gain"])["gain"].name == "jwst_nircam_gain_0001.fits"
    assert library.with_context(None) is library
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0001.pmap")
    assert library.context() == "jwst_0001.pmap"
    assert library.pick(KEYWORDS, ["gain"])["gain"].name == "jwst_nircam_gain_0001.fits"
    assert library.with_context("jwst_0002.pmap").context() == "jwst_0002.pmap"


def test_a_new_operational_context_is_noticed(cache: Path) -> None:
    library = ReferenceLibrary()
    assert library.context() == "jwst_0001.pmap"
    write_context(cache, 2, {"gain": write_rmap(cache, "gain", 2, {"NRCA1": "jwst_nircam_gain_0002.fits"})})
    assert library.context() == "jwst_0002.pmap"
    assert library.pick(KEYWORDS, ["gain"])["gain"].name == "jwst_nircam_gain_0002.fits"


def test_another_cache_in_the_same_process(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = ReferenceLibrary()
    library.pick(KEYWORDS, ["gain"])
    other = tmp_path / "other"
    write_image(other / "references/jwst/nircam/jwst_nircam_gain_0001.fits", 7.0)
    rmap = write_rmap(other, "gain", 1, {"NRCA1": "jwst_nircam_gain_0001.fits"})
    write_context(other, 1, {"gain": rmap})
    monkeypatch.setenv("CRDS_PATH", str(other))
    assert library.pick(KEYWORDS, ["gain"])["gain"].is_relative_to(other)
    assert library.references(KEYWORDS, ["gain"], WINDOW).image("gain").data[0, 0] == 7 + 12


def test_without_crds_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRDS_PATH", raising=False)
    monkeypatch.delenv("CRDS_PATH_SINGLE", raising=False)
    with pytest.raises(Unprocessable, match="export CRDS_PATH="):
        ReferenceLibrary().pick(KEYWORDS, ["gain"])


def test_an_empty_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "nothing"))
    with pytest.raises(Unprocessable, match=r"server_config.*check CRDS_PATH"):
        ReferenceLibrary().pick(KEYWORDS, ["gain"])
    assert capfd.readouterr() == ("", "")


def test_a_context_that_is_not_there(cache: Path, capfd) -> None:
    with pytest.raises(Unprocessable, match=r"jwst_9999\.pmap"):
        ReferenceLibrary("jwst_9999.pmap").pick(KEYWORDS, ["gain"])
    assert capfd.readouterr() == ("", "")


def test_a_listed_file_that_is_absent(cache: Path, capfd) -> None:
    with pytest.raises(Unprocessable, match=r"jwst_nircam_dark_0001\.fits.*CRDS_SERVER_URL"):
        ReferenceLibrary().pick(KEYWORDS, ["dark"])
    assert capfd.readouterr() == ("", "")


def test_a_server_that_is_down_may_come_back(cache: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setenv("CRDS_SERVER_URL", "https://localhost:9")
    library = ReferenceLibrary()
    assert library.pick(KEYWORDS, ["gain"])["gain"] is not None
    with pytest.raises(Retriable, match=r"server https://localhost:9"):
        library.pick(KEYWORDS, ["dark"])
    assert capfd.readouterr() == ("", "")


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
