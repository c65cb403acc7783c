"""Content digests: equal where arrays, WCS and science keywords are equal, whatever the provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from schemas import layout as layouts
from schemas.arrays import CHUNK, to_stored
from schemas.canonical import digest
from schemas.keywords import SCIENCE_KEYWORDS
from schemas.meta import Meta
from schemas.products import Catalogue, Product
from schemas.tables import table_digest
from schemas.wcs_extension import wcs_digest, wcs_to_bytes

PlaneDigest = tuple[str, tuple[int, ...], str]
"""Of one array: its FITS type, shape, and the SHA-256 of its bytes as a FITS file stores them."""


def content_digest(product: Product) -> str:
    """Return the content digest of a product held in memory.

    Equal to what :func:`schemas.writing.write` returns for it.
    """
    if isinstance(product, Catalogue):
        return catalogue_digest(product)
    name = layouts.layout_name(product)
    arrays = product.arrays()
    planes = {
        plane.extname: _plane_digest(arrays[plane.attribute], plane.dtype)
        for plane in layouts.BY_NAME[name].planes
        if plane.attribute in arrays
    }
    wcs = wcs_to_bytes(product.meta.wcs) if product.meta.wcs is not None else None
    return content_digest_of(name, planes, product.meta, wcs)


def content_digest_of(
    layout_name: str, planes: Mapping[str, PlaneDigest], meta: Meta, wcs: bytes | None
) -> str:
    """Return the content digest made of the digests of a product's arrays.

    Parameters
    ----------
    layout_name : str
        Key of :data:`schemas.layout.BY_NAME`.
    planes : mapping of str to PlaneDigest
        By extension name.
    meta : Meta
        Of it count the science keywords and the tables.
    wcs : bytes, optional
        The WCS as ASDF.
    """
    keywords = {keyword: _as_stored(keyword, meta.get(keyword)) for keyword in SCIENCE_KEYWORDS}
    return digest(
        {
            "layout": layout_name,
            "version": layouts.VERSION,
            "planes": dict(planes),
            "keywords": {"TELESCOP": "JWST", **{k: v for k, v in keywords.items() if v is not None}},
            "tables": {name: table_digest(rows) for name, rows in meta.tables.items()},
            "wcs": wcs_digest(wcs) if wcs is not None else None,
        }
    )


def _as_stored(keyword: str, value: Any) -> Any:
    """Return a keyword's value as a FITS card keeps it: 20 characters for a number, no trailing spaces."""
    if isinstance(value, str | float) and not isinstance(value, bool):
        return fits.Card.fromstring(str(fits.Card(keyword, value))).value
    return value


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def catalogue_digest(catalogue: Catalogue) -> str:
    """Return the content digest of a catalogue: its columns with their units, in order."""
    from astropy.table.serialize import represent_mixins_as_columns

    columns = []
    # Sky positions are split into their angles, as files hold them.
    plain = represent_mixins_as_columns(catalogue.sources)
    for name in plain.colnames:
        column = plain[name]
        values = np.asarray(getattr(column, "value", column))
        text = values.tobytes() if values.dtype.kind in "biuf" else repr(values.tolist()).encode()
        unit = str(getattr(column, "unit", "") or "")
        columns.append([name, unit, values.dtype.kind, hashlib.sha256(text).hexdigest()])
    return digest({"kind": "catalogue", "version": layouts.VERSION, "columns": columns})


def _plane_digest(array: np.ndarray, dtype: str) -> PlaneDigest:
    total = hashlib.sha256()
    flat = np.ascontiguousarray(array).reshape(-1)
    for begin in range(0, flat.size, CHUNK):
        total.update(to_stored(flat[begin : begin + CHUNK], dtype).data)
    return dtype, tuple(array.shape), total.hexdigest()
