"""Associations: which exposures are processed together, in JWST's own JSON form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.canonical import canonical_json
from schemas.errors import Unprocessable, explained


class Member(BaseModel):
    """One member of an association's product.

    Attributes
    ----------
    expname : str
        File name, relative to the association's own folder or absolute.
    exptype : str
        Its role: science, background, psf, sourcecat, ...
    identity, digest, uri : str
        What calstream adds: ``line/name/suffix``, content digest, where the file is.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    expname: str
    exptype: str = "science"
    identity: str = ""
    digest: str = ""
    uri: str = ""


class AssociationProduct(BaseModel):
    """One product that an association asks for: its name and its members."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    members: tuple[Member, ...] = Field(min_length=1)


class Association(BaseModel):
    """An association, as JWST's association generator writes them; unknown fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    asn_type: str
    asn_rule: str = ""
    asn_id: str = ""
    program: str = ""
    target: str = ""
    asn_pool: str = ""
    version_id: str | None = None
    products: tuple[AssociationProduct, ...] = Field(min_length=1)

    def to_json(self) -> str:
        """Return canonical JSON: the same association is the same text."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True))


def read_association(path: str | Path) -> Association:
    """Read a JWST association file.

    Raises
    ------
    Unprocessable
        If it is not there, is no JSON, or is no association.
    """
    with explained(path, "read"):
        content = Path(path).read_bytes()
    try:
        tree: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"it cannot be read as JSON ({error})") from None
    if not isinstance(tree, dict):
        raise _refused(path, f"the JSON is a {type(tree).__name__} where an object with products is needed")
    try:
        return Association.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = first["msg"][0].lower() + first["msg"][1:]
        raise _refused(path, f"{place}: {what}") from None


def _refused(path: str | Path, reason: str) -> Unprocessable:
    return Unprocessable(
        f"{path}: this is no JWST association, {' '.join(reason.split())}; mend it or give a *_asn.json file"
    )
