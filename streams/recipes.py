"""Recipes as files and in the store, and the fingerprint of the code that follows them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Final, Protocol

from processors.options import suggestion
from processors.recipes import BUILTIN, builtin, merged
from schemas.canonical import digest as digest_of
from schemas.errors import Unprocessable, UsageError
from schemas.recipe import Recipe, parse_recipe

PACKAGES: Final = ("processors", "schemas")
"""Packages whose sources decide a result."""

LIBRARIES: Final = (
    "numpy", "scipy", "numba", "astropy", "gwcs", "drizzle", "photutils", "asdf", "asdf-astropy",
    "stdatamodels",
)  # fmt: skip
"""Libraries whose versions decide a result."""


class Files(Protocol):
    """The part of a store that recipes need."""

    def put_if_absent(self, path: str, content: bytes) -> bool:
        """Write a file unless it is there; return whether it was written."""

    def read_bytes(self, path: str) -> bytes:
        """Return a file's content."""

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""


class Listing(Protocol):
    """The part of a store that can be looked through."""

    def names(self, path: str) -> list[str]:
        """Return the names of what lies in a folder."""


def load_recipe(spec: str | Path) -> Recipe:
    """Return a recipe by the name of a built-in one, or from a file.

    Parameters
    ----------
    spec : str or Path
        ``optimal``, ``baseline``, or the path of a YAML file; a recipe without a name is called as its file.

    Raises
    ------
    UsageError
        If there is neither, or the file is no recipe.
    """
    if str(spec) in BUILTIN:
        return builtin(str(spec))
    path = Path(spec).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"there is no recipe {str(spec)!r}: no file of that name, and no built-in recipe; "
            f"{suggestion(str(spec), BUILTIN)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "not text"
        raise UsageError(
            f"{path}: the recipe cannot be read ({said}); give the path of a YAML file"
        ) from None
    recipe = parse_recipe(text, str(path))
    merged(recipe)  # an unknown base is found here
    if "name" not in recipe.model_fields_set and (name := _name(path.stem)):
        recipe = recipe.model_copy(update={"name": name})
    return recipe


def freeze(recipe: Recipe, store: Files) -> str:
    """Put a recipe into the store under its digest, and return the digest."""
    store.put_if_absent(f"recipes/{recipe.digest}.yaml", recipe.to_yaml().encode())
    return recipe.digest


def frozen(store: Files, digest: str) -> Recipe:
    """Return the recipe that the store holds under a digest.

    Raises
    ------
    Unprocessable
        If there is none, or another one.
    """
    path = _path(digest)
    if not store.exists(path):
        raise Unprocessable(f"the store holds no recipe {digest}; submit the recipe to this store again")
    recipe = parse_recipe(store.read_bytes(path).decode("utf-8", "replace"), path)
    if recipe.digest != digest:
        raise Unprocessable(f"{path}: the recipe in it has another digest; submit the recipe again")
    return recipe


def enabled(store: Files, digest: str) -> bool:
    """Tell whether a frozen recipe may run: one that replaces code only after :func:`enable`."""
    return not frozen(store, digest).replaces_code or store.exists(f"recipes/enabled/{digest}")


def enable(store: Files, digest: str) -> Recipe:
    """Let a frozen recipe that replaces code run; return it."""
    recipe = frozen(store, digest)
    store.put_if_absent(f"recipes/enabled/{digest}", b"")
    return recipe


def whole_digest(store: Listing, beginning: str) -> str:
    """Return the digest of the one recipe in the store whose digest begins so.

    Raises
    ------
    UsageError
        If there is none, or several.
    """
    wanted = beginning.strip().lower()
    digests = [name.removesuffix(".yaml") for name in store.names("recipes") if name.endswith(".yaml")]
    found = [digest for digest in digests if digest.startswith(wanted)] if wanted else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"the digests of {len(found)} recipes begin with {beginning!r}; write more of it")
    raise UsageError(
        f"the store holds no recipe whose digest begins with {beginning!r}; `calstream line list` shows "
        "those of the lines"
    )


@cache
def fingerprint() -> str:
    """Return the SHA-256 of the installed sources of `PACKAGES` and the versions of `LIBRARIES`.

    It is worked out once per process, as modules are loaded once per process.
    """
    sources = {f"{package}/{name}": content for package in PACKAGES for name, content in _sources(package)}
    return digest_of({"sources": sources, "versions": {name: _version(name) for name in LIBRARIES}})


def _sources(package: str) -> Iterator[tuple[str, str]]:
    spec = util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        root = Path(place)
        for path in root.rglob("*"):
            if path.suffix in (".py", ".yaml") and path.is_file():
                yield path.relative_to(root).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _path(digest: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageError(f"{digest!r} is no digest of a recipe; it has 64 digits of 0-9 and a-f")
    return f"recipes/{digest}.yaml"


def _name(stem: str) -> str:
    word = re.sub(r"[^A-Za-z0-9._-]", "-", stem).strip("-._")[:64]
    return word if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", word) else ""
