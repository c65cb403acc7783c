"""Pipelines: ordered lists of steps, run on whole products or on blocks of integrations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from processors import arguments
from processors.options import suggestion
from processors.steps import Step, StepSettings
from schemas.errors import UsageError
from schemas.products import Product, concatenate
from schemas.references import References

Settings = Mapping[str, StepSettings]
"""How to run each step, by its name; one that is not there runs with its defaults, unless it is off."""

_DEFAULT, _OFF = StepSettings(), StepSettings(skip=True)


def _default(step: Step) -> StepSettings:
    return _OFF if step.off else _DEFAULT


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of steps that reads like a table of contents; call it as a function.

    Attributes
    ----------
    name : str
        As JWST spells it: detector1, image2, ...
    steps : tuple of Step
        In the order in which they run.
    """

    name: str
    steps: tuple[Step, ...]

    def __call__(
        self, product: Any, references: References | None = None, settings: Settings | None = None
    ) -> Any:
        """Run all steps on a product, which stays as it is.

        Parameters
        ----------
        product : Product
            What the first step takes.
        references : References, optional
            Needed where steps name reference types.
        settings : mapping of str to StepSettings, optional
            By step name.

        Raises
        ------
        UsageError
            If `product` is of a kind that the first step does not take, or settings are for no step.
        """
        how = settings or {}
        given = arguments.references_of(references, f"pipeline {self.name}")
        self._check(how)
        if self.steps:
            arguments.check_product(product, self._first(how).function, f"pipeline {self.name}")
        results = list(self.stream([replace(product, donated=False)], given, how, donate=False))
        return replace(results[0], donated=False)

    def stream(
        self, blocks: Iterable[Any], references: References, settings: Settings, *, donate: bool = True
    ) -> Iterator[Any]:
        """Run all steps on blocks of integrations as they come.

        Parameters
        ----------
        blocks : iterable of Product
            Blocks of one exposure in order; any division gives the same result.
        references : References
            Of the exposure.
        settings : mapping of str to StepSettings
            By step name.
        donate : bool
            Whether the blocks' arrays may be overwritten.

        Yields
        ------
        Product
            A block for each block; one for all of them behind a step whose scope is the exposure, and fewer
            behind one that must see several integrations at once.
        """
        stream: Iterator[Any] = iter(blocks)
        if donate:
            stream = map(_donated, stream)
        for step in self.steps:
            stream = _through(step, stream, references, settings.get(step.name, _default(step)))
        yield from stream

    def until(self, name: str) -> Pipeline:
        """Return the pipeline cut behind the step `name`.

        Raises
        ------
        UsageError
            If it has no such step.
        """
        names = [step.name for step in self.steps]
        if name not in names:
            raise UsageError(f"pipeline {self.name} has no step {name!r}; {suggestion(name, names)}")
        return replace(self, steps=self.steps[: names.index(name) + 1])

    def _check(self, settings: Settings) -> None:
        if settings:
            from processors.registry import STEPS  # which is made of pipelines

            known = {*STEPS, *(step.name for step in self.steps)}
            arguments.check_settings(settings, StepSettings, known, self.name)

    def _first(self, settings: Settings) -> Step:
        """Return the step that sees the product first."""
        how = [(step, settings.get(step.name, _default(step))) for step in self.steps]
        return next((chosen.use or step for step, chosen in how if not chosen.skip), self.steps[0])


def _donated(block: Product) -> Product:
    return replace(block, donated=True)


def _through(
    step: Step, blocks: Iterator[Any], references: References, settings: StepSettings
) -> Iterator[Any]:
    if not settings.skip and (settings.use or step).scope_with(settings.options) == "exposure":
        held: list[Any] = list(blocks)
        held = [concatenate(held)]
        held.append(_owned(step, held.pop(), references, settings, None)[0])
        yield held.pop()
        return
    if not settings.skip and settings.use is None and step.together is not None:
        blocks = _in_company(blocks, step, settings)
    carry = None
    for block in blocks:
        result, carry = _owned(step, block, references, settings, carry)
        del block  # a generator that waits holds its variables, and each is a whole ramp
        held = [result]
        del result
        yield held.pop()


def _in_company(blocks: Iterator[Any], step: Step, settings: StepSettings) -> Iterator[Any]:
    """Yield blocks of whole multiples of the integrations that a step must see; the last has the rest too."""
    held: list[Any] = []
    for block in blocks:
        held.append(block)
        del block  # a generator that waits holds its variables
        size = step.together_with(settings.options, held[0].shape[1])
        if size == 1:
            yield held.pop()
            continue
        number = sum(part.shape[0] for part in held)
        ready = (number // size - 1) * size
        if ready > 0:
            held = [concatenate(held)]
            held = [held[0].integrations(0, ready), held[0].integrations(ready, number)]
            yield held.pop(0)
    if held:
        held = [concatenate(held)]
        yield held.pop()


def _owned(
    step: Step, block: Product, references: References, settings: StepSettings, carry: Any
) -> tuple[Any, Any]:
    """Run a step; what it made belongs to the pipeline, unless it is the user's input unchanged."""
    result, carry = step.run(block, references, settings, carry)
    if not result.donated and not _shares_arrays(result, block):
        result = replace(result, donated=True)
    return result, carry


def _shares_arrays(result: Product, block: Product) -> bool:
    given = list(block.arrays().values())
    made = result.arrays().values()
    return any(np.may_share_memory(array, other) for array in made for other in given)
