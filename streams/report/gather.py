"""What lies in a folder of products, for its page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.catalogue_file import read_catalogue
from schemas.errors import CalstreamError, Unprocessable
from schemas.meta import Meta
from schemas.naming import exposure_name, suffix_of
from schemas.products import Catalogue
from schemas.reading import ProductFile, read

_EXPOSURE: Final = re.compile(r"jw\d{11}_\d{5}_\d{5}")
_IMAGES: Final = ("rate", "cal")


@dataclass(frozen=True, kw_only=True, eq=False)
class ProductHead:
    """A product's file and headers, without its pixels.

    Attributes
    ----------
    name, suffix : str
        Which product.
    path : Path
        Its file.
    meta : Meta
        Keywords and provenance.
    """

    name: str
    suffix: str
    path: Path
    meta: Meta

    def read(self) -> Any:
        """Return the product."""
        return read(self.path)


@dataclass(frozen=True, kw_only=True, eq=False)
class Combined:
    """A combined image and its catalogue.

    Attributes
    ----------
    image : ProductHead
        The mosaic.
    catalogue_path : Path, optional
        Its catalogue's file, if there is one.
    """

    image: ProductHead
    catalogue_path: Path | None

    def catalogue(self) -> Catalogue | None:
        """Return the catalogue."""
        return None if self.catalogue_path is None else read_catalogue(self.catalogue_path)


@dataclass(frozen=True, kw_only=True, eq=False)
class Folder:
    """The products in a folder.

    Attributes
    ----------
    path : Path
        The folder.
    combined : sequence of Combined
        Mosaics, by name.
    exposures : mapping of str to mapping
        For each exposure its images, ``rate`` and ``cal``, by suffix.
    problems : sequence of str
        A sentence for each file that could not be read.
    """

    path: Path
    combined: Sequence[Combined]
    exposures: Mapping[str, Mapping[str, ProductHead]]
    problems: Sequence[str]

    @property
    def heads(self) -> list[ProductHead]:
        """Return all products, those nearest to the end of the road first."""
        images = [head for found in self.exposures.values() for head in reversed(list(found.values()))]
        return [*(item.image for item in self.combined), *images]

    def calibrated(self) -> list[ProductHead]:
        """Return the calibrated exposures."""
        return [found["cal"] for found in self.exposures.values() if "cal" in found]


def gather(folder: Path) -> Folder:
    """Find the products in a folder.

    Raises
    ------
    Unprocessable
        If there is no such folder, or none of its files is a product that a page shows.
    """
    if not folder.is_dir():
        raise Unprocessable(f"{folder}: is no folder; give the one that `calstream run --out` wrote to")
    heads, problems = [], []
    for path in sorted(folder.glob("*.fits")):
        suffix = suffix_of(path.name)
        if suffix not in (*_IMAGES, "i2d"):
            continue
        try:
            heads.append(_head(path, suffix))
        except CalstreamError as error:
            problems.append(str(error))
    found = Folder(
        path=folder,
        combined=[_combined(head) for head in heads if head.suffix == "i2d" and not _of_one_exposure(head)],
        exposures=_exposures(heads),
        problems=problems,
    )
    if not found.heads:
        told = f" ({problems[0]})" if problems else ""
        raise Unprocessable(
            f"{folder}: there are no products that a page shows (rate, cal, i2d){told}; "
            "make some with `calstream run`"
        )
    return found


def _head(path: Path, suffix: str) -> ProductHead:
    with ProductFile(path) as file:
        return ProductHead(name=exposure_name(path.name), suffix=suffix, path=path, meta=file.meta)


def _of_one_exposure(head: ProductHead) -> bool:
    stage = head.meta.provenance.run.get("stage")
    return stage == "image2" or (stage is None and _EXPOSURE.match(head.name) is not None)


def _combined(head: ProductHead) -> Combined:
    path = head.path.with_name(f"{head.name}_cat.ecsv")
    return Combined(image=head, catalogue_path=path if path.exists() else None)


def _exposures(heads: Sequence[ProductHead]) -> dict[str, dict[str, ProductHead]]:
    found: dict[str, dict[str, ProductHead]] = {}
    for suffix in _IMAGES:
        for head in heads:
            if head.suffix == suffix:
                found.setdefault(head.name, {})[suffix] = head
    return dict(sorted(found.items()))
