"""The command group ``calstream``, and how its failures are told."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from streams.cli.plugins import Plugin, plugins
from streams.cli.termination import INTERRUPTED, TERMINATED, terminable

COMMANDS: Final[Mapping[str, str]] = {
    "run": "streams.cli.run:command",
    "ingest": "streams.cli.ingest:command",
    "report": "streams.cli.report:command",
    "line": "streams.cli.line:app",
    "export": "streams.cli.export:command",
    "replay": "streams.cli.replay:command",
    "rewind": "streams.cli.rewind:command",
    "dlq": "streams.cli.dlq:app",
    "prune": "streams.cli.prune:command",
    "steps": "streams.cli.steps:command",
    "recipe": "streams.cli.recipe:app",
    "inspect": "streams.cli.inspection:command",
    "up": "streams.cli.up:command",
    "serve": "streams.cli.serve:command",
    "status": "streams.cli.status:command",
    "top": "streams.cli.top:command",
    "topics": "streams.cli.topics:app",
    "services": "streams.cli.services:command",
    "trace": "streams.cli.trace:command",
    "kafka": "streams.cli.kafka:app",
}
"""Module and object of each command, in the order of the help."""

_PANEL: Final = "Commands"


class LazyGroup(TyperGroup):
    """Commands that are imported when they are asked for; those of other packages not even for the help."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._plugins = plugins()
        self.commands: Any = dict.fromkeys((*COMMANDS, *self._plugins))  # get_command loads them

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None; of one that is only listed, its name and summary are enough."""
        if cmd_name in COMMANDS:
            return _own(cmd_name)
        plugin = self._plugins.get(cmd_name)
        return None if plugin is None else _summary(plugin)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and further arguments of the command that is asked for."""
        plugin = self._plugins.get(args[0])
        return super().resolve_command(ctx, args) if plugin is None else (args[0], plugin.command(), args[1:])


def start(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code; SIGTERM stops it as Ctrl-C does."""
    debug = "--debug" in arguments
    with terminable() as termination:
        code = guarded(lambda: _application().main(list(arguments), prog_name="calstream"), debug)
    if termination.received and code == INTERRUPTED:  # typer knows nothing but Ctrl-C
        print("calstream: terminated before it was finished; run it again", file=sys.stderr)
        return TERMINATED
    return TERMINATED if termination.received and code else code  # a failure may come of the signal


def guarded(call: Callable[[], Any], debug: bool) -> int:
    """Call a command; tell a failure in one sentence on standard error, with its traceback if `debug`.

    Returns
    -------
    int
        The exit code: 2 for a request that is not understood, 130 after Ctrl-C, 1 for any other failure.
    """
    try:
        call()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone: no second failure while Python closes
        return 1
    except KeyboardInterrupt:  # before typer listens for it
        return INTERRUPTED
    except Exception as error:
        return _told(error, debug)
    return 0


def _told(error: Exception, debug: bool) -> int:
    from schemas.errors import CalstreamError, UsageError

    if debug:
        traceback.print_exception(error)
    if isinstance(error, CalstreamError):
        print(f"calstream: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    hint = "" if debug else ", with what `--debug` shows when you run it again"
    print(
        f"calstream: internal error ({type(error).__name__}: {error}); please report it{hint}",
        file=sys.stderr,
    )
    return 1


def _application() -> Any:
    app = typer.Typer(
        cls=LazyGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    return typer.main.get_command(app)


def _own(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group = typer.main.get_command(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name)(found)
    return typer.main.get_command(single)


def _summary(plugin: Plugin) -> Any:
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(plugin.name, help=plugin.summary)(lambda: None)
    return typer.main.get_command(single)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"calstream {version('calstream')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show the traceback of a failure; may stand behind a command of ours too."
        ),
    ] = False,
) -> None:
    """Calibrate James Webb Space Telescope exposures, from raw files to mosaics and catalogues."""
