"""``calstream replay``: chosen events go on their topic again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, opened

if TYPE_CHECKING:
    from streams.replay import Campaign, Forecast, Selection
    from streams.site import Site


def command(
    topic: Annotated[str, typer.Argument(help="raw, ramp, rate or cal.", show_default=False)],
    where: Annotated[
        str,
        typer.Option(metavar="EXPR", help="Which, for example \"detector == 'NRCA1'\".", show_default=False),
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Published then or later: 2026-11-24T06:30 (UTC), 2h, 3d.",
            show_default=False,
        ),
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Published before.", show_default=False)] = "",
    recipe: Annotated[
        str,
        typer.Option(
            help="Name of a recipe, or a YAML file; each event's own unless given.", show_default=False
        ),
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STEP.PARAMETER=VALUE",
            help="Laid over the recipe: a parameter, STEP.skip=true, or STEP.override_REFTYPE=FILE.",
        ),
    ] = None,
    line: Annotated[
        str, typer.Option(metavar="NAME", help="On this line only; on all unless given.", show_default=False)
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be computed; publish and compute nothing.")
    ] = False,
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Publish events of a topic again, so that running services redo what has changed, and nothing else.

    Of each exposure the current product is taken, if it satisfies all conditions. What is made of it
    supersedes what was made before, which stays readable. Mosaics are redone once, of the redone exposures
    and of those that were left alone.
    """
    from streams.replay import Conditions, choose
    from streams.times import moment
    from streams.where import where as predicate

    conditions = Conditions(
        where=predicate(where),
        since=moment(since) if since else -math.inf,
        until=moment(until) if until else math.inf,
        line=line or None,
    )
    with opened(bus, store) as site:
        selection = choose(site.bus, topic, conditions)
        if not selection.events:
            typer.echo(f"no current product on {topic} satisfies that; nothing was published")
            return
        campaign = _prepared(selection, recipe, settings or [], site)
        if dry_run:
            _foretold(campaign, topic, site)
        else:
            _published(campaign, topic, site)


def _prepared(selection: Selection, recipe: str, settings: list[str], site: Site) -> Campaign:
    from processors.recipes import command_line
    from streams.recipes import frozen, load_recipe
    from streams.replay import new_recipes, prepare

    recipes = new_recipes(
        selection.events,
        lambda digest: frozen(site.store, digest),
        named=load_recipe(recipe) if recipe else None,
        table=command_line(settings),
    )
    return prepare(selection, recipes)


def _published(campaign: Campaign, topic: str, site: Site) -> None:
    from streams.replay import publish

    publish(campaign, site)
    names = ", ".join(sorted(recipe.name for recipe in campaign.recipes.values()))
    typer.echo(f"published {_events(campaign, topic)} again under {names}, as campaign {campaign.id}")


def _foretold(campaign: Campaign, topic: str, site: Site) -> None:
    import os

    from streams.cli.console import new_table, standard_output
    from streams.replay import forecast, tools_of

    found = forecast(campaign, site, tools_of(site, campaign, os.environ))
    table = new_table("stage", "would be computed", "hits", "cannot be told")
    for stage in dict.fromkeys(stage for stage, _ in found.runs):
        counts = [found.runs[stage, outcome] for outcome in ("computed", "hit", "unknown")]
        table.add_row(stage, *map(str, counts))
    console = standard_output()
    if found.runs:
        console.print(table)
    if found.associations:
        associations = new_table("association", "stage", "members", "of them replayed", "outcome")
        for one in found.associations:
            associations.add_row(one.name, one.stage, str(one.members), str(one.sent), one.outcome)
        console.print(associations)
    _notes(found)
    typer.echo(
        f"{_events(campaign, topic)} chosen: {found.count('computed')} runs would be computed, "
        f"{found.count('hit')} are hits; nothing was published"
    )


def _notes(found: Forecast) -> None:
    for handler, number in sorted(found.others.items()):
        typer.echo(
            f"calstream: {number} go to the service {handler}, behind which nothing can be told", err=True
        )
    for reason in found.reasons:
        typer.echo(f"calstream: {reason}", err=True)


def _events(campaign: Campaign, topic: str) -> str:
    number = len(campaign.events)
    return f"1 event of {topic}" if number == 1 else f"{number} events of {topic}"
