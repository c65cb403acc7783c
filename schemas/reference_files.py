"""Decode reference files as CRDS serves them, cut to the pixels of an exposure."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from schemas.arrays import read_values
from schemas.dq import translate
from schemas.errors import Unprocessable, explained
from schemas.headers import open_file, scan
from schemas.references import (
    ImageReference,
    ModelReference,
    RampReference,
    Reference,
    TableReference,
    Window,
)

IMAGES: Final = {"mask": "DQ", "linearity": "COEFFS"}
"""Extension that holds the values, for the types where it is not SCI."""

RAMPS: Final = frozenset({"dark"})
ERRORS: Final = frozenset({"flat"})
"""Types whose errors some step uses; those of the others are not read."""

TABLES: Final = frozenset({"photom", "apcorr"})
MODELS: Final = frozenset({"distortion", "filteroffset", "abvegaoffset"})


def load(path: str | Path, reftype: str, digest: str, window: Window) -> Reference:
    """Decode a reference file.

    Parameters
    ----------
    path : str or Path
        The file.
    reftype : str
        CRDS's name of its type.
    digest : str
        SHA-256 of its bytes.
    window : Window
        Pixels of the exposure; images are cut to it.

    Raises
    ------
    Unprocessable
        If it cannot be read, or does not cover the window.
    """
    file = Path(path)
    if reftype in MODELS:
        return _model(file, reftype, digest)
    _check_whole(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(file, memmap=False) as hdus:
                common: dict[str, Any] = {"reftype": reftype, "name": file.name, "digest": digest}
                common["keywords"] = dict(hdus[0].header)
                if reftype in TABLES:
                    return TableReference(tables=_tables(hdus), **common)
                if reftype in RAMPS:
                    return _ramp(file, hdus, window, common)
                return _image(file, hdus, window, common)
    except (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError, fits.VerifyError) as error:
        raise _unreadable(file, reftype, error) from error


def _check_whole(file: Path) -> None:
    """Refuse a file that is cut off, whose last arrays astropy would leave out without a word."""
    fd = open_file(file)
    try:
        scan(fd, file)
    finally:
        os.close(fd)


def _unreadable(file: Path, reftype: str, error: Exception) -> Unprocessable:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return Unprocessable(f"{file}: cannot be read as a {reftype} reference ({reason}); give another file")


def _model(file: Path, reftype: str, digest: str) -> ModelReference:
    import asdf

    with explained(file, "read"):
        file.open("rb").close()
    try:
        with asdf.open(file, lazy_load=False, memmap=False) as opened:
            tree = dict(opened.tree)
    except Exception as error:  # asdf raises whatever its extensions raise
        raise _unreadable(file, reftype, error) from error
    return ModelReference(
        reftype=reftype, name=file.name, digest=digest, keywords=tree.get("meta", {}), tree=tree
    )


def _tables(hdus: Any) -> dict[str, np.ndarray]:
    found = {}
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU) and hdu.name != "ASDF":
            rows = np.array(hdu.data)
            rows.dtype.names = tuple(name.lower() for name in rows.dtype.names or ())
            found[hdu.name] = rows
    if not found:
        raise KeyError("it has no table")
    return found


def _image(file: Path, hdus: Any, window: Window, common: Mapping[str, Any]) -> ImageReference:
    extname = IMAGES.get(common["reftype"], "SCI")
    cut = _cut(file, hdus[0].header, hdus[extname].shape, window)
    shape = (window.ny, window.nx)
    dq = np.broadcast_to(np.uint32(0), shape)  # one number in memory
    if "DQ" in hdus and hdus["DQ"].data is not None:
        dq = _standard_bits(hdus, cut(hdus["DQ"].data))
    if extname == "DQ":
        data = np.zeros((0, *shape), np.float32)
    else:
        data = np.ascontiguousarray(cut(hdus[extname].data), np.float32)
    err = None
    if common["reftype"] in ERRORS and "ERR" in hdus:
        err = np.ascontiguousarray(cut(hdus["ERR"].data), np.float32)
    return ImageReference(data=data, dq=dq, err=err, **common)


def _ramp(file: Path, hdus: Any, window: Window, common: Mapping[str, Any]) -> RampReference:
    hdu = hdus["SCI"]
    header, offset = hdu.header.copy(), hdu.fileinfo()["datLoc"]
    axes = [header[f"NAXIS{axis}"] for axis in range(header["NAXIS"], 0, -1)]
    ngroup, ny, nx = axes[-3:]
    cut = _cut(file, hdus[0].header, (ny, nx), window)
    dq = np.zeros((window.ny, window.nx), np.uint32)
    if "DQ" in hdus and hdus["DQ"].data is not None:
        dq = _standard_bits(hdus, cut(hdus["DQ"].data.reshape(-1, ny, nx)[0]))
    keywords = common["keywords"]
    return RampReference(
        ngroup=ngroup,
        nframes=int(keywords.get("NFRAMES") or 1),
        groupgap=int(keywords.get("GROUPGAP") or 0),
        dq=dq,
        group=partial(_group, file, header, offset, (ny, nx), cut),
        average_dark_current=_average_dark_current(hdus, (window.ny, window.nx), cut),
        **common,
    )


def _average_dark_current(
    hdus: Any, shape: tuple[int, int], cut: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.float32] | None:
    """Return the extension AVDRKCUR, else an image of the keyword; None where both are 0 or absent."""
    if "AVDRKCUR" in hdus and hdus["AVDRKCUR"].data is not None and np.any(hdus["AVDRKCUR"].data):
        return np.ascontiguousarray(cut(hdus["AVDRKCUR"].data), np.float32)
    value = float(hdus[0].header.get("AVDRKCUR") or 0)
    return np.full(shape, value, np.float32) if value else None


def _group(
    file: Path, header: Any, offset: int, shape: tuple[int, int], cut: Callable[[Any], Any], index: int
) -> NDArray[np.float32]:
    out = np.empty(shape, np.float32)
    fd = os.open(file, os.O_RDONLY)
    try:
        read_values(fd, offset, header, index * out.size, out)
    finally:
        os.close(fd)
    return np.ascontiguousarray(cut(out), np.float32)


def _cut(
    file: Path, primary: Any, shape: tuple[int, ...], window: Window
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a function that cuts the last two axes of an array of the reference to the window."""
    ny, nx = shape[-2:]
    own = Window.of(primary, (ny, nx))
    x, y = window.x - own.x, window.y - own.y
    if (ny, nx) == (window.ny, window.nx):
        x = y = 0
    elif x < 0 or y < 0 or x + window.nx > nx or y + window.ny > ny:
        raise Unprocessable(
            f"{file}: its {nx} x {ny} pixels from ({own.x + 1}, {own.y + 1}) do not cover the exposure's "
            f"{window.nx} x {window.ny} from ({window.x + 1}, {window.y + 1}); "
            "give a reference of this subarray"
        )
    return lambda array: array[..., y : y + window.ny, x : x + window.nx]


def _standard_bits(hdus: Any, dq: NDArray[Any]) -> NDArray[np.uint32]:
    if "DQ_DEF" not in hdus or hdus["DQ_DEF"].data is None or not len(hdus["DQ_DEF"].data):
        return np.ascontiguousarray(dq.astype(np.uint32))
    rows = hdus["DQ_DEF"].data
    return translate(
        dq, {int(value): str(name).strip() for value, name in zip(rows["VALUE"], rows["NAME"], strict=True)}
    )
