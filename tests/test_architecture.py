"""The shape of the code: who may import whom, how long things may get, what must be documented."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("schemas", "processors", "streams", "simulator")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

LINES_OF_A_FILE = 400
LINES_OF_A_BODY = 80
PARAMETERS = 7

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def body_lines(function: Function) -> int:
    """Lines of the body without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def parameters(function: Function) -> int:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return len([one for one in named if one.arg not in ("self", "cls")])


def is_command(function: Function) -> bool:
    """Whether the parameters are the options of a command, as typer has them."""
    return any("typer." in ast.unparse(one.annotation) for one in function.args.args if one.annotation)


def undocumented(tree: ast.Module) -> Iterator[str]:
    if ast.get_docstring(tree) is None:
        yield "the module"
    pending = [(node, "") for node in tree.body]
    while pending:
        node, prefix = pending.pop()
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            pending += [(inner, f"{node.name}.") for inner in node.body]


def test_the_measures_measure() -> None:
    tree = ast.parse(
        'class A:\n    def b(self, x, *, y):\n        """Say."""\n        x = 1\n\n        return x\n'
    )
    function = tree.body[0].body[0]
    assert (body_lines(function), parameters(function)) == (3, 2)
    assert set(undocumented(tree)) == {"the module", "A"}
    assert len(FILES) > 60


def test_imports_point_one_way() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_science_loads_no_machinery() -> None:
    code = """
import importlib, pkgutil, sys
for name in ("schemas", "processors"):
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(found.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert {"schemas", "processors", "numba"} <= loaded
    forbidden = {"kafka", "faust", "crds", "sqlite3", "_sqlite3", "fsspec", "typer", "streams", "simulator"}
    assert not loaded & forbidden


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_documented(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_OF_A_FILE
    assert list(undocumented(TREES[path])) == []


def test_functions_are_short() -> None:
    long = [f"{where}: {body_lines(f)} lines" for where, f in functions() if body_lines(f) > LINES_OF_A_BODY]
    assert not long


def test_functions_have_few_parameters() -> None:
    many = [
        f"{where}: {parameters(function)} parameters"
        for where, function in functions()
        if parameters(function) > PARAMETERS and not is_command(function)
    ]
    assert not many
