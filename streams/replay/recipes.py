"""Under which recipes a campaign goes: the events' own, another one, or one derived by ``--set``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from processors.recipes import BUILTIN, builtin, effective
from processors.recipes.settings import OVERRIDE_PREFIX
from schemas.canonical import digest
from schemas.errors import UsageError
from schemas.events import ProductEvent
from schemas.recipe import Override, Recipe, StepTable
from streams.stages import next_stage

_NAME: Final = 50


def new_recipes(
    events: Iterable[ProductEvent],
    own: Callable[[str], Recipe],
    *,
    named: Recipe | None = None,
    table: StepTable | None = None,
) -> dict[str, Recipe]:
    """Return the recipe under which events are to be replayed, by the digest of the one they name.

    Parameters
    ----------
    events : iterable of ProductEvent
        All of one topic.
    own : callable
        ``own(digest)`` returns the recipe that an event names.
    named : Recipe, optional
        What takes its place.
    table : mapping, optional
        Parameters laid over it, by step.

    Raises
    ------
    UsageError
        If a step, a parameter or a value is wrong, a reference file is not there, or a step of `table` does
        not run behind the topic.
    """
    chosen = list(events)
    _demand_behind(chosen, table or {})
    found: dict[str, Recipe] = {}
    for known in {event.recipe.digest for event in chosen}:
        base = anchored(named) if named else own(known)
        found[known] = derived(base, table or {})
        if (named or table) and not found[known].replaces_code:  # that may be installed with services only
            _demand_sound(found[known])
    return found


def derived(recipe: Recipe, table: StepTable) -> Recipe:
    """Return a recipe with parameters laid over all that it says, paths of reference files made absolute.

    It is the same, under the same name, whenever the same is laid over the same.
    """
    if not table:
        return recipe
    steps = _anchored(table)
    name = f"{recipe.name[:_NAME]}-{digest([recipe.digest, steps])[:8]}"
    if recipe.name in BUILTIN and recipe == builtin(recipe.name):
        # Its own values must stay weaker than the CRDS context's parameter references, so it stays below.
        return Recipe(name=name, base=recipe.name, steps=steps)
    if recipe.overrides:
        over = (*recipe.overrides, Override(when={}, steps=steps))
        return recipe.model_copy(update={"name": name, "overrides": over})
    joined = {step: {**recipe.steps.get(step, {}), **steps.get(step, {})} for step in {*recipe.steps, *steps}}
    return recipe.model_copy(update={"name": name, "steps": joined})


def anchored(recipe: Recipe) -> Recipe:
    """Return a recipe with the paths of its reference files made absolute."""
    overrides = tuple(item.model_copy(update={"steps": _anchored(item.steps)}) for item in recipe.overrides)
    return recipe.model_copy(update={"steps": _anchored(recipe.steps), "overrides": overrides})


def _anchored(table: StepTable) -> dict[str, dict[str, Any]]:
    return {
        step: {name: _absolute(name, value) for name, value in parameters.items()}
        for step, parameters in table.items()
    }


def _absolute(name: str, value: Any) -> Any:
    if not (name.startswith(OVERRIDE_PREFIX) and isinstance(value, str)):
        return value
    path = Path(value).expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"{name}: there is no file {value}; give the path of a reference file")
    return str(path)


def _demand_sound(recipe: Recipe) -> None:
    """Find what is wrong with a new recipe before it is given to services."""
    from processors.registry import STEPS

    effective(recipe, STEPS, {})


def _demand_behind(events: list[ProductEvent], table: StepTable) -> None:
    """Refuse parameters of steps that these events do not go through: nothing would change."""
    from processors.registry import STEPS

    if not events or not table:
        return
    behind = {step for event in events for step in _steps_behind(event.topic, event.keywords)}
    for step in table:
        if step in STEPS and step not in behind:
            raise UsageError(
                f"--set {step}: what is replayed from {events[0].topic} does not go through {step}, so "
                f"nothing would change; replay an earlier topic, or set one of {', '.join(sorted(behind))}"
            )


def _steps_behind(topic: str, keywords: Mapping[str, Any]) -> Iterable[str]:
    kind = str(keywords.get("EXP_TYPE", ""))
    while (stage := next_stage("association" if topic == "cal" else topic, kind)) is not None:
        yield from (step.name for step in stage.steps(keywords))
        topic = stage.target
