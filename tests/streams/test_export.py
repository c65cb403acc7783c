"""The current products in a folder."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.events import Artifact, ProductEvent, RecipeReference, next_generation
from schemas.manifests import Manifest, ManifestEntry
from schemas.meta import Provenance
from schemas.writing import write
from streams.bus.memory import MemoryBus
from streams.envelope import pack
from streams.export import ExportRequest, export
from streams.manifest_files import manifest_artifact, manifest_path, run_folder
from streams.site import Address, Site
from streams.store import Store
from streams.topics import TOPICS
from tests.schemas.sample_products import make

NAMES = ("jw01234001001_02101_00001_nrca1", "jw01234001001_02101_00001_nrcb1")


@pytest.fixture
def site(tmp_path) -> Site:
    bus = MemoryBus()
    bus.create_topics(TOPICS)
    store = tmp_path / "store"
    return Site(bus=bus, store=Store(store), address=Address(bus="memory:", store=str(store)))


@pytest.fixture
def made(site):
    """Let a run be finished: a rate and its rateints, of the content that `seed` gives."""

    def call(name: str = NAMES[0], *, seed: int = 0, when: float = 1e9, line: str = "main") -> ProductEvent:
        run_key = hashlib.sha256(f"{name}{seed}".encode()).hexdigest()
        folder, entries = f"{run_folder(run_key)}/a", []
        with site.store.workspace(folder) as place:
            for suffix, layout in (("rate", "image"), ("rateints", "cube")):
                product = make(layout, seed=seed)
                provenance = Provenance(run={"run_key": run_key})
                path = place / f"{name}_{suffix}.fits"
                content = write(replace(product, meta=replace(product.meta, provenance=provenance)), path)
                artifact = site.store.artifact(f"{folder}/{path.name}", path, content)
                entries.append(ManifestEntry(name=name, suffix=suffix, artifact=artifact))
        manifest = Manifest(run_key=run_key, stage="ramp_fit", attempt="a", products=tuple(entries))
        site.store.put_if_absent(manifest_path(run_key), manifest.content)
        event = ProductEvent(
            topic="rate",
            line=line,
            name=name,
            suffix="rate",
            generation=next_generation(when),
            recipe=RecipeReference(name="optimal", digest="0" * 64),
            keywords={"DETECTOR": name[-5:].upper()},
            product=entries[0].artifact,
            manifest=manifest_artifact(manifest, site.store),
            run_key=run_key,
        )
        site.bus.publish([pack(event)])
        return event

    return call


@pytest.fixture
def exported(site, tmp_path):
    """Export into a folder; returns the outcome by path."""

    def call(**request) -> dict[str, str]:
        out = request.pop("out", tmp_path / "out")
        done = list(export(ExportRequest(out=out, **request), site))
        assert all(bool(item.sentence) == (item.outcome == "refused") for item in done)
        return {item.path.relative_to(out).as_posix(): item.outcome for item in done}

    return call


def test_all_products_of_the_current_runs_are_exported(made, exported, tmp_path):
    made(when=1e9)
    current = made(seed=1, when=2e9)
    made(NAMES[1])
    wanted = {f"{name}_{suffix}.fits" for name in NAMES for suffix in ("rate", "rateints")}
    assert exported() == dict.fromkeys(wanted, "exported")
    assert {path.name for path in (tmp_path / "out").iterdir()} == wanted
    content = (tmp_path / "out" / f"{NAMES[0]}_rate.fits").read_bytes()
    assert hashlib.sha256(content).hexdigest() == current.product.sha256


def test_what_is_up_to_date_is_not_copied_again(made, exported, tmp_path):
    made()
    exported()
    path = tmp_path / "out" / f"{NAMES[0]}_rate.fits"
    inode = path.stat().st_ino
    assert set(exported().values()) == {"up to date"}
    assert path.stat().st_ino == inode


def test_a_damaged_copy_is_replaced_and_a_file_of_another_run_only_when_asked(made, exported, tmp_path):
    made(when=1e9)
    exported()
    path = tmp_path / "out" / f"{NAMES[0]}_rate.fits"
    content = bytearray(path.read_bytes())
    content[-2880 * 3] ^= 1
    path.write_bytes(content)
    assert exported()[path.name] == "exported"
    newer = made(seed=1, when=2e9)
    assert set(exported().values()) == {"refused"}
    assert hashlib.sha256(path.read_bytes()).hexdigest() != newer.product.sha256
    assert set(exported(overwrite=True).values()) == {"exported"}
    assert hashlib.sha256(path.read_bytes()).hexdigest() == newer.product.sha256


def test_the_products_are_chosen_by_an_expression_a_level_and_a_line(made, exported, site):
    made()
    made(NAMES[1])
    assert set(exported(expression="detector == 'NRCB1'")) == {
        f"{NAMES[1]}_rate.fits",
        f"{NAMES[1]}_rateints.fits",
    }
    assert exported(level="cal") == {}
    assert len(exported(level="rate", line="main")) == 4
    with pytest.raises(UsageError, match="no line 'two'"):
        exported(line="two")
    with pytest.raises(UsageError, match="no level 'rat'"):
        exported(level="rat")
    with pytest.raises(UsageError, match="detektor"):
        exported(expression="detektor == 'NRCB1'")


def test_other_lines_have_folders_of_their_own_unless_one_is_asked_for(made, exported, tmp_path):
    made()
    made(seed=1, line="two")
    assert set(exported()) == {
        f"{folder}{NAMES[0]}_{suffix}.fits" for folder in ("", "two/") for suffix in ("rate", "rateints")
    }
    alone = tmp_path / "alone"
    assert set(exported(line="two", out=alone)) == {f"{NAMES[0]}_rate.fits", f"{NAMES[0]}_rateints.fits"}


def test_links_share_the_stores_bytes_and_copies_do_not(made, exported, tmp_path, site):
    event = made()
    exported()
    exported(linked=True, out=tmp_path / "linked")
    stored = site.store.fetch(event.product)
    with stored as source:
        name = source.name
        assert (tmp_path / "linked" / name).samefile(source)
        assert not (tmp_path / "out" / name).samefile(source)


def test_a_file_from_outside_is_exported_when_its_level_is_asked_for(site, exported, tmp_path):
    path = tmp_path / f"{NAMES[0]}_uncal.fits"
    path.write_bytes(b"raw")
    artifact = Artifact(uri=path.as_uri(), size=3, sha256=hashlib.sha256(b"raw").hexdigest())
    event = ProductEvent(
        topic="raw",
        name=NAMES[0],
        suffix="uncal",
        generation=next_generation(1e9),
        recipe=RecipeReference(name="optimal", digest="0" * 64),
        product=artifact,
    )
    site.bus.publish([pack(event)])
    assert exported() == {}
    assert exported(level="raw") == {path.name: "exported"}
    (tmp_path / "out" / path.name).write_bytes(b"own")
    assert exported(level="raw") == {path.name: "refused"}
    assert (tmp_path / "out" / path.name).read_bytes() == b"own"


def test_a_product_that_is_gone_does_not_keep_the_others(made, exported, site):
    event = made()
    made(NAMES[1])
    Path(event.product.uri.removeprefix("file://")).unlink()
    assert exported() == {
        f"{NAMES[0]}_rate.fits": "refused",
        f"{NAMES[0]}_rateints.fits": "exported",
        f"{NAMES[1]}_rate.fits": "exported",
        f"{NAMES[1]}_rateints.fits": "exported",
    }


def test_nothing_half_written_is_left(made, exported, tmp_path, monkeypatch):
    made()

    def cut_off(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("streams.export.shutil.copyfile", cut_off)
    assert set(exported().values()) == {"refused"}
    assert list((tmp_path / "out").iterdir()) == []
