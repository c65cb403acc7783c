"""Where the four packages come from: a folder of the user's called ``schemas`` must not pass for ours.

Nothing of calstream is imported here, for what would be imported may be the wrong one.
"""

from __future__ import annotations

import json
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

PACKAGES: Final = ("schemas", "processors", "streams", "simulator")
"""What the distribution installs."""


def shadowed() -> str:
    """Return a sentence that names the folder that hides one of our packages, or an empty string."""
    try:
        root = _root(distribution("calstream"))
    except PackageNotFoundError:
        return "it is not installed; run `make install`, or `pip install` its wheel"
    for package in PACKAGES:
        found = _folder(package)
        if found is None:
            return f"its package {package!r} is missing from {root}; install calstream again"
        if found != root / package:
            return (
                f"the folder {found} hides calstream's own package {package!r} in {root}; start calstream in "
                "another folder, by its command `calstream`, or take that folder off PYTHONPATH"
            )
    return ""


def _root(installed: Distribution) -> Path:
    """Return the folder that holds the packages: site-packages, or the source tree of an editable install."""
    direct = json.loads(installed.read_text("direct_url.json") or "{}")
    if direct.get("dir_info", {}).get("editable"):
        return Path(unquote(urlsplit(direct["url"]).path)).resolve()
    return Path(str(installed.locate_file(""))).resolve()


def _folder(package: str) -> Path | None:
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if spec and not places and spec.origin:
        return Path(spec.origin).resolve()
    return Path(places[0]).resolve() if places else None
