"""The contract of a step: a pure function from product to product, and what the framework does around it.

A step's author writes ``function(product, references, options) -> product``. The framework checks the
options, refuses a product that has had the step, writes the status keyword, the parameters and the names and
digests of the references into the product, and sees to it that nobody's input is altered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from processors import arguments, replaced
from processors.options import Options
from schemas.errors import CalstreamError, Unprocessable
from schemas.keywords import REFERENCE_KEYWORD
from schemas.meta import StepRecord
from schemas.products import Product
from schemas.references import References

Scope = Literal["group", "integration", "exposure"]

STATUS = {"complete": "COMPLETE", "skipped": "SKIPPED", "not applicable": "SKIPPED"}
"""Value of JWST's status keyword for each outcome."""


class NotApplicable(Exception):  # noqa: N818  an outcome, not an error
    """Raised by a step that has nothing to do for this exposure; its message is the reason."""


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How one step is to be run.

    Attributes
    ----------
    options : Options, optional
        Its effective options; the step's defaults when None.
    skip : bool
        Whether the recipe says not to run it.
    origins : mapping of str to str
        Where each option that is not the default came from.
    overrides : mapping of str to str
        For a reference type, the path of a file to take instead of CRDS's.
    use : Step, optional
        The step that replaces it.
    references : References, optional
        To take instead of the exposure's, where files were overridden for this step.
    watch : callable, optional
        ``watch(name)`` gives a context in which the step's own function runs: for whoever measures it.
    """

    options: Options | None = None
    skip: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    use: Step | None = None
    references: References | None = None
    watch: Callable[[str], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a pipeline; call it as a function.

    Attributes
    ----------
    name : str
        As JWST spells it.
    function : callable
        ``function(product, references, options)``; with `carries`, ``function(product, references, options,
        carry)`` which returns the product and the next carry.
    options_type : type
        Class of its options.
    references : tuple of str
        Reference types that it needs.
    optional : tuple of str
        Reference types that it takes where there are any.
    scope : str, or callable
        What it must see at once: ``group``, ``integration`` or the whole ``exposure``; a function of the
        options where it depends on them.
    status : str
        JWST's keyword for its outcome, for example S_JUMP.
    carries : callable, optional
        Makes the carry with which the first block of an exposure begins.
    together : callable, optional
        ``together(options, ngroup)`` returns how many successive integrations of so many groups it must see
        at once, where its scope is the integration; those that are left over come with the last.
    repeatable : bool
        Whether a product that has had the step may have it again: what only flags, replaces what it made
        before, or says itself what it cannot take. A correction that would be applied twice may not.
    off : bool
        Whether pipelines leave it out unless a recipe, or settings for it, say that it runs.
    """

    name: str
    function: Callable[..., Any]
    options_type: type[Options]
    references: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    scope: Scope | Callable[[Any], Scope] = "integration"
    status: str = ""
    carries: Callable[[], Any] | None = None
    together: Callable[[Any, int], int] | None = None
    repeatable: bool = False
    off: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return all reference types that it takes."""
        return (*self.references, *self.optional)

    def together_with(self, options: Options | None, ngroup: int) -> int:
        """Return how many successive integrations it must see at once under these options."""
        return self.together(options or self.options_type(), ngroup) if self.together else 1

    def scope_with(self, options: Options | None) -> Scope:
        """Return what the step must see at once under these options, its defaults when None."""
        return self.scope(options or self.options_type()) if callable(self.scope) else self.scope

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """Return the docstring of the function."""
        return self.function.__doc__ or ""

    @property
    def implementation(self) -> str:
        """Return the dotted path of the function."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    def __call__(
        self,
        product: Any,
        references: References | None = None,
        options: Options | None = None,
        **values: Any,
    ) -> Any:
        """Run the step on a product, which stays as it is.

        Parameters
        ----------
        product : Product
            What the step works on.
        references : References, optional
            Needed by steps that name reference types.
        options : Options, optional
            All options, the defaults if there are none.
        **values
            Single options by name, laid over `options`.

        Returns
        -------
        Product
            A new one. A step that has nothing to do returns the input with that outcome recorded.

        Raises
        ------
        UsageError
            If `product` is of a kind that the step does not take, or options or references are not its own.
        Unprocessable
            If `product` has had the step already, where that must not be twice.
        """
        chosen = arguments.options_of(self.options_type, options, values, self.name)
        given = arguments.references_of(references, f"step {self.name}")
        arguments.check_product(product, self.function, f"step {self.name}")
        result, _ = self.run(replace(product, donated=False), given, StepSettings(options=chosen))
        return replace(result, donated=False)

    def run(
        self, product: Any, references: References, settings: StepSettings, carry: Any = None
    ) -> tuple[Any, Any]:
        """Run the step for a pipeline: settings are known, and arrays may be donated.

        Returns
        -------
        product : Product
            The result, with the step's record in its provenance.
        carry : object
            What the next block of the exposure is to be given.
        """
        step = settings.use or self
        references = settings.references if settings.references is not None else references
        if settings.skip:
            return _recorded(product, step, "skipped", StepRecord(step=self.name, outcome="skipped")), carry
        self._refuse_again(product, step)
        options = settings.options or step.options_type()
        record = self._record(step, options, settings)
        try:
            with settings.watch(self.name):
                result, carry = self._result(settings.use, product, references, options, carry)
        except NotApplicable as reason:
            if settings.use is not None:
                replaced.check(product, product, self, step.implementation)
            record = replace(record, outcome="not applicable", reason=str(reason))
            return _recorded(product, step, "not applicable", record), carry
        except CalstreamError as error:
            raise type(error)(_with_step(error, self.name)) from error
        return _recorded(result, step, "complete", _with_references(record, step, references)), carry

    def complete(self, product: Any, references: References, settings: StepSettings) -> Any:
        """Return a product that was made by this step's algorithm outside of `run`, with its record.

        For algorithms that see their input in pieces, as an average does.
        """
        record = self._record(self, settings.options or self.options_type(), settings)
        return _recorded(product, self, "complete", _with_references(record, self, references))

    def _record(self, worker: Step, options: Options, settings: StepSettings) -> StepRecord:
        return StepRecord(
            step=self.name,
            outcome="complete",
            implementation=worker.implementation,
            options=options.model_dump(),
            origins=settings.origins,
        )

    def _refuse_again(self, product: Product, worker: Step) -> None:
        """Refuse a product that `worker`, this step or what takes its place, would correct once more."""
        if worker.repeatable or not (said := _done(product, self.name, (self.status, worker.status))):
            return
        raise Unprocessable(
            f"step {self.name}: {product.meta.get('FILENAME', 'the product')} has had it already ({said}); "
            f"give the product from before the step, or leave it out with --set {self.name}.skip=true"
        )

    def _result(
        self, use: Step | None, product: Any, references: References, options: Options, carry: Any
    ) -> tuple[Any, Any]:
        """Return what the step makes, or what `use` makes in its place, which is not trusted."""
        if use is None:
            return self._call(product, references, options, carry)
        with replaced.blamed(self.name, use.implementation, NotApplicable):
            result, carry = use._call(product, references, options, carry)
        replaced.check(result, product, self, use.implementation)
        return result, carry

    def _call(self, product: Any, references: References, options: Options, carry: Any) -> tuple[Any, Any]:
        for reftype in self.references:
            if reftype not in references:
                _ = references[reftype]  # raises, and says what was looked for
        if self.carries is None:
            return self.function(product, references, options), carry
        given = self.carries() if carry is None else carry
        return replaced.pair(self.function(product, references, options, given), self)


def step(
    *,
    options: type[Options] = Options,
    references: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    scope: Scope | Callable[[Any], Scope] = "integration",
    status: str = "",
    carries: Callable[[], Any] | None = None,
    repeatable: bool = False,
) -> Callable[[Callable[..., Any]], Step]:
    """Make a step of a function; see :class:`Step` for the parameters."""

    def decorate(function: Callable[..., Any]) -> Step:
        return Step(
            name=function.__name__,
            function=function,
            options_type=options,
            references=references,
            optional=optional,
            scope=scope,
            status=status,
            carries=carries,
            repeatable=repeatable,
        )

    return decorate


def joining(together: Callable[[Any, int], int]) -> Callable[[Step], Step]:
    """Let a step see several successive integrations at once; see `Step.together`."""
    return lambda given: replace(given, together=together)


def off(given: Step) -> Step:
    """Return a step that pipelines leave out unless a recipe, or settings for it, say that it runs."""
    return replace(given, off=True)


def replacement(original: Step, found: Any, path: str) -> Step:
    """Return `found`, which takes the place of `original`, as a step with the same name.

    Parameters
    ----------
    original : Step
        The built-in step.
    found : Step or callable
        A step, or a plain function with the same contract and the same options.
    path : str
        Where it was found, for an error's sentence.

    Raises
    ------
    Unprocessable
        If it is neither.
    """
    if isinstance(found, Step):
        return replace(found, name=original.name, status=found.status or original.status)
    if callable(found):
        return replace(original, function=found)
    raise Unprocessable(f"{path} is no step and no function; name a function(product, references, options)")


def _done(product: Product, name: str, keywords: Iterable[str]) -> str:
    """Return what of a product says that it has had a step; empty if nothing does."""
    for keyword in keywords:
        if keyword and product.meta.get(keyword) == STATUS["complete"]:
            return f"{keyword} = {STATUS['complete']}"
    records = product.meta.provenance.steps
    done = any(record.step == name and record.outcome == "complete" for record in records)
    return "so says its provenance" if done else ""


def _with_step(error: CalstreamError, name: str) -> str:
    """Return the sentence with the step's name in front, and in the advice about its settings."""
    text = str(error).replace("--set STEP.", f"--set {name}.")
    return text if text.startswith("step ") else f"step {name}: {text}"


def _with_references(record: StepRecord, step: Step, references: References) -> StepRecord:
    used = {reftype: references.identity(reftype) for reftype in step.wanted if reftype in references}
    return replace(record, references=used)


def _recorded(product: Product, step: Step, outcome: str, record: StepRecord) -> Product:
    meta = product.meta.with_step(record)
    cards: dict[str, Any] = {}
    if step.status and (outcome == "complete" or product.meta.get(step.status) != STATUS["complete"]):
        cards[step.status] = (STATUS[outcome], f"{step.name} step status")
    for reftype, reference in record.references.items():
        keyword = REFERENCE_KEYWORD.get(reftype)
        if keyword:
            value, comment = f"crds://{reference['name']}", f"{reftype} reference file"
            # astropy warns where value and comment do not fit a card of 80 characters
            cards[keyword] = (value, comment) if len(value) + len(comment) <= 65 else value
    return product.with_meta(replace(meta, primary=meta.primary.with_cards(cards)) if cards else meta)
