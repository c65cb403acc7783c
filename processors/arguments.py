"""What a caller gives to a step or a pipeline: checked before anything runs, a sentence for each mistake."""

from __future__ import annotations

import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from processors.options import Options, suggestion, validated
from schemas.errors import UsageError
from schemas.products import Product
from schemas.references import References


def options_of(kind: type[Options], options: Any, values: Mapping[str, Any], step: str) -> Options:
    """Return the options that a caller means.

    Parameters
    ----------
    kind : type
        Class of the step's options.
    options : object
        What was given as `options`, None for the defaults.
    values : mapping
        What was given by name; it is laid over `options`.
    step : str
        Name of the step.

    Raises
    ------
    UsageError
        If `options` is not of that class, or a value is wrong.
    """
    if options is None:
        return validated(kind, values, step)
    if not isinstance(options, kind) or (kind is Options and type(options) is not Options):
        names = ", ".join(f"{name}=..." for name in list(kind.model_fields)[:1])
        wanted = (
            f"give {kind.__name__}({names}), or single values by name" if names else "it has none to give"
        )
        raise UsageError(f"step {step}: options are a {type(options).__name__} and not its own; {wanted}")
    return validated(type(options), {**options.model_dump(), **values}, step) if values else options


def references_of(references: Any, name: str) -> References:
    """Return the references that a caller means, none for None.

    Raises
    ------
    UsageError
        If they are something else; the sentence begins with `name`, the step's or pipeline's.
    """
    if references is None:
        return References()
    if not isinstance(references, References):
        raise UsageError(
            f"{name}: references are a {type(references).__name__}; give References({{reftype: reference}})"
        )
    return references


def check_product(product: Any, function: Callable[..., Any], name: str) -> None:
    """Check that `product` is one that a step's function takes.

    Parameters
    ----------
    product : object
        What the caller gave.
    function : callable
        Of the step. The annotation of its first parameter tells what it takes; anything if there is none.
    name : str
        How to name the step or pipeline.

    Raises
    ------
    UsageError
        If it is no product, or one of another kind.
    """
    kinds = accepted(function)
    wanted = " or ".join(kind.__name__ for kind in kinds)
    if isinstance(product, str | os.PathLike):
        raise UsageError(
            f"{name} takes a product and not a path; read it first: read({os.fspath(product)!r})"
        )
    if not isinstance(product, Product):
        raise UsageError(
            f"{name} takes a {wanted}, and this is a {type(product).__name__}; "
            "read a file with schemas.read, or make one"
        )
    if not isinstance(product, kinds):
        shown = product.meta.get("FILENAME", "the product")
        raise UsageError(
            f"{shown}: {name} takes a {wanted}, and this is a {type(product).__name__}; give that"
        )


def accepted(function: Callable[..., Any]) -> tuple[type[Product], ...]:
    """Return the kinds of product that a function takes as its first parameter, `Product` for any."""
    try:
        first = next(iter(inspect.signature(function).parameters))
        hint = typing.get_type_hints(function).get(first, Product)
    except (
        NameError,
        TypeError,
        ValueError,
        AttributeError,
        StopIteration,
    ):  # a user's own: not ours to judge
        return (Product,)
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (hint,)
    if all(isinstance(kind, type) and issubclass(kind, Product) for kind in kinds):
        return tuple(kinds)
    return (Product,)


def check_settings(settings: Mapping[str, Any], kind: type, known: Iterable[str], name: str) -> None:
    """Check that every entry of a pipeline's settings is for a step that there is.

    Parameters
    ----------
    settings : mapping of str to object
        By step name.
    kind : type
        What each must be: StepSettings.
    known : iterable of str
        Names of steps.
    name : str
        Of the pipeline.

    Raises
    ------
    UsageError
        If one is for no step, or is something else.
    """
    names = tuple(known)
    for step, given in settings.items():
        if step not in names:
            raise UsageError(f"pipeline {name}: there is no step {step!r}; {suggestion(step, names)}")
        if not isinstance(given, kind):
            raise UsageError(
                f"pipeline {name}: the settings of {step} are a {type(given).__name__}; "
                f"give {kind.__name__}(options=...)"
            )
