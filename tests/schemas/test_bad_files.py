"""Whatever is wrong with a file: one sentence that names it and says what to do; nothing else escapes."""

from __future__ import annotations

import gzip
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import CalstreamError, Unprocessable
from schemas.reading import ProductFile, read, read_ramp
from schemas.stored_content import digest_of_path
from schemas.writing import write
from tests.schemas import sample_products as sample

ADVICE = re.compile(r"; (fetch|check|give|mend|unpack|rename|choose)")


def sentence(path: Path, reader: Callable[[Path], Any] = read) -> str:
    """Return what reading `path` says is wrong, after checking its form."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Unprocessable) as caught:
            reader(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    assert ADVICE.search(said), said
    return said


class Files(dict[str, bytes]):
    """Contents by kind, too long to be shown."""

    def __repr__(self) -> str:
        return f"Files({', '.join(self)})"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Bytes of a good file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    found = Files()
    for layout in ("ramp", "image", "resampled"):
        write(sample.make(layout, 2, wcs=sample.sky_wcs()), folder / "x.fits")
        found[layout] = (folder / "x.fits").read_bytes()
    return found


def changed(content: bytes, path: Path, change: Callable[[Any], None]) -> Path:
    """Write a copy of a FITS file to `path` after `change` of its HDU list."""
    source = path.with_name("source.fits")
    source.write_bytes(content)
    with fits.open(source, memmap=False) as opened:
        change(opened)
        opened.writeto(path, output_verify="ignore")
    return path


def test_what_is_no_product(tmp_path: Path) -> None:
    path = tmp_path / "x_rate.fits"
    assert "no such file" in sentence(path)
    assert "no such file" in sentence(tmp_path / "nowhere" / "x.fits")
    path.write_bytes(b"")
    assert "empty" in sentence(path)
    for content in (b"hello", b"SIMPLE", bytes(9000), b"\x89PNG\r\n", b"SIMPLE  =   maybe" * 900):
        path.write_bytes(content)
        assert "not a FITS file" in sentence(path)
    assert "folder" in sentence(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in sentence(tmp_path / "pipe")
    assert "not a regular file" in sentence(Path("/dev/null"))
    assert "a part of it is a file" in sentence(path / "x.fits")
    assert "too long" in sentence(tmp_path / ("x" * 300))


def test_compressed_file(tmp_path: Path, good: Files) -> None:
    path = tmp_path / "x_rate.fits.gz"
    path.write_bytes(gzip.compress(good["image"]))
    assert "gunzip" in sentence(path)


def test_no_permission(tmp_path: Path, good: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x_rate.fits"
    path.write_bytes(good["image"])
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may always read
        real = os.open

        def refuse(file: Any, flags: int, *rest: Any, **more: Any) -> int:
            if Path(file) == path:
                raise PermissionError(13, "Permission denied", str(path))
            return real(file, flags, *rest, **more)

        monkeypatch.setattr(os, "open", refuse)
    assert "permission denied" in sentence(path)


@pytest.mark.parametrize("value", [b"8.", b"-8.", b"T", b"7"])
def test_bitpix_that_fits_does_not_know(tmp_path: Path, good: Files, value: bytes) -> None:
    path = tmp_path / "x_rate.fits"
    content = good["image"]
    path.write_bytes(content[:80] + b"BITPIX  = " + value.rjust(20) + content[110:])
    assert "BITPIX" in sentence(path)


def test_only_a_primary_header(tmp_path: Path) -> None:
    path = tmp_path / "x_rate.fits"
    fits.PrimaryHDU(np.zeros((4, 4), "f4")).writeto(path)
    assert "no SCI extension" in sentence(path)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5, 6)])
def test_wrong_number_of_axes(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(shape, "f4"), name="SCI")]).writeto(path)
    assert f"SCI has {len(shape)} axes" in sentence(path)


@pytest.mark.parametrize(
    ("suffix", "axes"), [("uncal", 3), ("ramp", 2), ("rate", 3), ("rateints", 2), ("i2d", 3)]
)
def test_name_and_axes_disagree(suffix: str, axes: int, tmp_path: Path) -> None:
    path = tmp_path / f"jw_{suffix}.fits"
    data = np.zeros((3,) * axes, "f4")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI")]).writeto(path)
    assert f"SCI has {axes} axes where" in sentence(path)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("NGROUPS", 9), ("NINTS", 7), ("SUBSIZE1", 2048), ("SUBSIZE2", 1), ("NGROUPS", "four")],
)
def test_header_and_data_disagree(keyword: str, value: Any, tmp_path: Path, good: Files) -> None:
    path = changed(good["ramp"], tmp_path / "x.fits", lambda hdus: hdus[0].header.set(keyword, value))
    said = sentence(path)
    assert f"{keyword} = {value}" in said
    assert "the data have" in said


def test_segments_of_an_exposure_agree(tmp_path: Path, good: Files) -> None:
    def part(hdus: Any, last: int) -> None:
        hdus[0].header.update({"NINTS": 40, "INTSTART": 11, "INTEND": last})

    assert read_ramp(changed(good["ramp"], tmp_path / "x.fits", lambda hdus: part(hdus, 12))).shape[0] == 2
    assert "NINTS = 40" in sentence(changed(good["ramp"], tmp_path / "y.fits", lambda hdus: part(hdus, 13)))


@pytest.mark.parametrize("extname", ["ERR", "VAR_POISSON", "VAR_RNOISE"])
def test_extension_missing(extname: str, tmp_path: Path, good: Files) -> None:
    path = changed(good["image"], tmp_path / "x.fits", lambda hdus: hdus.pop(hdus.index_of(extname)))
    assert f"no {extname} extension" in sentence(path)


def test_extension_of_another_shape(tmp_path: Path, good: Files) -> None:
    def cut(hdus: Any) -> None:
        hdus["DQ"].data = hdus["DQ"].data[:, 1:]

    assert "DQ has shape (6, 8)" in sentence(changed(good["image"], tmp_path / "x.fits", cut))


def test_several_science_extensions(tmp_path: Path, good: Files) -> None:
    path = changed(good["image"], tmp_path / "x.fits", lambda hdus: hdus.append(hdus["SCI"].copy()))
    assert "several SCI extensions" in sentence(path)


def test_science_that_is_a_table_or_empty(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.zeros(3))], name="SCI")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    assert "not an image" in sentence(tmp_path / "t.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(name="SCI")]).writeto(tmp_path / "e.fits")
    assert "SCI has 0 axes" in sentence(tmp_path / "e.fits")


def test_flags_that_are_no_integers(tmp_path: Path, good: Files) -> None:
    def spoil(hdus: Any) -> None:
        hdus["DQ"] = fits.ImageHDU(np.full((sample.NY, sample.NX), np.nan, "f4"), name="DQ")

    assert "floating-point" in sentence(changed(good["image"], tmp_path / "x.fits", spoil))


def test_ramp_wanted(tmp_path: Path, good: Files) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(good["image"])
    assert "this is a rate" in sentence(path, read_ramp)


@pytest.mark.parametrize("extname", ["ASDF", "CALSTREAM"])
def test_spoilt_metadata(extname: str, tmp_path: Path, good: Files) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(good["image"])
    with ProductFile(path) as file:
        offset = file.offset_of(extname)
    content = bytearray(good["image"])
    content[offset + 300 : offset + 340] = b"\x00{[: !broken & *x" * 2 + b"\xff" * 8
    path.write_bytes(content)
    assert extname in sentence(path)


def test_truncated_anywhere(tmp_path: Path, good: Files) -> None:
    path = tmp_path / "x.fits"
    whole = good["image"]
    path.write_bytes(whole)
    with ProductFile(path) as file:
        needed = file.offset_of("VAR_RNOISE") + 4 * sample.NX * sample.NY
    random = np.random.default_rng(5)
    cuts = [1, 79, 80, 2879, 2880, 2881, needed - 1, len(whole) - 1, *random.integers(1, len(whole), 60)]
    for cut in (int(cut) for cut in cuts):
        path.write_bytes(whole[:cut])
        said = sentence(path)
        assert cut < 30 or "truncated" in said
    for cut in range(2880, needed, 2880):  # whole blocks, even whole extensions
        path.write_bytes(whole[:cut])
        sentence(path)


def test_garbage_after_the_end(tmp_path: Path, good: Files) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(good["image"] + b"garbage " * 360)
    assert "damaged" in sentence(path)


def test_file_cut_off_while_it_is_read(tmp_path: Path, good: Files) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(good["ramp"])

    def shortened(path: Path) -> None:
        with ProductFile(path) as file:
            os.truncate(path, 2880 * 3)
            file.read()

    assert "ends before its data" in sentence(path, shortened)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_flipped_bytes_never_raise_anything_else(
    data: st.DataObject, good: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(good[data.draw(st.sampled_from(sorted(good)))])
    cards = [m.start() for m in re.finditer(rb"[A-Z0-9_-]{1,8} *= ", content) if m.start() % 80 == 0]
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.sampled_from(cards)) + data.draw(st.integers(0, 79))
        content[position] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b"0123456789TF'.-+E /")))
    path = tmp_path_factory.getbasetemp() / "fuzz.fits"
    path.write_bytes(content)
    for reader in (read, digest_of_path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            said = refusal(reader, path)
        assert said is None or (said.startswith(f"{path}: ") and "\n" not in said)


def refusal(reader: Callable[[Path], Any], path: Path) -> str | None:
    try:
        reader(path)
    except CalstreamError as error:
        return str(error)
    return None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(junk=st.binary(max_size=6000), after=st.integers(0, 3))
def test_junk_never_raises_anything_else(
    junk: bytes, after: int, good: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.fits"
    path.write_bytes(good["image"][: 2880 * after] + junk)
    with pytest.raises(Unprocessable, match=re.escape(str(path))):
        read(path)
