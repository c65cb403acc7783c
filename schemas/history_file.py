"""Persistence histories as FITS tables: the pixels that an exposure has left charge in, and its times."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits

from schemas import layout as layouts
from schemas.canonical import canonical_json, digest
from schemas.errors import Unprocessable, explained
from schemas.keywords import SCIENCE_KEYWORDS
from schemas.meta import Keywords, Meta, Provenance, StepRecord
from schemas.products import HISTORY_COLUMNS, PersistenceHistory
from schemas.tables import table_digest, table_to_hdu
from schemas.whole_files import write_whole

DATAMODL: Final = "PersistenceHistory"
"""DATAMODL of the files; JWST has no data model for them."""

_TIMES: Final = np.dtype([("began", "f8"), ("ended", "f8")])
_STRUCTURE: Final = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM")


def write_history(history: PersistenceHistory, path: str | Path) -> str:
    """Write a history to a FITS file, at once or not at all; the same one gives the same bytes.

    Parameters
    ----------
    history : PersistenceHistory
        What to write.
    path : str or Path
        The file; one that is there is replaced in one move.

    Returns
    -------
    str
        The content digest.

    Raises
    ------
    Retriable
        If the disk is full.
    Unprocessable
        If the folder is not there or cannot be written to.
    """
    target = Path(path)
    content = history_digest(history)
    write_whole(target, _bytes(history, target.name, content))
    return content


def read_history(path: str | Path) -> PersistenceHistory:
    """Read a history from its FITS file.

    Parameters
    ----------
    path : str or Path
        A file that :func:`write_history` has written.

    Raises
    ------
    Unprocessable
        If the file is not there, or is none.
    """
    file = Path(path)
    with explained(file, "read"):
        text = file.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(io.BytesIO(text)) as hdus:
                return _history(hdus)
    except Exception as error:  # astropy raises whatever its parsers raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unprocessable(
            f"{file}: cannot be read as a persistence history ({reason}); give a _persistence.fits file"
        ) from None


def history_digest(history: PersistenceHistory) -> str:
    """Return the content digest of a history: its tables and the science keywords."""
    keywords = {name: history.meta.primary.get(name) for name in SCIENCE_KEYWORDS}
    return digest(
        {
            "kind": "persistence",
            "version": layouts.VERSION,
            "pixels": table_digest(_columns(history.pixels)),
            "integrations": table_digest(_times(history.integrations)),
            "keywords": {name: str(value) for name, value in keywords.items() if value is not None},
        }
    )


def _bytes(history: PersistenceHistory, filename: str, content: str) -> bytes:
    primary = fits.PrimaryHDU()
    primary.header.extend(history.meta.primary.header(), unique=False, update=False, strip=True)
    primary.header["FILENAME"] = (filename, "Name of the file")
    primary.header["DATAMODL"] = (DATAMODL, "Type of data model")
    provenance = asdict(history.meta.provenance) | {"content": content}
    tree = {"layout": "persistence", "layout_version": layouts.VERSION, **provenance}
    text = np.frombuffer(canonical_json(tree).encode(), np.uint8)
    hdus = [
        primary,
        table_to_hdu(_columns(history.pixels), "PIXELS"),
        table_to_hdu(_times(history.integrations), "INTEGRATIONS"),
        fits.ImageHDU(text, name="CALSTREAM"),
    ]
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer, output_verify="silentfix")
    return buffer.getvalue()


def _history(hdus: Any) -> PersistenceHistory:
    tree = json.loads(np.asarray(hdus["CALSTREAM"].data).tobytes())
    if tree["layout"] != "persistence":
        raise ValueError(f"its layout is {tree['layout']!r}")
    known = StepRecord.__dataclass_fields__
    steps = tuple(StepRecord(**{k: v for k, v in r.items() if k in known}) for r in tree["steps"])
    header = hdus[0].header.copy(strip=True)
    for name in _STRUCTURE:
        header.remove(name, ignore_missing=True, remove_all=True)
    times = hdus["INTEGRATIONS"].data
    return PersistenceHistory(
        meta=Meta(
            primary=Keywords(header),
            provenance=Provenance(steps=steps, run=tree["run"], content=str(tree["content"])),
        ),
        pixels=_columns(hdus["PIXELS"].data),
        integrations=np.stack([times["began"], times["ended"]], axis=1).astype(np.float64),
    )


def _columns(pixels: Any) -> np.ndarray:
    rows = np.empty(len(pixels), list(HISTORY_COLUMNS))
    for name, _ in HISTORY_COLUMNS:
        rows[name] = pixels[name]
    return rows


def _times(integrations: np.ndarray) -> np.ndarray:
    rows = np.empty(len(integrations), _TIMES)
    rows["began"], rows["ended"] = integrations[:, 0], integrations[:, 1]
    return rows
