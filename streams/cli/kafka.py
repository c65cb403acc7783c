"""``calstream kafka``: a real Apache Kafka on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.places import DebugOption

if TYPE_CHECKING:
    from streams.kafka.local import LocalKafka

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Run an Apache Kafka on this machine, for tests and for trying things out.",
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="Where its configuration, logs and data are; by default calstream/kafka in XDG_DATA_HOME.",
        show_default=False,
    ),
]


@app.command()
def up(
    nodes: Annotated[
        int | None, typer.Option(help="1 or 3; by default those there were, else 1.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Of the first node; 0 for any free ones; by default those there were, else 19092.",
            show_default=False,
        ),
    ] = None,
    folder: Folder = None,
    debug: DebugOption = False,
) -> None:
    """Start it, wait until it is ready, and print its address.

    It needs Java 17 and Maven, which fetches 43 MB once. It listens on this machine only, keeps its data when
    it is stopped, and runs until `calstream kafka down`.
    """
    typer.echo(f"kafka://{_local(folder).up(nodes, port)}")


@app.command()
def down(folder: Folder = None, debug: DebugOption = False) -> None:
    """Stop it; its data stay."""
    stopped = _local(folder).down()
    typer.echo(f"{stopped} node(s) stopped" if stopped else "it was not running")


@app.command()
def status(folder: Folder = None, debug: DebugOption = False) -> None:
    """Say whether it runs, and where; the exit code is 1 where it does not."""
    from streams.cli.console import new_table, standard_output

    local = _local(folder)
    table = new_table("node", "address", "process", "log")
    for node in local.nodes:
        pid = node.pid
        table.add_row(
            node.folder.name, f"127.0.0.1:{node.port}", str(pid) if pid else "stopped", str(node.log)
        )
    if local.nodes:
        standard_output().print(table)
    ready = local.taking_part()
    typer.echo(
        f"{ready} of {len(local.nodes)} node(s) ready: kafka://{local.bootstrap}"
        if ready
        else "it does not run"
    )
    if not ready or ready < len(local.nodes):
        raise typer.Exit(1)


def _local(folder: Path | None) -> LocalKafka:
    from streams.kafka.local import LocalKafka

    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return LocalKafka(folder or Path(home) / "calstream" / "kafka")
