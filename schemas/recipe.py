"""Recipes: which steps run, and with which parameters, as a YAML file says."""

from __future__ import annotations

import difflib
import json
from collections.abc import Hashable, Mapping
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


_MODEL_AT: Mapping[str, type[BaseModel]] = {"overrides": Override, "handlers": Handler}


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
        tree = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{where}: this is not YAML ({reason}); mend it there") from None
    if not isinstance(tree, dict):
        raise UsageError(
            f"{where}: a recipe is a YAML mapping with `steps:`, this is a {type(tree).__name__}; "
            "write `steps:` and below it the steps"
        )
    try:
        recipe = Recipe.model_validate(tree)
        recipe.to_yaml().encode()
    except ValidationError as error:
        raise UsageError(f"{where}: {_advice(error)}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{where}: it cannot be stored ({error}); use plain values and Unicode text"
        ) from None
    return recipe


def _advice(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(_MODEL_AT.get(str(first["loc"][0]), Recipe).model_fields)
        near = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
        guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"{place}: there is no such field; {guess}"
    what = first["msg"][0].lower() + first["msg"][1:]
    return f"{place}: {what}; a recipe has {', '.join(Recipe.model_fields)}"


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, without names given twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name != "<<" and name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name!r} is given twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)
