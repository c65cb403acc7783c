"""Persistence histories that come from files: named by the user, or beside the ramps they were made with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from schemas.content import file_digest
from schemas.events import Artifact
from schemas.history_file import history_digest, read_history
from schemas.keywords import event_keywords
from schemas.naming import exposure_name, product_filename
from schemas.recipe import Recipe
from streams.associator.companions import looks_back
from streams.inputs import InputProduct, is_history

TAKEN: Final = "goes along with the exposures after it"
OFF: Final = "not needed: the recipe has persistence off for it"
MADE_ANEW: Final = "not needed: it is made anew from the raw exposure"


def fate(history: InputProduct, recipe: Recipe, *, raw: bool) -> str:
    """Return what becomes of a history: one of the sentences here.

    Parameters
    ----------
    history : InputProduct
        The file, opened.
    recipe : Recipe
        With persistence on or off.
    raw : bool
        Whether the raw exposure is processed as well.
    """
    if raw:
        return MADE_ANEW
    return TAKEN if looks_back(history.keywords, recipe) else OFF


def history_beside(ramp: InputProduct) -> Path:
    """Return where the history that was made with a ramp is, if it is there."""
    stem = ramp.path.name.removesuffix("_ramp.fits")
    name = ramp.name if stem == ramp.path.name else stem
    return ramp.path.with_name(product_filename(name, "persistence"))


def open_history(path: Path) -> InputProduct:
    """Check the file of a history and return what its root event says; it stays where it is.

    Raises
    ------
    CalstreamError
        If it cannot be read, or is none.
    """
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
