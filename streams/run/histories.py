"""Persistence histories that a run is given, instead of making them: named, or beside the ramps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import CalstreamError
from schemas.recipe import Recipe
from streams.associator.companions import looks_back
from streams.histories import TAKEN, fate, history_beside, open_history
from streams.inputs import InputAssociation, InputProduct, RefusedInput
from streams.run.report import Ending


@dataclass(frozen=True, kw_only=True)
class GivenHistories:
    """The histories that a run takes from files.

    Attributes
    ----------
    taken : tuple of InputProduct
        Those that exposures may need.
    endings : tuple of Ending
        What becomes of those that the user named.
    refused : tuple of RefusedInput
        Those that cannot be read.
    """

    taken: tuple[InputProduct, ...] = ()
    endings: tuple[Ending, ...] = ()
    refused: tuple[RefusedInput, ...] = ()


def given_histories(
    named: Sequence[Path], inputs: Iterable[InputProduct | InputAssociation], recipe: Recipe
) -> GivenHistories:
    """Return the histories that were named, and those beside ramps that have persistence on.

    Parameters
    ----------
    named : sequence of Path
        Files that :func:`streams.inputs.is_history` is true of.
    inputs : iterable
        What else the user named, checked.
    recipe : Recipe
        With what overrules it.
    """
    products = [item for item in inputs if isinstance(item, InputProduct)]
    raw = {item.name for item in products if item.level == "raw"}
    ramps = [item for item in products if item.suffix == "ramp" and looks_back(item.keywords, recipe)]
    beside = [path for path in map(history_beside, ramps) if path.exists()]
    taken: dict[str, InputProduct] = {}
    endings: list[Ending] = []
    refused: list[RefusedInput] = []
    for path in dict.fromkeys([*named, *beside]):
        try:
            item = open_history(path)
        except CalstreamError as error:
            refused.append(RefusedInput(path=path, error=error))
            continue
        reason = fate(item, recipe, raw=item.name in raw)
        if reason == TAKEN:
            taken.setdefault(item.name, item)
        if path in named:
            endings.append(Ending(name=path.name.removesuffix(".fits"), level="ramp", reason=reason))
    return GivenHistories(taken=tuple(taken.values()), endings=tuple(endings), refused=tuple(refused))
