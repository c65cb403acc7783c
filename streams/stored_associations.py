"""Associations as the store holds them: who is missing in one, and what its products' headers say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.associations import Association
from schemas.events import AssociationEvent
from streams.store import Store

TABLE: Final = "calstream_table"
"""Field of an association that a user gave as a file: the file's name."""

_SINGLE: Final = "singleton"
_NAMED: Final = 3
_ROOM: Final = 65
"""Characters of value and comment that fit a card; astropy warns of others."""


def stored_association(event: AssociationEvent, store: Store) -> Association:
    """Return the association that an event announces."""
    with store.fetch(event.association) as path:
        return Association.model_validate_json(path.read_bytes())


def association_cards(association: Association | None, name: str) -> dict[str, Any]:
    """Return the FITS cards that tell from which association a product was made.

    Parameters
    ----------
    association : Association or None
        None for a product of a single exposure, which JWST's software calls a singleton.
    name : str
        Of the product; an association of our own, which is no file that anybody named, is called by it.
    """
    pool, table = _SINGLE, _SINGLE
    if association is not None:
        pool = association.asn_pool or "none"
        table = str(_field(association, TABLE) or f"{name}_asn.json")
    comments = {"ASNPOOL": "Name of the ASN pool", "ASNTABLE": "Name of the ASN table"}
    return {
        keyword: (value, comments[keyword] if len(value) + len(comments[keyword]) <= _ROOM else "")
        for keyword, value in (("ASNPOOL", pool), ("ASNTABLE", table))
    }


def shortfall(association: Association) -> str:
    """Return how many of its members an association has, and why not all; empty if all are there.

    Parameters
    ----------
    association : Association
        With ``calstream_failed`` and ``calstream_missing``, as the associator writes them.
    """
    there = sum(len(product.members) for product in association.products)
    reasons: dict[str, list[str]] = {}
    for failed in _field(association, "calstream_failed") or ():
        reasons.setdefault(f"failed in {failed['stage']}", []).append(str(failed["name"]))
    if missing := _field(association, "calstream_missing"):
        reasons["did not come"] = [str(name) for name in missing]
    if not reasons:
        return ""
    absent = sum(len(names) for names in reasons.values())
    why = "; ".join(f"{_listed(names)} {reason}" for reason, names in sorted(reasons.items()))
    return f"{there} of {there + absent} members: {why}"


def _field(association: Association, name: str) -> Any:
    extra: Mapping[str, Any] = association.model_extra or {}
    return extra.get(name)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
