"""The layers of a recipe: the built-in one below it, its steps, the overrides that hold for an exposure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from processors.options import suggestion
from schemas.errors import UsageError
from schemas.keywords import EVENT_KEYWORDS, SCIENCE_KEYWORDS
from schemas.recipe import Override, Recipe, StepTable, parse_recipe

RECIPE: Final = "recipe"
OVERRIDE: Final = "override"

Layer = tuple[str, StepTable]
"""Where values come from, and the values by step."""

BUILTIN: Final = ("baseline", "optimal")
"""Names of the recipes that are part of the package."""

FRIENDLY: Final = {
    "instrument": "INSTRUME",
    "detector": "DETECTOR",
    "exp_type": "EXP_TYPE",
    "filter": "FILTER",
    "pupil": "PUPIL",
    "channel": "CHANNEL",
    "band": "BAND",
    "subarray": "SUBARRAY",
    "readpatt": "READPATT",
    "module": "MODULE",
    "grating": "GRATING",
}
"""What an override may call a FITS keyword."""

SERVES: Final = {"persistence_history": "persistence"}
"""Steps that are asked for together with another, which needs what they make."""

_KEYWORDS: Final = frozenset((*EVENT_KEYWORDS, *SCIENCE_KEYWORDS))


@cache
def builtin(name: str) -> Recipe:
    """Return a recipe of the package.

    Parameters
    ----------
    name : str
        ``optimal`` or ``baseline``.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in BUILTIN:
        raise UsageError(f"there is no built-in recipe {name!r}; {suggestion(name, BUILTIN)}")
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return parse_recipe(text, f"{name}.yaml")


def merged(recipe: Recipe) -> Recipe:
    """Return a recipe that says all that `recipe` and the built-in one below it say, and has no base.

    Parameters
    ----------
    recipe : Recipe
        As written.

    Raises
    ------
    UsageError
        If its base is no built-in recipe.
    """
    if recipe.base is None:
        return recipe
    base = merged(builtin(recipe.base))
    changes: dict[str, Any] = {"base": None, "handlers": {**base.handlers, **recipe.handlers}}
    if recipe.crds_context is None:
        changes["crds_context"] = base.crds_context
    if recipe.crds_parameters is None:
        changes["crds_parameters"] = base.crds_parameters
    if base.overrides:
        # The recipe's own values win over the overrides of its base, so they come behind them.
        changes["steps"] = base.steps
        own = Override(when={}, steps=recipe.steps)
        changes["overrides"] = (*base.overrides, own, *recipe.overrides)
    else:
        changes["steps"] = _joined(base.steps, recipe.steps)
    return recipe.model_copy(update=changes)


def applies(when: Mapping[str, str | tuple[str, ...]], keywords: Mapping[str, Any]) -> bool:
    """Tell whether an override's conditions hold for an exposure.

    Parameters
    ----------
    when : mapping of str to str or tuple of str
        For each friendly name or FITS keyword the values of which one must be there; case does not matter.
    keywords : mapping of str to object
        FITS keywords of the exposure; a condition on one that is not there does not hold.

    Raises
    ------
    UsageError
        If a condition names no keyword.
    """
    for key in when:
        _known(key, keywords)
    return all(_holds(key, values, keywords) for key, values in when.items())


def layers(recipe: Recipe, keywords: Mapping[str, Any]) -> tuple[list[Layer], list[Layer]]:
    """Return the tables of a recipe that hold for an exposure, the weakest first.

    Returns
    -------
    below, above : list of (str, mapping)
        Origin and parameters by step: of built-in recipes, which are weaker than the CRDS context's parameter
        references, and of the user's recipe, which is stronger.
    """
    chain = [recipe]
    while chain[-1].base is not None:
        chain.append(builtin(chain[-1].base))
    below: list[Layer] = []
    above: list[Layer] = []
    for one in reversed(chain):
        target = below if one.name in BUILTIN and one == builtin(one.name) else above
        target.append((RECIPE, one.steps))
        # One that always holds is how `merged` puts a recipe's own values behind its base's overrides.
        target += [
            (OVERRIDE if item.when else RECIPE, item.steps)
            for item in one.overrides
            if applies(item.when, keywords)
        ]
    return below, above


def asks_for(recipe: Recipe, name: str, keywords: Mapping[str, Any]) -> bool:
    """Tell whether a recipe asks for a step that is off unless asked for: ``skip: false``.

    Parameters
    ----------
    recipe : Recipe
        As written; what CRDS says of the step does not count.
    name : str
        Of the step.
    keywords : mapping of str to object
        FITS keywords of the exposure.
    """
    below, above = layers(recipe, keywords)
    return asked_for([table for _, table in (*below, *above)], name)


def asked_for(tables: Iterable[StepTable], name: str) -> bool:
    """Tell the same of tables, the weakest first."""
    every = list(tables)
    said = [table[name]["skip"] for table in every if "skip" in table.get(name, {})]
    if not said and name in SERVES:
        return asked_for(every, SERVES[name])
    return bool(said) and said[-1] is False


def _joined(*tables: StepTable) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for table in tables:
        for name, parameters in table.items():
            result.setdefault(name, {}).update(parameters)
    return result


def _known(key: str, keywords: Mapping[str, Any]) -> None:
    keyword = FRIENDLY.get(key.lower(), key.upper())
    if keyword in _KEYWORDS or keyword in keywords:
        return
    hint = suggestion(key.lower(), (*FRIENDLY, *(word.lower() for word in _KEYWORDS)))
    if hint.startswith("choose"):
        hint = f"choose from {', '.join(FRIENDLY)}, or another FITS keyword"
    raise UsageError(f"an override's condition {key!r} is no keyword; {hint}")


def _holds(key: str, values: str | tuple[str, ...], keywords: Mapping[str, Any]) -> bool:
    keyword = FRIENDLY.get(key.lower(), key.upper())
    wanted = (values,) if isinstance(values, str) else values
    return keyword in keywords and _text(keywords[keyword]) in {_text(value) for value in wanted}


def _text(value: Any) -> str:
    """Return the one text for values that mean the same: 10, 10.0 and "10"; T, true and True."""
    text = str(value).strip().upper()
    if text in ("T", "F"):
        return "TRUE" if text == "T" else "FALSE"
    try:
        return repr(float(text))
    except ValueError:
        return text
