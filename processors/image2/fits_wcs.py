"""The world coordinate system in FITS keywords, for software that reads headers only.

SIP polynomials: Shupe et al. 2005, "The SIP Convention for Representing Distortion in FITS Image Headers",
ASP Conf. Ser. 347, 491. A gwcs says the same without a fit, and it is what our own steps use.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any, Final

from schemas.meta import Meta

MAX_ERROR: Final = 0.01
"""Pixels by which the polynomials may miss the gwcs, either way."""

DEGREES: Final = range(1, 6)
"""Of the polynomials; the first that is near enough is taken."""

SAMPLES: Final = 12
"""Points along each axis to which the polynomials are fitted."""

_STALE: Final = re.compile(r"(PC|CD)[12]_[12]|CDELT[12]|CROTA[12]|LONPOLE|LATPOLE|[AB]P?_(ORDER|DMAX|\d_\d)")
_FITTED: Final = re.compile(r"CD[12]_[12]|C(RPIX|RVAL|TYPE|UNIT)[12]|WCSAXES|RADESYS|[AB]P?_(ORDER|\d_\d)")


def fits_cards(wcs: Any, meta: Meta) -> dict[str, Any]:
    """Return the keywords that say `wcs` in a FITS header, as TAN with SIP where there is distortion.

    Parameters
    ----------
    wcs : gwcs.WCS
        Of an image, with a bounding box.
    meta : Meta
        Of the image. Its CRPIX1 and CRPIX2 are kept, where it has them.

    Returns
    -------
    dict of str to object
        Values, with None for what must leave the SCI header. Where no polynomial can be fitted all are None:
        a header without coordinates is better than one with wrong ones.
    """
    cards: dict[str, Any] = dict.fromkeys(_stale(meta.science))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the best fit is taken, even where it misses MAX_ERROR
            header = wcs.to_fits_sip(
                max_pix_error=MAX_ERROR,
                degree=DEGREES,
                max_inv_pix_error=MAX_ERROR,
                inv_degree=DEGREES,
                npoints=SAMPLES,
                crpix=_reference_pixel(meta),
            )
    except (ValueError, RuntimeError):
        return cards | dict.fromkeys(
            f"{name}{axis}" for name in ("CTYPE", "CRPIX", "CRVAL") for axis in (1, 2)
        )
    found = {
        card.keyword: (card.value, card.comment) for card in header.cards if _FITTED.fullmatch(card.keyword)
    }
    if header.get("LONPOLE", 180.0) != 180.0:  # as at the pole of the sky
        found["LONPOLE"] = (header["LONPOLE"], "[deg] Native longitude of celestial pole")
    return cards | found


def _stale(keywords: Iterable[str]) -> list[str]:
    return [keyword for keyword in keywords if _STALE.fullmatch(keyword)]


def _reference_pixel(meta: Meta) -> list[float] | None:
    first, second = (meta.science.get(f"CRPIX{axis}") for axis in (1, 2))
    return None if first is None or second is None else [float(first), float(second)]
