"""The command group: help without imports, plugins, failures, the folder that hides a package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import Retriable, UsageError
from streams.cli import main
from streams.cli.application import COMMANDS, guarded

HEAVY = {
    "numpy",
    "astropy",
    "pydantic",
    "numba",
    "crds",
    "pysiaf",
    "simulator",
    "processors",
    "rich",
    "structlog",
}

PLUGIN = '''
from pathlib import Path
Path("imported").touch()
import click
import typer

def greet(name: str) -> None:
    """Greet somebody. And more."""
    print(f"hello {name}")

typed = typer.Typer(help=f"Talk to people. {1 + 1} commands.")
typed.command("one")(greet)

@typed.command()
def two() -> None:
    raise KeyError("broken")

@click.command(help="Clicked.")
@click.option("--loud", is_flag=True)
@click.argument("word")
def clicked(loud, word):
    click.echo(word.upper() if loud else word)
'''


def calstream(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("calstream"), *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with a package of commands, as if it were installed."""
    place = tmp_path / "site"
    metadata = place / "plugin-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[calstream.commands]\ngreet = plugin:greet\ntalk = plugin:typed\nclicked = plugin:clicked\n"
        "gone = plugin:gone\n"
    )
    (place / "plugin.py").write_text(PLUGIN)
    return place


def test_the_help_lists_every_command_and_loads_none(tmp_path: Path) -> None:
    code = (
        "import sys; from streams.cli import main; code = main(['--help']); "
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, last = result.stdout.splitlines()
    assert not HEAVY & set(last.split())
    assert last.split()[0] == "0"
    for name in (*COMMANDS, "simulate"):
        (line,) = [line for line in shown if line.split()[:1] == [name]]
        assert len(line.split()) > 3


def test_commands_of_other_packages_are_listed_without_their_import(plugin: Path, tmp_path: Path) -> None:
    result = calstream("--help", folder=tmp_path, PYTHONPATH=str(plugin))
    lines = {
        line.split()[0]: line.split(maxsplit=1)[1]
        for line in result.stdout.splitlines()
        if line.startswith("  ")
    }
    assert lines["greet"] == "Greet somebody."
    assert lines["talk"] == "Talk to people."
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["greet", "Ada"], "hello Ada"),
        (["talk", "one", "Ada"], "hello Ada"),
        (["clicked", "--loud", "word"], "WORD"),
    ],
)
def test_commands_of_other_packages_run(
    plugin: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = calstream(*arguments, folder=tmp_path, PYTHONPATH=str(plugin))
    assert (result.returncode, result.stdout.strip()) == (0, said), result.stderr
    assert (tmp_path / "imported").exists()


def test_their_failures_are_told(plugin: Path, tmp_path: Path) -> None:
    gone = calstream("gone", folder=tmp_path, PYTHONPATH=str(plugin))
    assert (gone.returncode, len(gone.stderr.splitlines())) == (1, 1)
    assert "plugin:gone" in gone.stderr
    broken = calstream("talk", "two", folder=tmp_path, PYTHONPATH=str(plugin))
    assert (broken.returncode, len(broken.stderr.splitlines())) == (1, 1)
    assert "internal error (KeyError: 'broken')" in broken.stderr
    wrong = calstream("clicked", "--quiet", "word", folder=tmp_path, PYTHONPATH=str(plugin))
    assert wrong.returncode == 2
    assert "--quiet" in wrong.stderr


def test_a_folder_that_hides_a_package_is_named(tmp_path: Path) -> None:
    decoy = tmp_path / "lib" / "schemas"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text("")
    result = calstream("--version", folder=tmp_path, PYTHONPATH=str(decoy.parent))
    assert result.returncode == 2
    assert str(decoy) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_without_code_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "lib" / "schemas").mkdir(parents=True)
    result = calstream("--version", folder=tmp_path, PYTHONPATH=str(tmp_path / "lib"))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("say what"), 2), (Retriable("try later"), 1), (ZeroDivisionError(), 1)]
)
def test_a_failure_is_one_sentence(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    assert guarded(fail, debug=False) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("calstream: ")
    assert str(error) in line
    assert ("please report it" in line) == isinstance(error, ZeroDivisionError)
    assert guarded(fail, debug=True) == code
    assert "Traceback" in capsys.readouterr().err


def test_usage_errors_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert main(["run"]) == 2
    assert "PATH" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"calstream {version('calstream')}\n"
