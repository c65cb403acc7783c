"""Sets of images that are combined, read one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from processors.drizzling.metadata import combine
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import Product, Rate

Loader = Callable[[], Rate]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet(Product):
    """Images of one mosaic, in their order.

    Attributes
    ----------
    members : tuple of callable
        Each returns one calibrated image when called; nobody keeps what it returned.
    names : tuple of str
        How a failure names each.
    headers : tuple of Meta
        Metadata of each, at hand without its arrays (the WCS may be missing).
    """

    members: tuple[Loader, ...]
    names: tuple[str, ...]
    headers: tuple[Meta, ...]

    @classmethod
    def of(
        cls,
        members: Sequence[Loader],
        names: Sequence[str] | None = None,
        headers: Sequence[Meta] | None = None,
    ) -> Self:
        """Return a set with its combined metadata.

        Parameters
        ----------
        members : sequence of callable
            Each returns one image.
        names : sequence of str, optional
            By default each image's FILENAME.
        headers : sequence of Meta, optional
            Of the images; without them each image is loaded once more.

        Raises
        ------
        Unprocessable
            If there are none, or they are not all of one filter and in one unit.
        """
        if not members:
            raise Unprocessable("there are no images to combine; give at least one calibrated image")
        known = tuple(headers) if headers is not None else tuple(load().meta for load in members)
        called = names or [str(meta.get("FILENAME", f"image {i + 1}")) for i, meta in enumerate(known)]
        _alike(called, known)
        return cls(meta=combine(known), members=tuple(members), names=tuple(called), headers=known)

    @classmethod
    def single(cls, image: Rate) -> Self:
        """Return a set of one image that is at hand."""
        return cls.of([lambda: image], headers=[image.meta])

    def load(self) -> Iterator[tuple[str, Rate]]:
        """Yield name and image of each member, one after the other.

        Raises
        ------
        Unprocessable
            If one is no calibrated 2-D image with a WCS.
        """
        for name, member in zip(self.names, self.members, strict=True):
            # No name is bound to the image here: it would live on while the next one is loaded.
            yield name, _checked(name, member())


def _alike(names: Sequence[str], headers: Sequence[Meta]) -> None:
    """Check that brightness means the same in all images; an odd one would spoil every pixel it touches."""
    for keywords in (("BUNIT",), ("FILTER", "PUPIL")):
        found = [tuple(str(meta.get(keyword, "none")).strip() for keyword in keywords) for meta in headers]
        usual, _ = Counter(found).most_common(1)[0]
        for name, values in zip(names, found, strict=True):
            if values != usual:
                shown = ", ".join(f"{k} = {v}" for k, v in zip(keywords, values, strict=True))
                raise Unprocessable(
                    f"{name}: {shown} where the other images of the set have {', '.join(usual)}; "
                    "leave it out, or combine it with its own kind"
                )


def _checked(name: str, image: Rate) -> Rate:
    if image.data.ndim != 2:
        raise Unprocessable(
            f"{name}: has {image.data.ndim} axes where an image of 2 is needed; give a _cal file"
        )
    if image.meta.wcs is None:
        raise Unprocessable(f"{name}: the image has no WCS; run assign_wcs on it first")
    return image
