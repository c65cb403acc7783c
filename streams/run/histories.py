"""Persistence histories that a run is given, instead of making them: named, or beside the ramps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.content import file_digest
from schemas.errors import CalstreamError
from schemas.events import Artifact
from schemas.history_file import history_digest, read_history
from schemas.keywords import event_keywords
from schemas.naming import exposure_name, product_filename
from schemas.recipe import Recipe
from streams.associator.companions import looks_back
from streams.inputs import InputAssociation, InputProduct, RefusedInput, is_history
from streams.run.report import Ending

_TAKEN = "goes along with the exposures after it"
_OFF = "not needed: the recipe has persistence off for it"
_MADE_ANEW = "not needed: it is made anew from the raw exposure"


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
    beside = [path for path in map(_beside, ramps) if path.exists()]
    taken: dict[str, InputProduct] = {}
    endings: list[Ending] = []
    refused: list[RefusedInput] = []
    for path in dict.fromkeys([*named, *beside]):
        try:
            item = _opened(path)
        except CalstreamError as error:
            refused.append(RefusedInput(path=path, error=error))
            continue
        reason = _MADE_ANEW if item.name in raw else _TAKEN if looks_back(item.keywords, recipe) else _OFF
        if reason is _TAKEN:
            taken.setdefault(item.name, item)
        if path in named:
            endings.append(Ending(name=path.name.removesuffix(".fits"), level="ramp", reason=reason))
    return GivenHistories(taken=tuple(taken.values()), endings=tuple(endings), refused=tuple(refused))


def _beside(ramp: InputProduct) -> Path:
    """Return where the history that was made with a ramp is."""
    stem = ramp.path.name.removesuffix("_ramp.fits")
    name = ramp.name if stem == ramp.path.name else stem
    return ramp.path.with_name(product_filename(name, "persistence"))


def _opened(path: Path) -> InputProduct:
    history = read_history(path)
    said = history.meta.primary.get("FILENAME")
    artifact = Artifact(
        uri=path.absolute().as_uri(),
        size=path.stat().st_size,
        sha256=file_digest(path),
        content=history_digest(history),
    )
    return InputProduct(
        path=path,
        name=exposure_name(path.name, str(said) if said and is_history(Path(str(said))) else None),
        suffix="persistence",
        level="ramp",
        keywords=event_keywords(history.meta.primary),
        artifact=artifact,
    )
