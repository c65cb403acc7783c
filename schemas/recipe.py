"""Recipes: which steps run, and with which parameters, as a YAML file says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.canonical import canonical_json, digest
from schemas.errors import UsageError

StepTable = Mapping[str, Mapping[str, Any]]
"""For each step its parameters, and the words ``skip``, ``use``, ``override_REFTYPE``."""


class Override(BaseModel):
    """Parameters for some exposures only.

    Attributes
    ----------
    when : mapping of str to str or list of str
        Conditions, all of which must hold: ``instrument``, ``detector``, ``exp_type``, ``filter``, ... or any
        FITS keyword.
    steps : mapping
        As in the recipe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: Mapping[str, str | tuple[str, ...]]
    steps: StepTable = Field(default_factory=dict)


class Handler(BaseModel):
    """A service of the user's own that takes over a stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")


class Recipe(BaseModel):
    """A recipe as written; :mod:`processors.recipes` works out what it means for an exposure.

    Attributes
    ----------
    name : str
        How people call it; it does not enter run keys.
    base : str, optional
        Name of the built-in recipe that it changes: ``optimal`` or ``baseline``.
    crds_context : str, optional
        For example ``jwst_1234.pmap``; the operational one when absent.
    crds_parameters : bool, optional
        Whether the context's ``pars-*`` references apply.
    publish_ramp : bool
        Whether a fused service stores and publishes the ramp all the same.
    steps, overrides, handlers
        Parameters by step; parameters for some exposures; stages that another service takes over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="unnamed", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    base: str | None = None
    crds_context: str | None = Field(default=None, pattern=r"^jwst_\d{4,}\.pmap$")
    crds_parameters: bool | None = None
    publish_ramp: bool = False
    steps: StepTable = Field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    handlers: Mapping[str, Handler] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return the SHA-256 by which the store and events know the recipe."""
        return digest(self.model_dump(mode="json"))

    @property
    def replaces_code(self) -> bool:
        """Tell whether it names code to run, which the operator must have enabled."""
        tables = (self.steps, *(override.steps for override in self.overrides))
        return any("use" in settings for table in tables for settings in table.values())

    def to_yaml(self) -> str:
        """Return the recipe as YAML in canonical order."""
        text: str = yaml.safe_dump(json.loads(canonical_json(self.model_dump(mode="json"))), sort_keys=True)
        return text


def parse_recipe(text: str, where: str) -> Recipe:
    """Return the recipe in a YAML text.

    Parameters
    ----------
    text : str
        YAML.
    where : str
        Name of the file, for an error's sentence.

    Raises
    ------
    UsageError
        If it is no YAML, or no recipe.
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: this is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UsageError(
            f"{where}: a recipe is a YAML mapping with `steps:`, this is a {type(tree).__name__}"
        )
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{where}: {place}: {first['msg'].lower()}; a recipe has {', '.join(Recipe.model_fields)}"
        ) from None
