"""What is asked of a function of the user's in a built-in step's place, and who is told to mend it."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from schemas.errors import CalstreamError, Unprocessable
from schemas.products import Product, Ramp, Rate

if TYPE_CHECKING:
    from processors.steps import Step

ADVICE: Final = "mend it or take it out of the recipe"


@contextmanager
def blamed(name: str, implementation: str, passing: type[Exception]) -> Iterator[None]:
    """Turn whatever the user's function raises in the block into a sentence that names it.

    Parameters
    ----------
    name, implementation : str
        Of the step and of the function.
    passing : type
        The exception that is an outcome.

    Raises
    ------
    Unprocessable
        For all but `passing`, failures that are explained already, and the user's own interruption.
    """
    try:
        yield
    except (CalstreamError, passing, KeyboardInterrupt):
        raise
    except BaseException as error:  # the function may also try to end the program
        said = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise Unprocessable(f"step {name}: {implementation} raised {said}; {ADVICE}") from error


def pair(result: Any, step: Step) -> tuple[Any, Any]:
    """Return product and carry, which a step with a carry has to return.

    Raises
    ------
    Unprocessable
        If it returned something else.
    """
    if isinstance(result, tuple) and len(result) == 2:
        return result
    what = f"{_kind(result)} where the product and its carry are needed"
    raise _wrong(step, step.implementation, what)


def check(result: Any, product: Any, original: Step, implementation: str) -> None:
    """Check that what takes a step's place made what the step would have made.

    Parameters
    ----------
    result, product : object
        What it returned, and what it was given.
    original : Step
        The built-in step.
    implementation : str
        Dotted path of the user's function.

    Raises
    ------
    Unprocessable
        If the result is no product, one of another kind, or one whose arrays have other shapes than the
        steps behind it count on.
    """
    given, wanted = _kinds(original.function, product)
    if not isinstance(result, wanted):
        raise _wrong(original, implementation, f"{_kind(result)} where a {wanted.__name__} is needed")
    if original.scope == "exposure" or not isinstance(product, Ramp | Rate):
        return
    if wanted is given:
        before = product.arrays()
    elif isinstance(product, Ramp) and wanted is Rate:
        before = dict.fromkeys(("data", "err", "dq", "var_poisson", "var_rnoise"), product.data[:, 0])
    else:
        return
    for name, array in result.arrays().items():
        if name in before:
            _check_shape(name, array.shape, before[name].shape, original, implementation)


def check_planes(rate: Rate, shape: tuple[int, ...], original: Step, implementation: str) -> None:
    """Check that every array of a rate has one shape: where a step takes away an axis, as an average does.

    Parameters
    ----------
    rate : Rate
        What the user's function returned.
    shape : tuple of int
        What its arrays must have; `shares` are for the average itself, and in no file.
    original : Step
        The built-in step.
    implementation : str
        Dotted path of the user's function.

    Raises
    ------
    Unprocessable
        If one has another shape.
    """
    for name, array in rate.arrays().items():
        if name != "shares":
            _check_shape(name, array.shape, shape, original, implementation)


def _check_shape(
    name: str, given: tuple[int, ...], wanted: tuple[int, ...], original: Step, implementation: str
) -> None:
    if given != wanted:
        raise _wrong(original, implementation, f"{name} of shape {given} where {wanted} is needed")


def _wrong(original: Step, implementation: str, what: str) -> Unprocessable:
    return Unprocessable(f"step {original.name}: {implementation} returned {what}; {ADVICE}")


def _kind(result: Any) -> str:
    return "None" if result is None else f"a {type(result).__name__}"


def _kinds(function: Callable[..., Any], product: Any) -> tuple[Any, type[Product]]:
    """Return the kinds of product that a built-in step takes and gives, as it declares.

    Of several kinds it gives that which it is given; with a carry the product comes first.
    """
    hints = typing.get_type_hints(function)
    declared = hints.pop("return", Product)
    if typing.get_origin(declared) is tuple:
        declared = typing.get_args(declared)[0]
    first = next(iter(hints.values()), None)
    return _one_of(first, product), _one_of(declared, product) or Product


def _one_of(declared: Any, product: Any) -> Any:
    """Return the one kind of product that is declared, or that of several which the product is of."""
    kinds = [kind for kind in typing.get_args(declared) or (declared,) if isinstance(kind, type)]
    kinds = [kind for kind in kinds if issubclass(kind, Product)]
    return next((kind for kind in kinds if len(kinds) == 1 or isinstance(product, kind)), None)
