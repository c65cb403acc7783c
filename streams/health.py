"""What a service answers over HTTP on this machine: its metrics, if it goes round, if it is ready."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from schemas.errors import UsageError, explained
from schemas.records import ServiceRecord

LOOPBACK: Final = "127.0.0.1"
_PLAIN: Final = "text/plain; charset=utf-8"
_PATIENCE: Final = 10.0


class HealthServer:
    """Answers ``/metrics``, ``/healthz`` and ``/readyz`` from a thread of its own.

    Parameters
    ----------
    registry : CollectorRegistry
        The metrics.
    healthy, ready : callable
        Return an empty string for yes (200), else the sentence that says why not (503).
    port : int, optional
        Any free one when 0.

    Raises
    ------
    UsageError
        If the port is not free.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        healthy: Callable[[], str],
        ready: Callable[[], str],
        port: int = 0,
    ) -> None:
        pages = {
            "/metrics": _Metrics(registry),
            "/healthz": _Probe(healthy),
            "/readyz": _Probe(ready),
        }
        try:
            self._server = _Server((LOOPBACK, port), type("Handler", (_Handler,), {"pages": pages}))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"metrics cannot be served on port {port} ({error}); choose another one with --metrics-port"
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Return the port on which it answers."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """Return ``host:port``."""
        return f"{LOOPBACK}:{self.port}"

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def targets_json(records: Iterable[ServiceRecord]) -> str:
    """Return where to scrape the services that serve metrics, for Prometheus' file discovery."""
    there: dict[str, set[str]] = {}
    for record in records:
        if record.metrics and record.state != "stopped":
            there.setdefault(record.metrics, set()).add(record.service)
    targets = [
        {"targets": [address], "labels": {"service": ",".join(sorted(names))}}
        for address, names in sorted(there.items())
    ]
    return json.dumps(targets, indent=1) + "\n"


def write_targets(records: Iterable[ServiceRecord], path: Path) -> None:
    """Write that file, at once: Prometheus never sees half of it."""
    with explained(path, "written"):
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(fd, "w") as file:
                file.write(targets_json(records))
            os.chmod(name, 0o644)  # another user's Prometheus reads it
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


Page = tuple[HTTPStatus, str, bytes]


class _Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def __call__(self, accept: str) -> Page:
        encode, content_type = choose_encoder(accept)
        return HTTPStatus.OK, content_type, encode(self._registry)


class _Probe:
    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask

    def __call__(self, accept: str) -> Page:
        sentence = self._ask()
        status = HTTPStatus.SERVICE_UNAVAILABLE if sentence else HTTPStatus.OK
        return status, _PLAIN, f"{sentence or 'ok'}\n".encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whoever asked has gone."""


class _Handler(BaseHTTPRequestHandler):
    pages: dict[str, Callable[[str], Page]]
    timeout = _PATIENCE  # a connection on which nothing comes does not stay

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape every few seconds is no news."""

    def _answer(self, *, body: bool) -> None:
        status, content_type, content = self._page()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _page(self) -> Page:
        page = self.pages.get(self.path.partition("?")[0])
        if page is None:
            known = ", ".join(self.pages)
            return HTTPStatus.NOT_FOUND, _PLAIN, f"there is nothing here; ask for {known}\n".encode()
        try:
            return page(self.headers.get("Accept", ""))
        except Exception as error:  # whoever asks must hear of it
            text = f"{type(error).__name__}: {error}\n"
            return HTTPStatus.INTERNAL_SERVER_ERROR, _PLAIN, text.encode()
