"""Associations that a user gives as JWST's JSON files: their members and product names are the user's."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.associations import Association, AssociationProduct
from schemas.errors import Unprocessable
from schemas.events import FailureEvent, ProductEvent
from schemas.naming import exposure_name, suffix_of
from streams.associator.emissions import Emission, member, shared_keywords
from streams.associator.rules import group_id
from streams.associator.state import Arrival

_USER_RULE = "user"


def wanted(association: Association) -> dict[tuple[str, str], str]:
    """Return what an association asks for: role by exposure name and suffix.

    Raises
    ------
    Unprocessable
        If it has several products, or a member whose name is no exposure's.
    """
    if len(association.products) != 1:
        raise Unprocessable(
            f"the association has {len(association.products)} products; give one file for each of them"
        )
    members = association.products[0].members
    return {(exposure_name(m.expname), suffix_of(m.expname).lower()): m.exptype for m in members}


def from_file(
    association: Association,
    products: Mapping[tuple[str, str], ProductEvent],
    failures: Mapping[str, FailureEvent],
) -> Emission | None:
    """Return what goes out for a user's association; None while members are on their way, or if all failed.

    Parameters
    ----------
    association : Association
        As read from the file; its type is the stage that takes it.
    products : mapping of (str, str) to ProductEvent
        The current product of each member, by exposure name and suffix; all of one line and recipe.
    failures : mapping of str to FailureEvent
        The exposures that failed.

    Raises
    ------
    Unprocessable
        As :func:`wanted`; or if the product's name is no product name.
    """
    roles = wanted(association)
    if any(key not in products and key[0] not in failures for key in roles):
        return None
    there = [(products[key], role) for key, role in sorted(roles.items()) if key in products]
    return _emission(association, there, failures) if there else None


def _emission(
    association: Association, there: list[tuple[ProductEvent, str]], failures: Mapping[str, FailureEvent]
) -> Emission:
    name = exposure_name(association.products[0].name)
    newest = max((event for event, _ in there), key=lambda event: (event.generation, event.name))
    product = AssociationProduct(
        name=name, members=tuple(member(role, Arrival.of(event, ())) for event, role in there)
    )
    present = {event.name for event, _ in there}
    failed = [
        {"name": exposure, "stage": failures[exposure].stage, "error": failures[exposure].error}
        for exposure in sorted({key[0] for key in wanted(association)} - present)
    ]
    update = {"products": (product,), **({"calstream_failed": failed} if failed else {})}
    return Emission(
        association=association.model_copy(update=update),
        association_id=group_id(newest.line, _USER_RULE, {"name": name, "stage": association.asn_type}),
        name=name,
        stage=association.asn_type,
        line=newest.line,
        generation=newest.generation,
        campaign=newest.campaign,
        recipe=newest.recipe,
        keywords=shared_keywords(event.keywords for event, _ in there),
        completeness="complete",
    )
