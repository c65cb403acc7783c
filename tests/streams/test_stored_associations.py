"""What an association says of who is missing, and what products' headers say of it."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.associations import Association, AssociationProduct, Member
from schemas.meta import Keywords
from streams.stored_associations import TABLE, association_cards, shortfall


def association(members: int = 2, **extra: Any) -> Association:
    there = tuple(Member(expname=f"a{n}_cal.fits") for n in range(members))
    return Association(
        asn_type="image3", products=(AssociationProduct(name="mosaic", members=there),), **extra
    )


def failed(*names: str, stage: str = "image2") -> list[dict[str, str]]:
    return [{"name": name, "stage": stage, "error": "Unprocessable"} for name in names]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({}, ""),
        ({"calstream_failed": failed("b")}, "2 of 3 members: b failed in image2"),
        ({"calstream_missing": ["d", "e"]}, "2 of 4 members: d, e did not come"),
        (
            {"calstream_failed": [*failed("b"), *failed("c", stage="detector1")], "calstream_missing": ["d"]},
            "2 of 5 members: d did not come; c failed in detector1; b failed in image2",
        ),
        ({"calstream_failed": failed(*"bcdef")}, "2 of 7 members: b, c, d and 2 more failed in image2"),
    ],
)
def test_a_shortfall_is_counted_and_explained(extra: dict[str, Any], said: str) -> None:
    assert shortfall(association(**extra)) == said


@pytest.mark.filterwarnings("error")
def test_cards_of_products() -> None:
    def values(*given: Any) -> tuple[str, str]:
        cards = association_cards(*given)
        header = Keywords().with_cards(association_cards(None, "member")).with_cards(cards)
        header.header().tostring()
        return header["ASNTABLE"], header["ASNPOOL"]

    assert values(None, "jw1") == ("singleton", "singleton")
    assert values(association(), "mosaic") == ("mosaic_asn.json", "none")
    named = association(asn_pool="p.csv", **{TABLE: "mine_asn.json"})
    long = f"{'m' * 128}_asn.json"
    assert values(association(), "m" * 128) == (long, "none")
    assert values(named, "mosaic") == ("mine_asn.json", "p.csv")
