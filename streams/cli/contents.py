"""What a file holds, in words and figures, for `calstream inspect`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from schemas.associations import read_association
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.keywords import SCIENCE_KEYWORDS
from schemas.meta import Keywords, Meta, Provenance
from schemas.reading import ProductFile

Section = tuple[str, Sequence[str], Sequence[Sequence[Any]]]
"""Title, headings and rows of a table."""

SHOWN: Final = (
    "TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "PUPIL", "EXP_TYPE", "SUBARRAY", "READPATT", "NINTS",
    "NGROUPS", "EFFEXPTM", "DATE-OBS", "TIME-OBS", "PROGRAM", "TARGPROP", "TARG_RA", "TARG_DEC", "BUNIT",
    "PHOTMJSR", "CAL_VER", "CRDS_CTX", "DATE", "ORIGIN",
)  # fmt: skip
"""Keywords that say at a glance what an exposure is."""

KINDS: Final = {
    "raw": "raw exposure (Level 1b)",
    "ramp": "ramp, with jumps flagged",
    "image": "image",
    "cube": "images, one for each integration",
    "resampled": "resampled image",
    "segmentation": "segmentation map",
}

_BLOCK: Final = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `calstream inspect` shows of a file.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        What it is, in a half-sentence.
    sections : sequence of Section
        Tables.
    provenance : Provenance, optional
        How it was made; None where such a file cannot say it.
    """

    path: Path
    kind: str
    sections: Sequence[Section]
    provenance: Provenance | None = None


def described(path: Path, *, everything: bool = False) -> Description:
    """Return what a file is.

    Parameters
    ----------
    path : Path
        A FITS file, an ECSV catalogue or a JWST association.
    everything : bool
        Whether all keywords are wanted.

    Raises
    ------
    Unprocessable
        If it cannot be read, or is something else.
    """
    if path.suffix == ".json":
        return _association(path)
    if path.suffix == ".ecsv":
        return _catalogue(path)
    try:
        with ProductFile(path) as file:
            return _product(path, file, everything)
    except Unprocessable as error:
        foreign = _foreign(path, str(error), everything)
        if foreign is None:
            raise
        return foreign


def flag_counts(flags: Iterable[np.ndarray]) -> tuple[dict[str, int], int]:
    """Return how many values have each data quality bit, and how many values there are.

    Parameters
    ----------
    flags : iterable of ndarray of unsigned integer
        Parts of a plane of flags.
    """
    counts: dict[str, int] = dict.fromkeys(("GOOD", *(bit.name or "" for bit in DQ if bit)), 0)
    total = 0
    for part in flags:
        values, numbers = np.unique(part, return_counts=True)
        total += part.size
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
            counts["GOOD"] += number if value == 0 else 0
            for bit in DQ:
                if bit and value & bit:
                    counts[bit.name or ""] += number
    return {name: number for name, number in counts.items() if number}, total


def _product(path: Path, file: ProductFile, everything: bool) -> Description:
    planes = [
        (plane.extname, " x ".join(str(size) for size in file.shape_of(plane.extname)), plane.dtype)
        for plane in file.layout.planes
        if file.has(plane.extname)
    ]
    kind = _kind(file)
    sections: list[Section] = [
        ("Arrays", ("extension", "shape (slowest axis first)", "type"), planes),
        ("Keywords", ("", ""), _keyword_rows(file.meta, everything)),
    ]
    if tables := [
        (name, len(rows), ", ".join(rows.dtype.names or ())) for name, rows in file.meta.tables.items()
    ]:
        sections.append(("Tables", ("extension", "rows", "columns"), tables))
    sections += [_quality(file, plane) for plane in ("pixeldq", "groupdq", "dq") if _has(file, plane)]
    return Description(path=path, kind=kind, sections=sections, provenance=file.meta.provenance)


def _kind(file: ProductFile) -> str:
    kind = KINDS[file.layout_name]
    if file.layout_name not in ("image", "cube"):
        return kind
    unit = str(file.meta.get("BUNIT", "")).strip()
    calibrated = "calibrated" if unit.lower().startswith("mjy") else "count rates"
    return f"{kind}: {calibrated}" + (f" ({unit})" if unit else "")


def _has(file: ProductFile, attribute: str) -> bool:
    return any(plane.attribute == attribute and file.has(plane.extname) for plane in file.layout.planes)


def _quality(file: ProductFile, attribute: str) -> Section:
    extname = next(plane.extname for plane in file.layout.planes if plane.attribute == attribute)
    size = max(1, _BLOCK // max(1, int(np.prod(file.shape[1:])) * 4))
    if attribute == "pixeldq" or file.nint == 1:
        parts: Iterable[np.ndarray] = [getattr(file.read(0, 1), attribute)]
    else:
        parts = (getattr(block, attribute) for block in file.blocks(size))
    counts, total = flag_counts(parts)
    rows = [(name, number, f"{100 * number / total:.3f} %") for name, number in counts.items()]
    return f"Data quality, {extname}", ("flag", "values", "of all"), rows


def _keyword_rows(meta: Meta, everything: bool) -> list[tuple[str, Any]]:
    wanted = (*meta.primary, *meta.science) if everything else _at_a_glance(meta)
    found = {name: meta.get(name) for name in wanted if name not in ("", "COMMENT", "HISTORY")}
    return [(name, value) for name, value in found.items() if value is not None]


def _at_a_glance(meta: Meta) -> tuple[str, ...]:
    said = (name for name in meta.primary if name.startswith(("S_", "R_")))
    return (*SHOWN, *said)


def _catalogue(path: Path) -> Description:
    from schemas.catalogue_file import read_catalogue

    catalogue = read_catalogue(path)
    sources = catalogue.sources
    columns = [
        (name, str(getattr(sources[name], "unit", None) or ""), sources[name].info.description or "")
        for name in sources.colnames
    ]
    return Description(
        path=path,
        kind=f"catalogue of {len(sources)} sources",
        sections=[
            ("Columns", ("column", "unit", "what it is"), columns),
            ("Keywords", ("", ""), _keyword_rows(catalogue.meta, False)),
        ],
        provenance=catalogue.meta.provenance,
    )


def _association(path: Path) -> Description:
    association = read_association(path)
    facts = [
        (name, value)
        for name in ("asn_rule", "asn_id", "asn_pool", "program", "target")
        if (value := getattr(association, name))
    ]
    sections: list[Section] = [("", ("", ""), facts)]
    for product in association.products:
        members = [(member.exptype, member.expname, member.digest[:12]) for member in product.members]
        sections.append((f"Product {product.name}", ("role", "member", "digest"), members))
    return Description(path=path, kind=f"association of type {association.asn_type}", sections=sections)


def _foreign(path: Path, why: str, everything: bool) -> Description | None:
    """Return what a FITS file is that calstream does not process, or None if it is no FITS file at all."""
    import warnings

    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with fits.open(path, memmap=True, lazy_load_hdus=False) as hdus:
                rows = [(i, hdu.name, type(hdu).__name__, _shape(hdu)) for i, hdu in enumerate(hdus)]
                meta = Meta(primary=Keywords(hdus[0].header))
        except (
            Exception
        ):  # astropy raises a dozen kinds for damaged files; the first sentence is the better one
            return None
    reason = why.removeprefix(f"{path}: ")
    sections: list[Section] = [
        ("Extensions", ("", "name", "kind", "shape (slowest axis first)"), rows),
        ("Keywords", ("", ""), _keyword_rows(meta, everything) or _own_keywords(meta)),
    ]
    return Description(
        path=path, kind=f"FITS file that calstream does not process: {reason}", sections=sections
    )


def _own_keywords(meta: Meta) -> list[tuple[str, Any]]:
    return [(name, meta.get(name)) for name in SCIENCE_KEYWORDS if meta.get(name) is not None]


def _shape(hdu: Any) -> str:
    header = hdu.header
    return " x ".join(str(header[f"NAXIS{axis}"]) for axis in range(header.get("NAXIS", 0), 0, -1))
