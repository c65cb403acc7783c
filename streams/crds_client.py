"""The CRDS client, with its failures as sentences.

It is made for one thread and for one environment per process; it raises SystemExit where its cache is
incomplete, logs to the terminal, and is slow to import. So it is imported late, and only from here.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from schemas.errors import Retriable, Unprocessable

_ENVIRONMENT: Final = ("CRDS_PATH", "CRDS_PATH_SINGLE", "CRDS_CONTEXT", "CRDS_SERVER_URL", "CRDS_MODE")
LOCK: Final = ".calstream-filling"
"""File in the cache that is locked while something is fetched into it."""

_seen: dict[str, tuple[str | None, ...]] = {}


def context_name(context: str | None = None) -> str:
    """Return the name of a context: the one given, else CRDS_CONTEXT's, else the operational one."""
    with _client() as client:
        wanted = context or os.environ.get("CRDS_CONTEXT") or "jwst-operational"
        return str(client.heavy.get_context_name("jwst", wanted))


def recommended(
    parameters: Mapping[str, str], reftypes: Sequence[str], context: str
) -> dict[str, Path | None]:
    """Return the best reference file of each type, fetched if a server is configured.

    Parameters
    ----------
    parameters : mapping of str to str
        What CRDS matches on, by data model path.
    reftypes : sequence of str
        CRDS's names of types.
    context : str
        Name of a context.

    Returns
    -------
    dict of str to Path or None
        None where the context says that the type does not apply; a type without a match is not there.
    """
    with _client() as client:
        _load_mappings(client, context)
        try:
            names = client.heavy.getrecommendations(parameters, reftypes=list(reftypes), context=context)
        except client.exceptions.CrdsUnknownInstrumentError:
            return {}
        except client.exceptions.CrdsError:
            if "META.INSTRUMENT.NAME" not in parameters:
                return {}
            raise
        answers = {reftype: str(name) for reftype, name in names.items()}
        files = {t: name for t, name in answers.items() if "NOT FOUND" not in name and name.upper() != "N/A"}
        paths = _fetched(client, context, files, parameters)
        for reftype, path in paths.items():
            if not Path(path).is_file():
                raise _unreachable(f"the {reftype} reference {path}")
    nothing = {t: None for t, name in answers.items() if name.upper() in ("N/A", "NOT FOUND N/A")}
    return {**nothing, **{reftype: Path(path) for reftype, path in paths.items()}}


def environment() -> tuple[str | None, ...]:
    """Return all that the client's answers depend on, and that it looks at only once."""
    found = tuple(os.environ.get(name) for name in _ENVIRONMENT)
    if os.environ.get("CRDS_SERVER_URL"):
        return found  # then the client itself writes the file below
    config = os.path.join(os.environ.get("CRDS_PATH", ""), "config/jwst/server_config")
    with suppress(OSError):
        stat = os.stat(config)
        return (*found, f"{stat.st_mtime_ns} {stat.st_ino}")
    return found


class _Client:
    """The parts of the CRDS client that are used."""

    def __init__(self) -> None:
        from crds.client import api
        from crds.core import config, exceptions, heavy_client, utils

        self.api, self.config, self.exceptions = api, config, exceptions
        self.heavy, self.utils = heavy_client, utils


@contextmanager
def _client() -> Iterator[_Client]:
    """Give the client, and turn what it raises into sentences."""
    if not (os.environ.get("CRDS_PATH") or os.environ.get("CRDS_PATH_SINGLE")):
        raise Unprocessable(
            "CRDS_PATH is not set; export CRDS_PATH=FOLDER with the folder of a CRDS cache, and "
            "CRDS_SERVER_URL=https://jwst-crds.stsci.edu to have it filled as needed"
        )
    client = _Client()
    _refresh(client)
    try:
        yield client
    except (
        client.exceptions.CrdsNetworkError,
        client.exceptions.ServiceError,
        client.exceptions.CrdsDownloadError,
    ) as error:
        raise _unreachable(str(error)) from None
    except client.exceptions.CrdsError as error:
        said = _one_line(str(error))
        raise Unprocessable(f"CRDS: {said}; check CRDS_CONTEXT and the cache in CRDS_PATH") from None
    except SystemExit:
        raise _unreachable("config/jwst/server_config") from None


def _unreachable(what: str) -> Unprocessable | Retriable:
    cache = os.environ.get("CRDS_PATH") or os.environ.get("CRDS_PATH_SINGLE")
    server = os.environ.get("CRDS_SERVER_URL")
    if server:
        return Retriable(
            f"the CRDS cache {cache} lacks something, and the server {server} did not bring it "
            f"({_one_line(what)}); check the server, then try again"
        )
    return Unprocessable(
        f"the CRDS cache {cache} lacks something ({_one_line(what)}); check CRDS_PATH, or export "
        "CRDS_SERVER_URL=https://jwst-crds.stsci.edu to have it filled"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _refresh(client: _Client) -> None:
    """Drop what the client remembers of another environment: its own caches know no CRDS_PATH."""
    now = environment()
    before = _seen.get("environment")
    if before == now:
        return
    _seen["environment"] = now
    if "CRDS_VERBOSITY" not in os.environ:
        logging.getLogger("CRDS").setLevel(logging.CRITICAL + 1)
    if before is not None:
        client.utils.clear_function_caches()
        if server := os.environ.get("CRDS_SERVER_URL"):
            client.api.set_crds_server(server)


def _fetched(
    client: _Client, context: str, files: Mapping[str, str], parameters: Mapping[str, str]
) -> dict[str, str]:
    if not files:
        return {}
    if not os.environ.get("CRDS_SERVER_URL"):
        return {t: str(client.config.locate_file(name, "jwst")) for t, name in files.items()}
    with _filling():
        return dict(client.api.cache_references(context, dict(files), parameters=dict(parameters)))


@contextmanager
def _filling() -> Iterator[None]:
    """Fill the cache alone: of two processes that fetch one file the client lets the second go without it."""
    cache = os.environ.get("CRDS_PATH") or os.environ.get("CRDS_PATH_SINGLE") or ""
    try:
        lock = open(Path(cache, LOCK), "w")  # noqa: SIM115  it may fail, and the block goes on without it
    except OSError:  # a cache that cannot be written is not filled either
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _load_mappings(client: _Client, context: str) -> None:
    """Load the context, fetching it if need be: left to the lookup, a failure would print a traceback."""
    try:
        client.heavy.get_symbolic_mapping(context)
    except OSError:
        if not os.environ.get("CRDS_SERVER_URL"):
            raise _unreachable(f"the mapping {context}, or one that it names") from None
        with _filling():
            client.api.dump_mappings(context)
