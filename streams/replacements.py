"""Steps of the user's own that take the place of built-in ones.

A recipe names them, the operator of a service allows the packages that they may come from: what arrives over
a topic can choose among installed code, and can never bring code in.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from processors.options import suggestion
from processors.steps import Step
from schemas.errors import UsageError

VARIABLE: Final = "CALSTREAM_STEP_PACKAGES"
"""Environment variable with the allowed packages, comma separated."""

GROUP: Final = "calstream.steps"
"""Entry points by which a package offers steps."""


def allowed_packages(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the packages from which steps may be taken, as an environment says."""
    return tuple(name.strip() for name in environ.get(VARIABLE, "").split(",") if name.strip())


def resolver(allowed: Sequence[str]) -> Callable[[str], Any]:
    """Return :func:`resolve` with the allowed packages given, for :func:`processors.recipes.effective`."""

    def find(path: str) -> Any:
        return resolve(path, allowed)

    return find


def resolve(path: str, allowed: Sequence[str]) -> Any:
    """Return the step or function that a recipe's ``use:`` names.

    Parameters
    ----------
    path : str
        ``package.module:function``, or the name of an entry point of the group ``calstream.steps``.
    allowed : sequence of str
        Packages, or modules of packages, that it may come from.

    Raises
    ------
    UsageError
        If it is not allowed, is not there, or cannot be imported. Nothing is imported that is not allowed.
    """
    module, colon, attribute = _target(path).partition(":")
    if not (colon and module and attribute):
        raise UsageError(f"use: {path!r} is no dotted path; write it as package.module:function")
    _demand(module, allowed, path)
    found = _imported(module, path)
    for name in attribute.split("."):
        if not hasattr(found, name):
            known = [word for word in dir(found) if not word.startswith("_")]
            raise UsageError(f"use: {path!r}: there is no {name!r} in {module}; {suggestion(name, known)}")
        found = getattr(found, name)
    if not callable(found):
        raise UsageError(f"use: {path!r} cannot be called; name a function(product, references, options)")
    # What a module has only imported is not its own: `my_lab.ramps:os.system` must lead nowhere.
    home = _home(found)
    if not _is_allowed(home, allowed):
        raise UsageError(
            f"use: {path!r} is code of {home or 'an unknown module'}, which is not allowed here and which "
            f"{module} only imports; name a function that is defined in {module}"
        )
    return found


def code_digest(step: Step | Callable[..., Any]) -> str:
    """Return the SHA-256 of the sources that a replaced step was installed with.

    Parameters
    ----------
    step : Step or callable
        As :func:`resolve` returned it.

    Returns
    -------
    str
        Of all files of its distribution; of its top-level package where that is not installed as one; of its
        file where that is a single module.
    """
    module = importlib.import_module(_home(step))
    hasher = hashlib.sha256()
    for name, file in sorted(_sources(module)):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        hasher.update(f"{name}\0{content}\n".encode())
    return hasher.hexdigest()


def _target(path: str) -> str:
    if ":" in path:
        return path
    offered = {entry.name: entry.value for entry in metadata.entry_points(group=GROUP)}
    if path not in offered:
        hint = suggestion(path, offered) if offered else "write it as package.module:function"
        raise UsageError(f"use: no installed package offers a step {path!r}; {hint}")
    return offered[path]


def _demand(module: str, allowed: Sequence[str], path: str) -> None:
    if _is_allowed(module, allowed):
        return
    package = module.partition(".")[0]
    raise UsageError(
        f"use: {path!r} is code of {module}, which is not allowed here; "
        f"set {VARIABLE}={','.join((*allowed, package))} for this command or service to allow it"
    )


def _is_allowed(module: str, allowed: Sequence[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def _imported(module: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:  # a module's code may raise anything
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(
            f"use: {path!r}: {module} cannot be imported ({said}); install it where calstream is installed"
        ) from error


def _home(found: Step | Callable[..., Any]) -> str:
    function = found.function if isinstance(found, Step) else found
    return str(getattr(function, "__module__", None) or "")


def _sources(module: ModuleType) -> Iterable[tuple[str, Path]]:
    """Return names and files of the code that a module was installed with."""
    file = Path(str(module.__file__)).resolve()
    top = module.__name__.partition(".")[0]
    for name in dict.fromkeys(metadata.packages_distributions().get(top, ())):
        listed = dict(_listed(metadata.distribution(name)))
        if file in listed.values():
            return listed.items()
    if "." not in module.__name__ and not hasattr(module, "__path__"):
        return [(file.name, file)]
    package = sys.modules[top]
    root = Path(str(package.__file__)).resolve().parent if package.__file__ else file.parent
    return [(path.relative_to(root).as_posix(), path) for path in root.rglob("*") if _is_source(path)]


def _listed(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for entry in distribution.files or ():
        path = Path(str(distribution.locate_file(entry))).resolve()
        outside = ".." in entry.parts or entry.parts[0].endswith((".dist-info", ".egg-info"))
        if not outside and _is_source(path):
            yield entry.as_posix(), path


def _is_source(path: Path) -> bool:
    return (
        path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix not in (".pyc", ".nbi", ".nbc", ".pth")
    )
