"""Commands of other packages, by the entry points ``calstream.commands``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import typer

from schemas.errors import Unprocessable

GROUP: Final = "calstream.commands"


@dataclass(frozen=True)
class Plugin:
    """One command of another package; its module is imported by `command` only.

    Attributes
    ----------
    name : str
        Of the command.
    entry : EntryPoint
        Where it is: a ``typer.Typer``, one of typer's or click's commands, or a function.
    """

    name: str
    entry: EntryPoint

    @property
    def summary(self) -> str:
        """Return the first sentence of its documentation, read from the source without running it."""
        try:
            source = _source(self.entry.module)
            return _sentence(_documentation(ast.parse(source.read_text(encoding="utf-8")), self.entry.attr))
        except (OSError, SyntaxError, ValueError):
            return f"From {self.entry.module}."

    def command(self) -> Any:
        """Return the command, imported.

        Raises
        ------
        Unprocessable
            If it cannot be imported.
        """
        try:
            found = self.entry.load()
        except (ImportError, AttributeError) as error:
            raise Unprocessable(
                f"command {self.name!r} comes from {self.entry.value}, which cannot be imported ({error}); "
                "install what is missing"
            ) from error
        return _as_command(self.name, found)


def plugins() -> dict[str, Plugin]:
    """Return the commands of other packages by name, sorted."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return {entry.name: Plugin(entry.name, entry) for entry in found}


def _as_command(name: str, found: Any) -> Any:
    if isinstance(found, typer.Typer):
        found.rich_markup_mode, found._add_completion = None, False  # as our own commands have it
        command = typer.main.get_command(found)
        command.name = name
        return command
    if isinstance(found, typer.core.TyperCommand | typer.core.TyperGroup):
        return found
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    if hasattr(found, "main"):
        passed = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
        single.command(name, context_settings=passed)(_bridge(name, found))
    else:
        single.command(name)(found)
    return typer.main.get_command(single)


def _bridge(name: str, foreign: Any) -> Any:
    """Return a function that hands all arguments to a click command."""

    def call(ctx: typer.Context) -> None:
        foreign.main(args=list(ctx.args), prog_name=f"calstream {name}")

    return call


def _source(module: str) -> Path:
    package, *rest = module.split(".")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise OSError(f"{package} is not installed")
    if not rest:
        return Path(spec.origin)
    base = Path(spec.origin).parent.joinpath(*rest)
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _documentation(tree: ast.Module, name: str) -> str:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign) and _assigns(node, name) and isinstance(node.value, ast.Call):
            given = [keyword.value for keyword in node.value.keywords if keyword.arg == "help"]
            if given and (text := _text(given[0])):
                return text
    return ast.get_docstring(tree) or ""


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".") + "."
