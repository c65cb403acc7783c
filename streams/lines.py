"""Lines: named streams of work, each under one recipe, side by side on the same topics."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from processors.recipes import builtin
from schemas.errors import UsageError
from schemas.events import RecipeReference
from schemas.recipe import Recipe
from schemas.records import LineRecord
from streams.bus import Bus, Outgoing
from streams.recipes import freeze
from streams.store import Store
from streams.topics import LINES

MAIN: Final = "main"
"""The line that is there unless it was stopped."""


def lines(bus: Bus, store: Store) -> dict[str, LineRecord]:
    """Return all lines by name; ``main`` under the recipe ``optimal`` if nothing was said of it."""
    recipe = builtin("optimal")
    main = LineRecord(name=MAIN, recipe=RecipeReference(name=recipe.name, digest=freeze(recipe, store)))
    found = {MAIN: main}
    for message in bus.read(LINES):
        if message.value:
            try:
                found[message.key] = LineRecord.model_validate_json(message.value)
            except ValidationError:  # a later version's
                continue
    return found


def add_line(name: str, recipe: Recipe, bus: Bus, store: Store) -> LineRecord:
    """Make a line, or give it another recipe from now on.

    Raises
    ------
    UsageError
        If the name is no name of a line.
    """
    reference = RecipeReference(name=recipe.name, digest=freeze(recipe, store))
    try:
        line = LineRecord(name=name, recipe=reference)
    except ValidationError:
        raise UsageError(
            f"{name!r} is no name of a line; use lower-case letters, digits, '_' and '-', at most 64 of them"
        ) from None
    _say(line, bus)
    return line


def stop_line(name: str, bus: Bus, store: Store) -> LineRecord:
    """Let no new exposures go on a line; what is on it goes to its end.

    Raises
    ------
    UsageError
        If there is no such line.
    """
    known = lines(bus, store)
    if name not in known:
        raise UsageError(f"there is no line {name!r}; choose one of {', '.join(sorted(known))}")
    stopped = known[name].model_copy(update={"active": False})
    _say(stopped, bus)
    return stopped


def _say(line: LineRecord, bus: Bus) -> None:
    bus.publish([Outgoing(topic=LINES, key=line.name, value=line.to_bytes())])
