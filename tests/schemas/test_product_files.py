"""Products go through their files unchanged, in any number of blocks; digests say what they should."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import layout as layouts
from schemas.content import content_digest, file_digest
from schemas.keywords import SCIENCE_KEYWORDS
from schemas.meta import Provenance, StepRecord
from schemas.products import Product, Resampled, concatenate
from schemas.reading import ProductFile, read, read_ramp
from schemas.stored_content import digest_of_path
from schemas.wcs_extension import wcs_to_bytes
from schemas.writing import ProductWriter, write
from tests.schemas import sample_products as sample

every_layout = pytest.mark.parametrize("layout", sample.LAYOUTS)
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_same(one: Product, other: Product) -> None:
    assert type(one) is type(other)
    arrays, others = one.arrays(), other.arrays()
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)
        assert array.dtype == others[name].dtype
    assert one.meta.tables.keys() == other.meta.tables.keys()
    for name, rows in one.meta.tables.items():
        for column in rows.dtype.names:
            expected, got = rows[column], other.meta.tables[name][column]
            np.testing.assert_array_equal(expected.astype(str), got.astype(str))


def by_blocks(product: Any, path: Path, size: int) -> str:
    nint = product.data.shape[0]
    names = [
        plane.attribute
        for plane in layouts.BY_NAME[layouts.layout_name(product)].planes
        if plane.per_integration
    ]
    arrays = product.arrays()

    def block(first: int) -> Any:
        cut = {name: arrays[name][first : first + size] for name in names if name in arrays}
        return dataclasses.replace(product, **cut, first_integration=first)

    with ProductWriter(path, block(0), nint) as writer:
        for first in range(0, nint, size):
            writer.append(block(first))
        return writer.finish(product.meta.provenance)


@every_layout
def test_round_trip(layout: str, tmp_path: Path) -> None:
    product = sample.make(layout)
    path = tmp_path / "jw01234_01.fits"
    if layout == "segmentation":
        path = tmp_path / "jw01234_segm.fits"
    content = write(product, path)
    back = read(path)
    assert_same(product, back)
    assert content == content_digest(product) == content_digest(back) == digest_of_path(path)
    assert back.meta.provenance == replace(product.meta.provenance, content=content)
    assert back.meta.primary["FILENAME"] == path.name
    assert back.meta.primary["DATAMODL"] == layouts.BY_NAME[layout].datamodl
    for keyword in SCIENCE_KEYWORDS:
        assert back.meta.get(keyword) == product.meta.get(keyword)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@every_layout
def test_file_satisfies_the_standard(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "made.fits"
    write(sample.make(layout, wcs=None if layout == "segmentation" else sample.sky_wcs()), path)
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as opened:
        opened.verify("exception")
        for hdu in opened:
            assert hdu.data is not None or hdu.name == "PRIMARY"


@every_layout
def test_second_generation_of_the_file_is_the_same(layout: str, tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "x_i2d.fits", tmp_path / "b" / "x_i2d.fits"
    if layout != "resampled":
        one, two = one.with_name("x.fits"), two.with_name("x.fits")
    one.parent.mkdir()
    two.parent.mkdir()
    wcs = None if layout == "segmentation" else sample.sky_wcs()
    first = write(sample.make(layout, wcs=wcs), one)
    again = write(read(one), two)
    assert first == again == content_digest(read(two)) == digest_of_path(two)
    assert read(two).meta.primary == read(one).meta.primary


@quick
@given(
    layout=st.sampled_from(["ramp", "cube"]),
    nint=st.integers(1, 5),
    size=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_any_blocks_give_the_same_bytes(
    layout: str, nint: int, size: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    (folder / "whole").mkdir()
    product = sample.make(layout, nint, seed)
    path, whole = folder / "x.fits", folder / "whole" / "x.fits"
    assert by_blocks(product, path, size) == write(product, whole)
    assert path.read_bytes() == whole.read_bytes()
    with ProductFile(path) as file:
        blocks = list(file.blocks(size))
    assert [block.first_integration for block in blocks] == list(range(0, nint, size))
    assert_same(product, concatenate(blocks))


def test_flags_of_pixels_are_joined_over_blocks(tmp_path: Path) -> None:
    ramp = sample.make("ramp", 2)
    left, right = np.zeros((sample.NY, sample.NX), "u4"), np.zeros((sample.NY, sample.NX), "u4")
    left[0, 0], right[0, 0], right[1, 1] = 1, 4, 2
    with ProductWriter(tmp_path / "x_ramp.fits", ramp, 2) as writer:
        for index, flags in enumerate((left, right)):
            part = {name: getattr(ramp, name)[index : index + 1] for name in ("data", "groupdq", "zeroframe")}
            writer.append(dataclasses.replace(ramp, pixeldq=flags, **part))
        writer.finish(ramp.meta.provenance)
    pixeldq = read_ramp(tmp_path / "x_ramp.fits").pixeldq
    assert (pixeldq[0, 0], pixeldq[1, 1]) == (5, 2)


@every_layout
def test_digest_ignores_provenance(layout: str) -> None:
    product = sample.make(layout)
    told = product.meta.with_primary(
        DATE="2030-01-01T00:00:00", FILENAME="else.fits", CAL_VER="9.9", CRDS_CTX="jwst_9999.pmap",
        R_FLAT="crds://x.fits", S_FLAT="COMPLETE", HISTORY="made again",
    )  # fmt: skip
    told = dataclasses.replace(told, provenance=Provenance(run={"stage": "x"}), quality={"rms": 1.0})
    told = told.with_step(StepRecord(step="flat_field", outcome="skipped"))
    assert content_digest(product.with_meta(told)) == content_digest(product)


@every_layout
@quick
@given(data=st.data())
def test_digest_sees_one_bit_of_any_array(layout: str, data: st.DataObject) -> None:
    product = sample.make(layout)
    name = data.draw(st.sampled_from(sorted(product.arrays())))
    changed = np.array(getattr(product, name))
    raw = changed.reshape(-1).view(np.uint8)
    raw[data.draw(st.integers(0, raw.size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert content_digest(dataclasses.replace(product, **{name: changed})) != content_digest(product)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("FILTER", "F150W"), ("TGROUP", 10.736770000000002), ("NGROUPS", 7), ("PHOTMJSR", 1.0)],
)
def test_digest_sees_science_keywords(keyword: str, value: Any) -> None:
    product = sample.make("image")
    changed = product.with_meta(product.meta.with_primary(**{keyword: value}))
    assert content_digest(changed) != content_digest(product)


def test_digest_sees_shape_table_and_wcs() -> None:
    product = sample.make("image")
    digests = {content_digest(product)}
    for wcs in (sample.sky_wcs(), sample.sky_wcs(ra=80.487550000000001), sample.sky_wcs(ra=80.4875500001)):
        digests.add(content_digest(product.with_meta(dataclasses.replace(product.meta, wcs=wcs))))
    assert len(digests) == 3  # the second and third place differ by less than a float64 can say
    cube = sample.make("cube")
    times = cube.meta.tables["INT_TIMES"].copy()
    times["int_start_MJD_UTC"][0] += 1e-9
    other = cube.with_meta(dataclasses.replace(cube.meta, tables={"INT_TIMES": times}))
    assert content_digest(other) != content_digest(cube)
    flat = dataclasses.replace(
        product, **{n: a.reshape(-1, 2, 9) for n, a in product.arrays().items() if n != "area"}
    )
    assert content_digest(flat) != content_digest(product)


@pytest.mark.parametrize(
    "value", [2.3130764225897712e-14, -1.2345678901234567e-05, 1e22, 0.1, -7, "F200W  ", True]
)
def test_digest_survives_what_a_card_does_to_a_value(value: Any, tmp_path: Path) -> None:
    product = sample.make("image")
    product = product.with_meta(product.meta.with_science(PIXAR_SR=value))
    content = write(product, tmp_path / "x_cal.fits")
    assert content == content_digest(product) == content_digest(read(tmp_path / "x_cal.fits"))


def test_digest_does_not_depend_on_byte_order_or_memory_layout() -> None:
    product = sample.make("cube")
    wanted = content_digest(product)
    swapped = product.data.astype(">f4")
    assert content_digest(dataclasses.replace(product, data=swapped)) == wanted
    assert content_digest(dataclasses.replace(product, data=np.asfortranarray(product.data))) == wanted
    times = product.meta.tables["INT_TIMES"]
    big = times.astype(times.dtype.newbyteorder(">"))
    assert (
        content_digest(product.with_meta(dataclasses.replace(product.meta, tables={"INT_TIMES": big})))
        == wanted
    )


def test_table_of_every_type(tmp_path: Path) -> None:
    dtype = [("b", "?"), ("u1", "u1"), ("i2", "i2"), ("i4", "i4"), ("i8", "i8"), ("f4", "f4"), ("f8", "f8"),
             ("s", "S5"), ("u", "U7"), ("many", "f4", (2, 3)), ("z", "S1")]  # fmt: skip
    rows = np.zeros(3, dtype)
    rows["b"], rows["u1"], rows["i2"], rows["f8"] = (
        [True, False, True],
        255,
        [-1, 0, 1],
        [np.nan, np.inf, 1e-300],
    )
    rows["s"], rows["u"], rows["i8"] = [b"a", b"bc ", b""], ["x", "y  ", "long one"], 2**62
    rows["many"] = np.arange(18).reshape(3, 2, 3)
    cube = sample.make("cube", 2)
    cube = cube.with_meta(dataclasses.replace(cube.meta, tables={"GROUP": rows}))
    content = write(cube, tmp_path / "x.fits")
    back = read(tmp_path / "x.fits")
    found = back.meta.tables["GROUP"]
    assert content == content_digest(cube) == content_digest(back)
    for name in ("b", "u1", "i2", "i8", "f8", "many"):
        np.testing.assert_array_equal(found[name], rows[name])
        assert found[name].dtype == rows[name].dtype
    assert [text.rstrip() for text in found["u"]] == ["x", "y", "long on"]


def test_header_keeps_comments_history_and_long_text(tmp_path: Path) -> None:
    product = sample.make("image")
    meta = product.meta.with_primary(TITLE=("It's long " * 12, "Proposal title"), HISTORY="first")
    write(product.with_meta(meta), tmp_path / "x_rate.fits")
    header = read(tmp_path / "x_rate.fits").meta.primary.header()
    assert header["TITLE"] == ("It's long " * 12).rstrip()
    assert header.comments["FILENAME"] == "Name of the file"
    assert list(header["HISTORY"]) == ["first"]


def test_structure_of_an_earlier_file_is_not_inherited(tmp_path: Path) -> None:
    product = sample.make("image")
    stale = product.meta.with_primary(NEXTEND=1, CHECKSUM="abc", DATASUM="12").with_science(
        BZERO=32768, BSCALE=2.0, BLANK=5, CHECKSUM="abc"
    )
    write(product.with_meta(stale), tmp_path / "x_rate.fits")
    back = read(tmp_path / "x_rate.fits")
    assert_same(product, back)
    assert not {"CHECKSUM", "DATASUM", "NEXTEND"} & set(back.meta.primary)


def test_same_product_gives_the_same_file(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(sample.make("image", wcs=sample.sky_wcs()), tmp_path / folder / "x_cal.fits")
    assert file_digest(tmp_path / "a" / "x_cal.fits") == file_digest(tmp_path / "b" / "x_cal.fits")


def test_same_wcs_gives_the_same_bytes_in_every_process() -> None:
    program = (
        "import hashlib, os; ballast = [bytearray(os.urandom(1)[0] * 999) for _ in range(99)]\n"
        "from tests.schemas.sample_products import sky_wcs\n"
        "from schemas.wcs_extension import wcs_to_bytes\n"
        "print(hashlib.sha256(wcs_to_bytes(sky_wcs())).hexdigest())"
    )
    root = Path(__file__).parents[2]
    said = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=root,
            capture_output=True, check=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert said == {hashlib.sha256(wcs_to_bytes(sample.sky_wcs())).hexdigest() + "\n"}


def test_products_go_to_another_process_and_come_back() -> None:
    product = sample.make("cube", wcs=sample.sky_wcs())
    assert content_digest(pickle.loads(pickle.dumps(product))) == content_digest(product)


def test_context_of_two_axes_is_read_as_one_plane(tmp_path: Path) -> None:
    write(sample.make("resampled"), tmp_path / "x_i2d.fits")
    with fits.open(tmp_path / "x_i2d.fits") as opened:
        plane = np.array(opened["CON"].data[0])
        opened["CON"].data = plane
        opened.writeto(tmp_path / "y_i2d.fits")
    mosaic = read(tmp_path / "y_i2d.fits")
    assert isinstance(mosaic, Resampled)
    np.testing.assert_array_equal(mosaic.con, plane[np.newaxis])


def write_blocks(path: Path, blocks: list[Product], nint: int) -> None:
    with ProductWriter(path, blocks[0], nint) as writer:
        for block in blocks:
            writer.append(block)
        writer.finish(blocks[0].meta.provenance)


def test_writer_refuses_blocks_that_do_not_fit(tmp_path: Path) -> None:
    cube = sample.make("cube", 2)
    path = tmp_path / "x.fits"
    with pytest.raises(ValueError, match="2 of 3 integrations"):
        write_blocks(path, [cube], 3)
    with pytest.raises(ValueError, match="more than 3"):
        write_blocks(path, [cube, cube], 3)
    with pytest.raises(ValueError, match="var_flat has shape None"):
        write_blocks(path, [cube, dataclasses.replace(cube, var_flat=None)], 4)
    assert not path.exists()


def test_reading_integrations_that_are_not_there(tmp_path: Path) -> None:
    write(sample.make("cube", 2), tmp_path / "x.fits")
    with ProductFile(tmp_path / "x.fits") as file:
        for first, last in ((0, 3), (-1, 1), (2, 2)):
            with pytest.raises(ValueError, match="no integrations"):
                file.read(first, last)
