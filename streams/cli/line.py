"""``calstream line``: named streams of work, each under one recipe, side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, opened

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Make, list and stop lines: streams of work under one recipe each, side by side.",
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the line: lower-case letters, digits, '_' and '-'.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file.")],
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Make a line, or give it another recipe from now on.

    What is ingested afterwards goes on it; what was ingested before does when it is ingested again.
    """
    from processors.recipes import effective
    from processors.registry import STEPS
    from streams.lines import add_line
    from streams.recipes import enabled, load_recipe

    found = load_recipe(recipe)
    if not found.replaces_code:  # code of others may be installed where the services run, and not here
        effective(found, STEPS, {})
    with opened(bus, store) as site:
        line = add_line(name, found, site.bus, site.store)
        typer.echo(f"{line.name}: recipe {line.recipe.name} ({line.recipe.digest})")
        if not enabled(site.store, line.recipe.digest):
            typer.echo(
                "calstream: the recipe replaces code, so nothing runs on this line before `calstream recipe "
                f"enable {line.recipe.digest[:12]}`",
                err=True,
            )


@app.command("list")
def list_lines(
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """List the lines with their recipes."""
    from streams.cli.console import new_table, standard_output
    from streams.lines import lines
    from streams.recipes import enabled

    with opened(bus, store) as site:
        table = new_table("line", "recipe", "state", "digest")
        for line in sorted(lines(site.bus, site.store).values(), key=lambda line: line.name):
            state = "active" if line.active else "stopped"
            if line.active and not enabled(site.store, line.recipe.digest):
                state = "recipe not enabled"
            table.add_row(line.name, line.recipe.name, state, line.recipe.digest)
    standard_output().print(table)


@app.command()
def stop(
    name: Annotated[str, typer.Argument(help="Name of the line.")],
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Let no new exposures go on a line; what is on it goes to its end."""
    from streams.lines import stop_line

    with opened(bus, store) as site:
        stop_line(name, site.bus, site.store)
    typer.echo(f"{name}: stopped; what is on it goes to its end")
