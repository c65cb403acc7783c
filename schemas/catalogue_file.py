"""Catalogues as ECSV files, whose header carries the mosaic's keywords and how the catalogue was made.

ECSV: Aldcroft, "Enhanced Character Separated Values table format", APE 6.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.table.serialize import represent_mixins_as_columns

from schemas import layout as layouts
from schemas.canonical import canonical_json
from schemas.content import catalogue_digest
from schemas.errors import Unprocessable, explained
from schemas.meta import Keywords, Meta, Provenance, StepRecord
from schemas.products import Catalogue
from schemas.whole_files import write_whole

_OWN: Final = ("keywords", "calstream")
"""Entries of the table's metadata that hold the product's."""


def write_catalogue(catalogue: Catalogue, path: str | Path) -> str:
    """Write a catalogue to an ECSV file, at once or not at all.

    The same catalogue gives the same bytes, and values are written in full.

    Parameters
    ----------
    catalogue : Catalogue
        What to write; its WCS and tables are not written.
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
    write_whole(target, _text(catalogue, target.name).encode())
    return catalogue_digest(catalogue)


def read_catalogue(path: str | Path) -> Catalogue:
    """Read a catalogue from an ECSV file, ours or of JWST's own pipeline.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Catalogue
        With sky positions as columns of SkyCoord.

    Raises
    ------
    Unprocessable
        If the file is not there or is no ECSV table.
    """
    file = Path(path)
    with explained(file, "read"), open(file, "rb") as opened:
        content = opened.read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = QTable.read(content.decode(), format="ascii.ecsv")
        own = {name: table.meta.pop(name, None) for name in _OWN}
        meta = Meta(primary=_keywords(own["keywords"]), provenance=_provenance(own["calstream"]))
    except Exception as error:  # astropy raises whatever its parsers raise
        reason = " ".join(str(error).split())[:200]
        raise Unprocessable(
            f"{file}: cannot be read as an ECSV table ({reason}); give a _cat.ecsv file"
        ) from None
    return Catalogue(meta=meta, sources=table)


def _text(catalogue: Catalogue, filename: str) -> str:
    meta = catalogue.meta
    sources = catalogue.sources.copy(copy_data=False)
    keywords = {
        name: value
        for name, value in {**dict(meta.science), **dict(meta.primary), "FILENAME": filename}.items()
        if name not in ("", "COMMENT", "HISTORY") and _plain(value)
    }
    tree = {"layout": "catalogue", "layout_version": layouts.VERSION, **asdict(meta.provenance)}
    # YAML would sort and quote nested values by rules of its own: canonical JSON is one string.
    sources.meta = {
        **catalogue.sources.meta,
        "keywords": canonical_json(keywords),
        "calstream": canonical_json(tree),
    }
    buffer = io.StringIO()
    represent_mixins_as_columns(sources).write(buffer, format="ascii.ecsv")
    return buffer.getvalue()


def _plain(value: Any) -> bool:
    return isinstance(value, str | bool | int | np.integer) or (
        isinstance(value, float | np.floating) and bool(np.isfinite(value))
    )


def _keywords(text: str | None) -> Keywords:
    found: Mapping[str, Any] = json.loads(text) if text else {}
    header = fits.Header()
    for name, value in found.items():
        header[name] = value
    return Keywords(header)


def _provenance(text: str | None) -> Provenance:
    if not text:
        return Provenance()
    tree = json.loads(text)
    fields = StepRecord.__dataclass_fields__
    records = (
        StepRecord(**{k: v for k, v in record.items() if k in fields}) for record in tree.get("steps", ())
    )
    return Provenance(steps=tuple(records), run=tree.get("run", {}))
