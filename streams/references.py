"""Reference files: picked by the CRDS client, known by digest, decoded once and kept within a bound.

``CRDS_PATH``, ``CRDS_CONTEXT`` and ``CRDS_SERVER_URL`` mean what they mean to users of JWST's software.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from schemas.errors import Unprocessable, UsageError
from schemas.keywords import crds_parameters
from schemas.products import Product
from schemas.reference_files import MODELS, TABLES, load
from schemas.references import ModelReference, Reference, References, TableReference, Window
from streams import crds_client

MATCHED: Final = (
    "INSTRUME", "DETECTOR", "EXP_TYPE", "FILTER", "PUPIL", "GRATING", "CHANNEL", "BAND", "SUBARRAY",
    "READPATT", "DATE-OBS", "TIME-OBS",
)  # fmt: skip
"""Keywords that a sentence about a missing reference shows."""

DEMANDED: Final = ("INSTRUME", "DETECTOR", "EXP_TYPE", "DATE-OBS", "TIME-OBS")
"""Those of them without which nothing is ever found."""

CLASSES: Final = {"bkg_subtract": "background", "msa_flagging": "msaflagopen", "srctype": "sourcetype"}
"""Steps whose parameter reference is not named as the step is."""

_SETTLED_AFTER: Final = 2.0
_MEMORY: Final = 4096
_SHARE: Final = 16
"""Least number of references that the cache must have room for, were all like one that it takes."""
_LOCK: Final = threading.RLock()


class ReferenceLibrary:
    """Looks up, hashes and decodes reference files.

    Parameters
    ----------
    context : str, optional
        CRDS context, for example ``jwst_1234.pmap``; CRDS_CONTEXT when absent, else the operational one.
    cache_bytes : int
        Bound on the decoded references that are kept. None is that takes more than a sixteenth of it: a full
        frame's are read again in little time, would be held while their exposure needs the memory, and are
        of use to the same detector only.
    """

    def __init__(self, context: str | None = None, cache_bytes: int = 128 * 2**20) -> None:
        self._context = context
        self._decoded = _Decoded(cache_bytes)
        self._digests = _Digests()
        self._picked: dict[Any, Path | str | None] = {}
        self._parameters: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._named: tuple[tuple[str | None, ...], str] | None = None

    def with_context(self, context: str | None) -> ReferenceLibrary:
        """Return a library for another context that shares what is decoded; this one when None."""
        if context is None or context == self._context:
            return self
        other = ReferenceLibrary(context)
        other._decoded, other._digests, other._parameters = self._decoded, self._digests, self._parameters
        return other

    def context(self) -> str:
        """Return the name of the context that is used.

        Raises
        ------
        Unprocessable
            If CRDS_PATH is not set, or nothing tells the operational context.
        Retriable
            If the CRDS server cannot be reached.
        """
        with _LOCK:
            known = crds_client.environment()
            if self._named is None or self._named[0] != known:
                self._named = None  # a failure is asked again
                self._named = known, crds_client.context_name(self._context)
            return self._named[1]

    def pick(self, keywords: Mapping[str, Any], reftypes: Iterable[str]) -> dict[str, Path | None]:
        """Return the best reference file of each type, fetched if a CRDS server is configured.

        Parameters
        ----------
        keywords : mapping of str to object
            FITS keywords of the exposure.
        reftypes : iterable of str
            CRDS's names of types.

        Returns
        -------
        dict of str to Path or None
            None where the context says that the type does not apply; a type without a match is not there.

        Raises
        ------
        Unprocessable
            If CRDS_PATH is not set, or the cache lacks something that no server can bring.
        Retriable
            If the CRDS server cannot be reached.
        """
        types = list(dict.fromkeys(reftypes))
        if not types:
            return {}
        context = self.context()
        parameters = crds_parameters(keywords)
        known = (crds_client.environment(), context, tuple(parameters.items()))
        with _LOCK:
            new = [reftype for reftype in types if (known, reftype) not in self._picked]
            if new:
                if len(self._picked) > _MEMORY:
                    self._picked.clear()
                    new = types
                found = crds_client.recommended(parameters, new, context)
                self._picked.update({(known, reftype): found.get(reftype, "") for reftype in new})
            picked = {reftype: self._picked[known, reftype] for reftype in types}
        return {reftype: path for reftype, path in picked.items() if not isinstance(path, str)}

    def references(
        self,
        keywords: Mapping[str, Any],
        reftypes: Iterable[str],
        window: Window,
        overrides: Mapping[str, str | Path] | None = None,
    ) -> References:
        """Return the references of an exposure, each decoded when first asked for.

        Parameters
        ----------
        keywords, reftypes
            As for :meth:`pick`.
        window : Window
            The exposure's pixels, to which images are cut.
        overrides : mapping of str to path, optional
            Files to take instead of CRDS's.
        """
        paths = self._paths(keywords, reftypes, overrides or {})
        loaders: dict[str, Callable[[], Reference] | Reference] = {
            reftype: partial(self._load, path, reftype, window) for reftype, path in paths.items()
        }
        missing = "" if set(reftypes) <= set(loaders) else self._sought(keywords)
        return References(loaders, missing, lambda reftype: self._identity(paths[reftype]))

    def digests(
        self,
        keywords: Mapping[str, Any],
        reftypes: Iterable[str],
        overrides: Mapping[str, str | Path] | None = None,
    ) -> dict[str, dict[str, str]]:
        """Return ``name``, ``digest`` and ``path`` of each reference that there is; nothing is decoded."""
        paths = self._paths(keywords, reftypes, overrides or {})
        return {
            reftype: {"name": name, "digest": digest, "path": str(path)}
            for reftype, path in paths.items()
            for name, digest in [self._identity(path)]
        }

    def parameters(
        self, keywords: Mapping[str, Any], steps: Iterable[str], pipelines: Iterable[str] = ()
    ) -> dict[str, dict[str, Any]]:
        """Return what the context's parameter references say of steps.

        Parameters
        ----------
        keywords : mapping of str to object
            FITS keywords of the exposure.
        steps : iterable of str
            Names of steps; a step's reference has the type ``pars-jumpstep`` and so on.
        pipelines : iterable of str
            Names of pipelines, for example ``detector1``; what their references say of a step wins.

        Returns
        -------
        dict of str to dict
            Entries by step; a step without any is not there.
        """
        wanted = {f"pars-{CLASSES.get(step, step.replace('_', ''))}step": step for step in steps}
        whole = [f"pars-{name}pipeline" for name in pipelines]
        files = self.pick(keywords, [*wanted, *whole])
        result: dict[str, dict[str, Any]] = {}
        for reftype, step in wanted.items():
            if (path := files.get(reftype)) is not None:
                result.setdefault(step, {}).update(self._tree(path).get("parameters") or {})
        for reftype in whole:
            if (path := files.get(reftype)) is not None:
                for entry in self._tree(path).get("steps") or ():
                    if entry.get("name") in wanted.values():
                        result.setdefault(entry["name"], {}).update(entry.get("parameters") or {})
        return {step: entries for step, entries in result.items() if entries}

    def _paths(
        self, keywords: Mapping[str, Any], reftypes: Iterable[str], overrides: Mapping[str, str | Path]
    ) -> dict[str, Path]:
        types = list(dict.fromkeys(reftypes))
        picked = self.pick(keywords, [reftype for reftype in types if reftype not in overrides])
        found = {**picked, **{t: _given(t, overrides[t]) for t in types if t in overrides}}
        return {t: path for t in types if (path := found.get(t)) is not None}

    def _identity(self, path: Path) -> tuple[str, str]:
        return path.name, self._digests.of(path)

    def _load(self, path: Path, reftype: str, window: Window) -> Reference:
        digest = self._digests.of(path)
        whole = reftype in TABLES or reftype in MODELS
        key = (str(path), digest, reftype, None if whole else window)
        return self._decoded.get(key, lambda: load(path, reftype, digest, window))

    def _tree(self, path: Path) -> Mapping[str, Any]:
        key = (str(path), self._digests.of(path))
        if key not in self._parameters:
            self._parameters[key] = _parameter_tree(path)
        return self._parameters[key]

    def _sought(self, keywords: Mapping[str, Any]) -> str:
        words = [f"{keyword}={keywords[keyword]}" for keyword in MATCHED if keyword in keywords]
        lacking = [keyword for keyword in DEMANDED if keyword not in keywords]
        words += [f"without {', '.join(lacking)}"] if lacking else []
        return f"{' '.join(words)} in the CRDS context {self.context()}"


def references_for(
    product: Product, context: str | None = None, overrides: Mapping[str, str | Path] | None = None
) -> References:
    """Return every reference that the steps may need for a product, each decoded when first asked for.

    Parameters
    ----------
    product : Product
        An exposure of any level.
    context : str, optional
        CRDS context; CRDS_CONTEXT when absent, else the operational one.
    overrides : mapping of str to path, optional
        Files to take instead of CRDS's, by type.
    """
    from processors.registry import STEPS

    keywords = product.meta.keywords()
    types = dict.fromkeys(reftype for step in STEPS.values() for reftype in step.wanted)
    return ReferenceLibrary(context).references(keywords, types, Window.of(keywords), overrides)


class _Decoded:
    """References by key; large ones are not kept, the least recently used ones dropped beyond a bound."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._held: OrderedDict[Any, tuple[Reference, int]] = OrderedDict()
        self._total = 0

    def get(self, key: Any, make: Callable[[], Reference]) -> Reference:
        with _LOCK:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        reference = make()
        size = _size(reference)
        with _LOCK:
            if size <= self._bound // _SHARE and key not in self._held:
                self._held[key] = (reference, size)
                self._total += size
                while self._total > self._bound:
                    self._total -= self._held.popitem(last=False)[1][1]
        return reference


class _Digests:
    """SHA-256 of files by path, size, time and inode, remembered in the CRDS cache if it can be written."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def of(self, path: Path) -> str:
        stamp = _stamp(path)
        with _LOCK:
            if (found := self._known.get(str(path))) is None or found[0] != stamp:
                found = self._remembered(path).get(str(path))
            if found is None or found[0] != stamp:
                found = (stamp, _sha256(path))
                self._remember(path, found)
            self._known[str(path)] = found
            return found[1]

    def _remembered(self, path: Path) -> dict[str, tuple[str, str]]:
        file = _digest_file(path)
        with suppress(OSError, ValueError, AttributeError, TypeError):
            if file is not None:
                tree = json.loads(file.read_text())
                return {str(name): (str(stamp), str(digest)) for name, (stamp, digest) in tree.items()}
        return {}

    def _remember(self, path: Path, found: tuple[str, str]) -> None:
        file = _digest_file(path)
        # A file that was written a moment ago may be written again within the clock's resolution.
        if file is None or time.time() - path.stat().st_mtime < _SETTLED_AFTER:
            return
        tree = {**self._remembered(path), str(path): found}
        with suppress(OSError):
            handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
            with os.fdopen(handle, "w") as out:
                json.dump(tree, out)
            os.replace(temporary, file)


def _digest_file(path: Path) -> Path | None:
    """Return where digests of files in the CRDS cache are remembered; None for files that are not in it."""
    root = os.environ.get("CRDS_PATH") or os.environ.get("CRDS_PATH_SINGLE")
    readonly = os.environ.get("CRDS_READONLY_CACHE", "0") not in ("0", "")
    if not root or readonly or not path.is_relative_to(root):
        return None
    return Path(root) / "calstream-digests.json"


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise Unprocessable(f"{path}: cannot be read ({error.strerror}); fetch the file again") from None
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unprocessable(f"{path}: cannot be read ({error.strerror}); fetch the file again") from None


def _size(reference: Reference) -> int:
    if isinstance(reference, TableReference):
        return sum(table.nbytes for table in reference.tables.values())
    if isinstance(reference, ModelReference):
        return 2**20  # transforms are small; their arrays are not worth a walk through the tree
    arrays = [getattr(reference, name, None) for name in ("data", "dq", "err", "average_dark_current")]
    return sum(array.nbytes for array in arrays if array is not None and array.any())  # zero flags take none


def _given(reftype: str, path: str | Path) -> Path:
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise UsageError(f"override_{reftype}: there is no file {path}; give the path of a reference file")
    return file


def _parameter_tree(path: Path) -> Mapping[str, Any]:
    import asdf

    try:
        with asdf.open(path, lazy_load=False, memmap=False) as file:
            return dict(file.tree)
    except Exception as error:  # asdf raises whatever its extensions raise
        raise Unprocessable(f"{path}: is no parameter reference ({error}); fetch it again") from error
