"""What a product says about itself: FITS keywords, and how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from astropy.io import fits

from schemas.errors import Unprocessable
from schemas.keywords import lacking


class Keywords(Mapping[str, Any]):
    """The cards of one FITS header, unchangeable, with comments and order kept.

    Parameters
    ----------
    header : astropy.io.fits.Header or mapping, optional
        Where the cards are copied from.
    """

    __slots__ = ("_header",)

    def __init__(self, header: fits.Header | Mapping[str, Any] | None = None) -> None:
        self._header = header.copy() if isinstance(header, fits.Header) else fits.Header()
        if isinstance(header, Mapping) and not isinstance(header, fits.Header):
            self._header.update(header)

    def __getitem__(self, keyword: str) -> Any:
        return self._header[keyword]

    def __contains__(self, keyword: object) -> bool:
        return keyword in self._header

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._header.keys()))

    def __len__(self) -> int:
        return len(self._header)

    def __reduce__(self) -> tuple[Any, ...]:
        return _keywords_from_text, (self._header.tostring(sep="\n"),)

    def with_cards(self, cards: Mapping[str, Any]) -> Keywords:
        """Return a copy with `cards` set; a value is a plain one or a pair (value, comment), None removes."""
        changed = Keywords(self._header)
        for keyword, value in cards.items():
            if value is None:
                changed._header.remove(keyword, ignore_missing=True)
            else:
                changed._header[keyword] = value
        return changed

    def header(self) -> fits.Header:
        """Return an astropy header of one's own."""
        return self._header.copy()


def _keywords_from_text(text: str) -> Keywords:
    return Keywords(fits.Header.fromstring(text, sep="\n"))


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one step did to a product.

    Attributes
    ----------
    step, outcome : str
        Its name, and ``complete``, ``skipped`` or ``not applicable``.
    reason : str
        Why it was not applicable.
    implementation : str
        Dotted path of the function that ran.
    options : mapping
        Every effective option.
    origins : mapping of str to str
        Where each option came from, where not from the default.
    references : mapping of str to mapping
        For each reference type the file's ``name`` and ``digest``; those of all files, with commas between,
        where inputs of a mosaic had different ones.
    """

    step: str
    outcome: str
    reason: str = ""
    implementation: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What no JWST keyword can say; stored as canonical JSON in the extension CALSTREAM.

    Attributes
    ----------
    steps : tuple of StepRecord
        In the order in which they ran, from the raw exposure on.
    run : mapping
        Of the run that wrote the file: run key, stage, recipe, fingerprint, inputs with roles and digests.
    content : str
        Content digest of the file as it was written; empty for what was not read from one of ours.
    """

    steps: tuple[StepRecord, ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""

    def with_step(self, record: StepRecord) -> Self:
        """Return a copy with one record more."""
        return replace(self, steps=(*self.steps, record))


@dataclass(frozen=True, kw_only=True, eq=False)
class Meta:
    """Metadata of a product.

    Attributes
    ----------
    primary : Keywords
        Of the primary HDU.
    science : Keywords
        Of the SCI extension: pointing, WCS keywords, units.
    tables : mapping of str to ndarray
        FITS tables that travel with the product (GROUP, INT_TIMES), as structured arrays.
    wcs : gwcs.WCS, optional
        From pixel to sky.
    provenance : Provenance
        How the product was made.
    quality : mapping of str to float
        Quality figures that the run's event will carry.
    """

    primary: Keywords = field(default_factory=Keywords)
    science: Keywords = field(default_factory=Keywords)
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    wcs: Any = None
    provenance: Provenance = field(default_factory=Provenance)
    quality: Mapping[str, float] = field(default_factory=dict)

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return a keyword's value, from the primary header or else the science one."""
        if keyword in self.primary:
            return self.primary[keyword]
        return self.science.get(keyword, default)

    def keywords(self) -> dict[str, Any]:
        """Return all keywords with values, the primary header's before the science one's."""
        both = {**dict(self.science), **dict(self.primary)}
        return {name: value for name, value in both.items() if name not in ("", "COMMENT", "HISTORY")}

    def require(self, keyword: str) -> Any:
        """Return a keyword's value.

        Raises
        ------
        Unprocessable
            If neither header has it.
        """
        value = self.get(keyword)
        if value is None:
            raise Unprocessable(f"{self.get('FILENAME', 'the product')}: {lacking([keyword])}")
        return value

    def with_primary(self, **cards: Any) -> Meta:
        """Return a copy with cards of the primary header set."""
        return replace(self, primary=self.primary.with_cards(cards))

    def with_science(self, **cards: Any) -> Meta:
        """Return a copy with cards of the SCI header set."""
        return replace(self, science=self.science.with_cards(cards))

    def with_step(self, record: StepRecord) -> Meta:
        """Return a copy with a step's record appended to its provenance."""
        return replace(self, provenance=self.provenance.with_step(record))
