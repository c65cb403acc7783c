"""Reference data as a step sees them: decoded, cut to the exposure's pixels, with name and digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Unprocessable
from schemas.stripes import in_stripes, rows_of, stripes_of

R = TypeVar("R", bound="Reference")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What all kinds of reference have.

    Attributes
    ----------
    reftype, name, digest : str
        CRDS's type, the file's name, the SHA-256 of its bytes.
    keywords : mapping of str to object
        Its primary header (for ASDF files, the tree's ``meta``).
    """

    reftype: str
    name: str
    digest: str
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageReference(Reference):
    """A value (or several) for each pixel.

    Attributes
    ----------
    data : ndarray of float32 (ny, nx) or (nplane, ny, nx)
        Values; for ``linearity`` the polynomial's coefficients, lowest order first; for ``ipc`` a kernel,
        or one for each pixel (nj, ni, ny, nx). A ``mask`` has only `dq`.
    dq : ndarray of uint32 (ny, nx)
        Flags with the standard bits.
    err : ndarray of float32 (ny, nx), optional
        Standard errors.
    """

    data: NDArray[np.float32]
    dq: NDArray[np.uint32]
    err: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RampReference(Reference):
    """A value for each pixel and group (a dark), read group by group because it may be large.

    Attributes
    ----------
    ngroup, nframes, groupgap : int
        Number of groups of an integration, and how each was made.
    dq : ndarray of uint32 (ny, nx)
        Flags with the standard bits.
    group : callable
        ``group(i)`` returns group `i` as ndarray of float32 (ny, nx), DN; those of later integrations follow.
    average_dark_current : ndarray of float32 (ny, nx), optional
        Mean dark current, electrons per second.
    nint : int
        Number of integrations that differ; an exposure's further ones are like the last.
    """

    ngroup: int
    nframes: int
    groupgap: int
    dq: NDArray[np.uint32]
    group: Callable[[int], NDArray[np.float32]]
    average_dark_current: NDArray[np.float32] | None = None
    nint: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class TableReference(Reference):
    """FITS tables by extension name, as structured arrays with lower-case column names."""

    tables: Mapping[str, np.ndarray]

    def table(self) -> np.ndarray:
        """Return the first table.

        Raises
        ------
        Unprocessable
            If there is none.
        """
        for rows in self.tables.values():
            return rows
        raise Unprocessable(
            f"{self.name}: this {self.reftype} reference has no table; give another file with "
            f"--set STEP.override_{self.reftype}=FILE"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelReference(Reference):
    """The tree of an ASDF file: transforms under ``model``, tables under their own names."""

    tree: Mapping[str, Any]


class References(Mapping[str, Reference]):
    """The references of one exposure, decoded when first asked for.

    Parameters
    ----------
    loaders : mapping of str to callable or Reference
        For each type a reference, or a function that returns it.
    missing : str, optional
        What to say of a type that is not there: the keywords and the context that were used to look for it.
    identify : callable, optional
        ``identify(reftype)`` returns name and digest of a reference without decoding it.
    """

    def __init__(
        self,
        loaders: Mapping[str, Callable[[], Reference] | Reference] | None = None,
        missing: str = "",
        identify: Callable[[str], tuple[str, str]] | None = None,
    ) -> None:
        self._loaders = dict(loaders or {})
        self._missing = missing
        self._identify = identify

    def __getitem__(self, reftype: str) -> Reference:
        if reftype not in self._loaders:
            raise Unprocessable(
                f"there is no {reftype!r} reference{' for ' + self._missing if self._missing else ''}; "
                f"give one with --set STEP.override_{reftype}=FILE, or skip the step"
            )
        found = self._loaders[reftype]
        return found if isinstance(found, Reference) else found()

    def identity(self, reftype: str) -> dict[str, str]:
        """Return ``name`` and ``digest`` of a reference, decoded only if they are not known without."""
        if self._identify is not None and reftype in self._loaders:
            name, digest = self._identify(reftype)
        else:
            name, digest = (found := self[reftype]).name, found.digest
        return {"name": name, "digest": digest}

    def __contains__(self, reftype: object) -> bool:
        return reftype in self._loaders

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    def image(self, reftype: str) -> ImageReference:
        """Return a reference that must be an image."""
        return _of_kind(self[reftype], ImageReference)

    def ramp(self, reftype: str) -> RampReference:
        """Return a reference that must be a ramp."""
        return _of_kind(self[reftype], RampReference)

    def table(self, reftype: str) -> TableReference:
        """Return a reference that must be a table."""
        return _of_kind(self[reftype], TableReference)

    def model(self, reftype: str) -> ModelReference:
        """Return a reference that must be an ASDF tree."""
        return _of_kind(self[reftype], ModelReference)


def _of_kind(reference: Reference, kind: type[R]) -> R:
    if not isinstance(reference, kind):
        raise Unprocessable(
            f"{reference.name}: a {reference.reftype} reference should be a {kind.__name__}, "
            f"this is a {type(reference).__name__}; give another file"
        )
    return reference


@dataclass(frozen=True)
class Window:
    """The detector pixels that an exposure has, 0-indexed: a rectangle, or stripes of rows.

    Attributes
    ----------
    x, y, nx, ny : int
        Lower left pixel and size; of stripes, y is the lowest row.
    stripes : tuple of (int, int)
        First detector row and number of rows of each stripe, from the image's first row on; empty for a
        rectangle.
    """

    x: int
    y: int
    nx: int
    ny: int
    stripes: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, keywords: Mapping[str, Any], shape: tuple[int, int] | None = None) -> Window:
        """Return the window that SUBSTRT1, SUBSTRT2, SUBSIZE1 and SUBSIZE2 tell, and the keywords of stripes.

        Raises
        ------
        Unprocessable
            If the exposure was read in stripes, and its keywords do not tell which.
        """
        ny, nx = shape or (0, 0)
        x, nx = int(keywords.get("SUBSTRT1", 1)) - 1, int(keywords.get("SUBSIZE1", nx))
        if in_stripes(keywords):
            stripes = stripes_of(keywords)
            return cls(x, min(stripes)[0], nx, sum(rows for _, rows in stripes), stripes)
        return cls(x, int(keywords.get("SUBSTRT2", 1)) - 1, nx, int(keywords.get("SUBSIZE2", ny)))

    @property
    def rows(self) -> NDArray[np.intp]:
        """Return the detector row of each row of the image; some may be there several times."""
        return rows_of(self.stripes or ((self.y, self.ny),))

    @property
    def places(self) -> NDArray[np.intp]:
        """Return the rows of the image (n, row) that each detector row is in; -1 where it is in fewer than n.

        Rows above the last one that was read are not told.
        """
        rows = self.rows
        order = np.argsort(rows, kind="stable")
        turns = np.empty(rows.size, np.intp)
        turns[order] = np.arange(rows.size) - np.searchsorted(rows[order], rows[order])
        found = np.full((turns.max() + 1, rows.max() + 1), -1, np.intp)
        found[turns, rows] = np.arange(rows.size)
        return found
