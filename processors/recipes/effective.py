"""Effective settings of steps: all layers laid over one another, checked, each value with its origin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from processors.options import Options, suggestion, validated
from processors.recipes.layers import OVERRIDE, SERVES, asked_for, layers, merged
from processors.recipes.settings import OVERRIDE_PREFIX
from processors.steps import Step, StepSettings, replacement
from schemas.errors import UsageError
from schemas.recipe import Recipe, StepTable

DEFAULT: Final = "default"
CRDS: Final = "CRDS parameter reference"
COMMAND_LINE: Final = "command line"

Resolve = Callable[[str], Any]
"""Returns the object that ``use:`` names."""

SAME_VALUE: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("ramp_fit", "algorithm"): {"OLS_C": "ols", "OLS": "ols", "LIKELY": "gls"},
}
"""What values in JWST's parameter references are called here, for parameters of the same name."""

HOUSEKEEPING: Final = frozenset(
    {
        "input_dir", "output_dir", "output_ext", "output_file", "output_use_index", "output_use_model",
        "post_hooks", "pre_hooks", "save_results", "search_output_file", "suffix", "maximum_cores",
    }
)  # fmt: skip
"""Entries of parameter references that say where files go and how many processes work."""


@dataclass(frozen=True)
class Row:
    """One line of an explanation.

    Attributes
    ----------
    step, parameter : str
        Which parameter of which step.
    value : object
        Its effective value.
    unit, origin, doc : str
        The value's unit, where it came from, what it does.
    """

    step: str
    parameter: str
    value: Any
    unit: str
    origin: str
    doc: str


@dataclass(frozen=True)
class _Layer:
    """Parameters of one step in one layer; `own` if whoever wrote it meant the step of the package."""

    origin: str
    own: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)


def effective(
    recipe: Recipe,
    steps: Mapping[str, Step],
    keywords: Mapping[str, Any],
    *,
    crds_parameters: StepTable | None = None,
    command_line: StepTable | None = None,
    resolve: Resolve | None = None,
    known: Iterable[str] = (),
) -> dict[str, StepSettings]:
    """Return how each step is to be run on an exposure.

    Parameters
    ----------
    recipe : Recipe
        As written.
    steps : mapping of str to Step
        The steps to settle, by name.
    keywords : mapping of str to object
        FITS keywords of the exposure, for overrides.
    crds_parameters : mapping, optional
        Entries of the context's parameter references by step; they count if the recipe says so.
    command_line : mapping, optional
        What ``--set`` gave.
    resolve : callable, optional
        Finds what ``use:`` names; without it ``use:`` is refused.
    known : iterable of str
        Names of further steps that the recipe may speak of.

    Returns
    -------
    dict of str to StepSettings
        For each of `steps`. Values of a built-in recipe and of CRDS are for the package's own step: they do
        not reach a replacement with options of its own.

    Raises
    ------
    UsageError
        If a step, a parameter, a reference type, a condition or a built-in recipe is unknown, or a value is
        wrong.
    """
    below, above = layers(recipe, keywords)
    names = {*steps, *known}
    for _, table in (*above, (COMMAND_LINE, command_line or {})):
        _check_names(table, names)
    _check_overrides(recipe, steps, names)
    found = (crds_parameters or {}) if merged(recipe).crds_parameters else {}
    result = {}
    for name, step in steps.items():
        given = _asked(name, [table for _, table in (*below, *above, (COMMAND_LINE, command_line or {}))])
        given += [_Layer(origin, True, table.get(name, {})) for origin, table in below]
        given.append(_Layer(CRDS, True, _usable(step, found.get(name, {}))[0]))
        given += [_Layer(origin, False, table.get(name, {})) for origin, table in above]
        given.append(_Layer(COMMAND_LINE, False, (command_line or {}).get(name, {})))
        result[name] = _settled(step, given, resolve)
    return result


def unknown_crds_parameters(
    steps: Mapping[str, Step], crds_parameters: StepTable
) -> dict[str, dict[str, Any]]:
    """Return those entries of parameter references that no step here can follow, by step."""
    unknown = {name: _usable(step, crds_parameters.get(name, {}))[1] for name, step in steps.items()}
    return {name: entries for name, entries in unknown.items() if entries}


def explain(settings: Mapping[str, StepSettings], steps: Mapping[str, Step]) -> tuple[Row, ...]:
    """Return one row for each effective value.

    Parameters
    ----------
    settings : mapping of str to StepSettings
        As :func:`effective` returned them.
    steps : mapping of str to Step
        The same steps.
    """
    return tuple(row for name in settings for row in _rows(name, settings[name], steps[name]))


def _rows(name: str, settings: StepSettings, step: Step) -> list[Row]:
    rows = []
    if settings.use is not None:
        doc = "the function that takes the step's place"
        rows.append(Row(name, "use", settings.use.implementation, "", settings.origins["use"], doc))
    if settings.skip:
        rows.append(
            Row(name, "skip", True, "", settings.origins.get("skip", DEFAULT), "the step does not run")
        )
    for reftype, path in settings.overrides.items():
        parameter = OVERRIDE_PREFIX + reftype
        origin = settings.origins[parameter]
        rows.append(Row(name, parameter, path, "", origin, f"file to take as the {reftype} reference"))
    options = settings.options or (settings.use or step).options_type()
    for parameter, declared in type(options).model_fields.items():
        extra = declared.json_schema_extra
        unit = str(extra.get("unit", "")) if isinstance(extra, Mapping) else ""
        origin = settings.origins.get(parameter, DEFAULT)
        value = getattr(options, parameter)
        rows.append(Row(name, parameter, value, unit, origin, declared.description or ""))
    return rows


def _asked(name: str, tables: list[StepTable]) -> list[_Layer]:
    """Return the layer of a step that is asked for together with another."""
    if name not in SERVES or not asked_for(tables, SERVES[name]):
        return []
    return [_Layer(DEFAULT, True, {"skip": False})]


def _check_names(table: StepTable, names: set[str]) -> None:
    for name in table:
        if name not in names:
            raise UsageError(f"there is no step {name!r}; {suggestion(name, names)}")


def _check_overrides(recipe: Recipe, steps: Mapping[str, Step], names: set[str]) -> None:
    """Check the overrides for other exposures too: a typing error is found at once, not next month."""
    tables = [recipe.steps, *(override.steps for override in recipe.overrides)]
    replaced = {name for table in tables for name, parameters in table.items() if "use" in parameters}
    for override in recipe.overrides:
        _check_names(override.steps, names)
        for name, parameters in override.steps.items():
            if name in steps and name not in replaced:
                _settled(steps[name], [_Layer(OVERRIDE, False, parameters)], None)


def _settled(step: Step, given: list[_Layer], resolve: Resolve | None) -> StepSettings:
    use = _replaced(step, given, resolve)
    worker = use or step
    values: dict[str, Any] = {}
    overrides: dict[str, str] = {}
    origins: dict[str, str] = {}
    skip = step.off
    for layer in given:
        if layer.own and worker.options_type is not step.options_type:
            continue
        for parameter, value in layer.parameters.items():
            if parameter == "skip":
                skip = _truth(step.name, value)
            elif parameter.startswith(OVERRIDE_PREFIX):
                overrides[_reftype(worker, parameter)] = _path(step.name, parameter, value)
            elif parameter != "use":
                values[parameter] = value
            origins[parameter] = layer.origin
    options: Options = validated(worker.options_type, values, step.name)
    return StepSettings(options=options, skip=skip, origins=origins, overrides=overrides, use=use)


def _replaced(step: Step, given: list[_Layer], resolve: Resolve | None) -> Step | None:
    paths = [layer.parameters["use"] for layer in given if "use" in layer.parameters]
    if not paths or paths[-1] is None:
        return None
    path = paths[-1]
    if not isinstance(path, str):
        raise UsageError(f"{step.name}.use = {path!r} is no dotted path; write it as package.module:function")
    if resolve is None:
        raise UsageError(f"{step.name}.use = {path!r}: steps cannot be replaced here; leave `use` out")
    return replacement(step, resolve(path), path)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name}.skip = {value!r} is not valid; write true or false")
    return value


def _reftype(step: Step, parameter: str) -> str:
    reftype = parameter.removeprefix(OVERRIDE_PREFIX)
    if not step.wanted:
        raise UsageError(f"step {step.name} uses no reference files; leave {parameter} out")
    if reftype not in step.wanted:
        hint = suggestion(reftype, step.wanted)
        raise UsageError(f"step {step.name} uses no {reftype!r} reference; {hint}")
    return reftype


def _path(name: str, parameter: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name}.{parameter} = {value!r} is not valid; give the path of a file")
    return value


def _usable(step: Step, entries: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the entries of a parameter reference into those that the step can follow, and the others."""
    usable: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in entries.items():
        if name == "skip" and isinstance(value, bool):
            usable[name] = value
        elif name in step.options_type.model_fields and (same := _same(step, name, value)):
            usable.update(same)
        elif name not in HOUSEKEEPING:
            unknown[name] = value
    return usable, unknown


def _same(step: Step, name: str, value: Any) -> dict[str, Any]:
    for one in (SAME_VALUE.get((step.name, name), {}).get(str(value).upper(), value), str(value).lower()):
        try:
            validated(step.options_type, {name: one}, step.name)
        except UsageError:
            continue
        return {name: one}
    return {}
