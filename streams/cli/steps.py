"""``calstream steps``: what the steps do, and what can be set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from streams.cli.places import DebugOption

if TYPE_CHECKING:
    from rich.console import Console

    from processors.steps import Step

_BOUNDS: Final = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="One step; all when left out.", show_default=False)
    ] = None,
    debug: DebugOption = False,
) -> None:
    """List the steps, or tell all about one.

    Of one step: what it does, its options with units and bounds, its reference files.
    """
    from processors.options import suggestion
    from processors.registry import STEPS
    from schemas.errors import UsageError
    from streams.cli.console import standard_output

    if name is None:
        _overview(STEPS, standard_output())
        return
    if name not in STEPS:
        raise UsageError(f"there is no step {name!r}; {suggestion(name, STEPS)}")
    _details(STEPS[name], standard_output())


def bounds(declared: Any) -> str:
    """Return what values an option may have, in words: its choices, or its limits.

    Parameters
    ----------
    declared : pydantic.fields.FieldInfo
        The option.
    """
    from typing import Literal, get_args, get_origin

    if get_origin(declared.annotation) is Literal:
        return " or ".join(str(choice) for choice in get_args(declared.annotation))
    limits = [
        f"{sign} {getattr(limit, attribute):g}"
        for limit in declared.metadata
        for attribute, sign in _BOUNDS.items()
        if getattr(limit, attribute, None) is not None
    ]
    return ", ".join(limits)


def _overview(steps: dict[str, Step], console: Console) -> None:
    from streams.cli.console import new_table

    table = new_table("step", "what it does", "references")
    for step in steps.values():
        table.add_row(step.name, _first_line(step), _references(step))
    console.print(table)
    console.print("`calstream steps STEP` lists a step's options.", highlight=False)


def _details(step: Step, console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from streams.cli.console import new_table

    console.print(Text(step.name, style="bold"))
    console.print(Padding(Text(_documentation(step)), (0, 0, 1, 2)))
    facts = new_table("", "")
    facts.show_header = False
    facts.add_row("references", _references(step) or "none")
    facts.add_row("sees at once", _scope(step))
    facts.add_row("status keyword", step.status or "none")
    facts.add_row("function", step.implementation)
    console.print(facts)
    console.print(_options(step))
    console.print(_hint(step), highlight=False, markup=False)


def _hint(step: Step) -> str:
    hint = f"Set them in a recipe, or with --set {step.name}.OPTION=VALUE"
    hint += f"; --set {step.name}.skip=true leaves it out"
    if step.wanted:
        hint += f"; --set {step.name}.override_{step.wanted[0]}=FILE gives a reference"
    return hint


def _references(step: Step) -> str:
    return ", ".join((*step.references, *(f"{reftype} (optional)" for reftype in step.optional)))


def _options(step: Step) -> Any:
    from streams.cli.console import new_table

    if not step.options_type.model_fields:
        return "It has no options.\n"
    table = new_table("option", "default", "unit", "allowed", "what it does")
    for name, declared in step.options_type.model_fields.items():
        extra = declared.json_schema_extra
        unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
        table.add_row(name, str(declared.default), unit, bounds(declared), declared.description or "")
    return table


def _scope(step: Step) -> str:
    if callable(step.scope):
        return f"{step.scope_with(None)}, with its default options"
    return step.scope


def _documentation(step: Step) -> str:
    """Return the docstring up to its sections, which are for those who call the function."""
    import inspect

    text = inspect.cleandoc(step.__doc__ or "").replace("``", "`")
    lines = text.splitlines()
    rule = next((i for i, line in enumerate(lines) if line and not line.strip("-")), len(lines) + 1)
    return "\n".join(lines[: rule - 1]).strip()


def _first_line(step: Step) -> str:
    return _documentation(step).partition("\n")[0]
