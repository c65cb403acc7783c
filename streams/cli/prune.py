"""``calstream prune``: what nothing refers to any more leaves the store."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.places import BusOption, DebugOption, StoreOption, opened


def command(
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Remove what newer generations have superseded.")
    ] = False,
    older_than: Annotated[
        str,
        typer.Option(metavar="AGE", help="Only what is older, for example 12h or 30d.", show_default=False),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be removed; remove nothing.")
    ] = False,
    bus: BusOption = None,
    store: StoreOption = None,
    debug: DebugOption = False,
) -> None:
    """Remove from the store what is not current any more, on any line.

    Current products, their inputs, and whatever waits for a service, an association or a retry stay. What
    killed attempts have left goes after a day.
    """
    from collections import Counter

    from schemas.errors import UsageError
    from streams.prune import prunable, sweep
    from streams.times import age

    if not superseded:
        raise UsageError("say what to remove: `calstream prune --superseded`; --dry-run shows what that is")
    with opened(bus, store) as site:
        items = prunable(site, older_than=age(older_than) if older_than else 0.0)
        if dry_run:
            for item in items:
                typer.echo(f"{item.kind} {item.path} ({_bytes(item.size)})")
        else:
            sweep(items, site.store)
    counts = Counter(item.kind for item in items)
    told = [
        _number(counts[kind], *names)
        for kind, names in (
            ("run", ("run", "runs")),
            ("copy", ("raw copy", "raw copies")),
            ("leftover", ("leftover of a killed attempt", "leftovers of killed attempts")),
            ("mark", ("finished event's marks", "finished events' marks")),
        )
        if counts[kind] or kind == "run"
    ]
    size = _bytes(sum(item.size for item in items))
    typer.echo(f"{'would remove' if dry_run else 'removed'} {', '.join(told)}: {size}")


def _number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
