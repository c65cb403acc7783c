"""Which header a keyword belongs in, and what is said when it is not there."""

from __future__ import annotations

from typing import Any

import pytest
from stdatamodels.jwst import datamodels

from schemas.errors import Unprocessable
from schemas.keywords import EVENT_KEYWORDS, IN_SCIENCE_HEADER, SCIENCE_KEYWORDS, lacking
from schemas.meta import Keywords, Meta


def places(tree: Any, found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the HDUs of each keyword that a data model's schema names."""
    if isinstance(tree, dict):
        if isinstance(tree.get("fits_keyword"), str):
            found.setdefault(tree["fits_keyword"], set()).add(tree.get("fits_hdu", "PRIMARY"))
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            places(branch, found)
    return found


def test_keywords_are_in_the_header_that_jwst_puts_them_in() -> None:
    theirs = places(datamodels.ImageModel().schema, {})
    ours = {*EVENT_KEYWORDS, *SCIENCE_KEYWORDS, *IN_SCIENCE_HEADER} & theirs.keys()
    assert len(ours) > 100
    assert {keyword for keyword in ours if "SCI" in theirs[keyword]} == IN_SCIENCE_HEADER


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["RA_REF"], "the SCI header lacks RA_REF; add it there, or fetch the file again"),
        (["TGROUP"], "the primary header lacks TGROUP; add it there, or fetch the file again"),
        (
            ["V2_REF", "TGROUP", "NFRAMES"],
            "the primary header lacks TGROUP, NFRAMES and the SCI header lacks V2_REF; add them there, or "
            "fetch the file again",
        ),
    ],
)
def test_what_is_missing_is_said_with_its_header(missing: list[str], said: str) -> None:
    assert lacking(missing) == said


def test_a_required_keyword_names_its_header() -> None:
    meta = Meta(primary=Keywords({"FILENAME": "a.fits"}))
    with pytest.raises(Unprocessable, match=r"^a\.fits: the SCI header lacks ROLL_REF; add it there"):
        meta.require("ROLL_REF")
    with pytest.raises(Unprocessable, match=r"^a\.fits: the primary header lacks TGROUP; add it there"):
        meta.require("TGROUP")
