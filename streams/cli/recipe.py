"""``calstream recipe``: which recipes there are, and what one means for an exposure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, opened

if TYPE_CHECKING:
    from schemas.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Show recipes, and what one means for an exposure.",
)


@app.command("list")
def list_recipes(
    debug: DebugOption = False,
) -> None:
    """List the built-in recipes."""
    from processors.recipes import BUILTIN, builtin
    from streams.cli.console import new_table, standard_output

    table = new_table("recipe", "based on", "CRDS parameter references", "digest")
    for name in BUILTIN:
        recipe = builtin(name)
        table.add_row(
            name, recipe.base or "", "apply" if recipe.crds_parameters else "ignored", recipe.digest
        )
    standard_output().print(table)


@app.command()
def explain(
    target: Annotated[str, typer.Argument(help="An exposure (FITS), a recipe (YAML), or a recipe's name.")],
    exposure: Annotated[
        Path | None,
        typer.Option("--for", help="Exposure that the recipe is explained for.", show_default=False),
    ] = None,
    recipe: Annotated[str, typer.Option(help="Recipe, where TARGET is an exposure.")] = "optimal",
    match: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="KEYWORD=VALUE", help="As if the exposure said so, for example filter=F200W."
        ),
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="As --where instrument=...", show_default=False)
    ] = None,
    exp_type: Annotated[str | None, typer.Option(help="As --where exp_type=...", show_default=False)] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="STEP.PARAMETER=VALUE", help="As for `calstream run`."),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="PMAP", help="CRDS context.", show_default=False)
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Print every effective value of a recipe and where it came from.

    The origins: the step's default, the CRDS context's parameter reference, the recipe, one of its overrides,
    the command line.
    """
    from streams.recipes import load_recipe

    file, spec = _told_apart(target, exposure, recipe)
    chosen = load_recipe(spec)
    given = {"instrument": instrument, "exp_type": exp_type}
    keywords = _keywords(file, [*(match or []), *(f"{k}={v}" for k, v in given.items() if v)])
    _explained(chosen, keywords, settings or [], context)


@app.command("enable")
def enable_recipe(
    digest: Annotated[str, typer.Argument(help="Digest of a recipe in the store, or its beginning.")],
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Let a recipe that replaces steps by code of others run in the services.

    Which packages that code may come from is for each service's operator to say: CALSTREAM_STEP_PACKAGES.
    """
    from streams.recipes import enable, frozen, whole_digest

    with opened(bus, store) as site:
        whole = whole_digest(site.store, digest)
        recipe = frozen(site.store, whole)
        if recipe.replaces_code:
            enable(site.store, whole)
            typer.echo(f"{recipe.name} ({whole}): enabled; it runs {', '.join(_replacements(recipe))}")
        else:
            typer.echo(f"{recipe.name} ({whole}): sets parameters only, so it runs without that")


def _replacements(recipe: Recipe) -> list[str]:
    """Return what a recipe runs in the place of steps."""
    tables = (recipe.steps, *(override.steps for override in recipe.overrides))
    uses = {
        f"{values['use']} as {step}" for table in tables for step, values in table.items() if "use" in values
    }
    return sorted(uses)


def _told_apart(target: str, exposure: Path | None, recipe: str) -> tuple[Path | None, str]:
    """Return the exposure and the recipe that the user means."""
    if target.lower().endswith((".fits", ".fits.gz")):
        return Path(target), recipe
    return exposure, target


def _keywords(file: Path | None, given: list[str]) -> dict[str, Any]:
    from processors.recipes.layers import FRIENDLY
    from schemas.errors import UsageError

    keywords: dict[str, Any] = {}
    if file is not None:
        from schemas.keywords import event_keywords
        from schemas.reading import ProductFile

        with ProductFile(file) as opened:
            keywords.update(event_keywords(opened.meta.keywords()))
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise UsageError(f"--where {text}: write it as keyword=value, for example --where filter=F200W")
        keywords[FRIENDLY.get(name.lower(), name.upper())] = value
    return keywords


def _explained(recipe: Recipe, keywords: Mapping[str, Any], settings: list[str], context: str | None) -> None:
    import os

    from processors.recipes import DEFAULT, command_line, effective, explain, unknown_crds_parameters
    from processors.registry import STEPS
    from streams.cli.console import new_table, standard_output
    from streams.replacements import allowed_packages, resolver

    found, notes = _crds_parameters(recipe, keywords, context, list(STEPS))
    rows = explain(
        effective(
            recipe,
            STEPS,
            keywords,
            crds_parameters=found,
            command_line=command_line(settings),
            resolve=resolver(allowed_packages(os.environ)),
        ),
        STEPS,
    )
    console = standard_output()
    table = new_table("parameter", "value", "unit", "origin", "what it does")
    for row in rows:
        style = "bold" if row.origin != DEFAULT else None
        table.add_row(
            f"{row.step}.{row.parameter}", str(row.value), row.unit, row.origin, row.doc, style=style
        )
    console.print(table)
    for step, entries in unknown_crds_parameters(STEPS, found).items():
        for name, value in entries.items():
            line = (
                f"not followed: {step}.{name} = {value} of the CRDS parameter reference; calstream lacks it"
            )
            console.print(line, markup=False)
    for note in notes:
        typer.echo(f"calstream: {note}", err=True)


def _crds_parameters(
    recipe: Recipe, keywords: Mapping[str, Any], context: str | None, steps: list[str]
) -> tuple[Mapping[str, Mapping[str, Any]], list[str]]:
    """Return the parameter references' entries, and a note if they apply and cannot be looked up."""
    from processors.recipes import merged
    from schemas.errors import CalstreamError
    from streams.references import ReferenceLibrary

    whole = merged(recipe)
    if not whole.crds_parameters:
        return {}, []
    if "INSTRUME" not in keywords:
        return {}, ["without an exposure (--for FILE) the CRDS parameter references are not looked up"]
    try:
        return ReferenceLibrary(context=context or whole.crds_context).parameters(keywords, steps), []
    except CalstreamError as error:
        return {}, [f"the CRDS parameter references are left out: {error}"]
