"""Dashboard and alerts speak of metrics that there are, and show data of a service at work."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from streams.metrics import ServiceMetrics
from tests.deploy import expressions

HERE = Path(__file__).parent
DEADLINE = 120.0


def there_are() -> set[str]:
    """Return the names of all samples that services give, and of what Prometheus adds."""
    registry = CollectorRegistry()
    metrics = ServiceMetrics("detector1", ["raw"], ["detector1"], ["ramp"], registry)
    metrics.took("detector1", 1.0, {"jump": 1.0})
    metrics.turned()
    return {sample.name for metric in registry.collect() for sample in metric.samples} | {"up"}


def test_every_expression_names_metrics_that_there_are() -> None:
    every = {**expressions.dashboard(), **expressions.alerts(), **expressions.variables()}
    named = {where: expressions.metric_names(expression) for where, expression in every.items()}
    assert all(named.values()), named
    assert {where: names - there_are() for where, names in named.items() if names - there_are()} == {}


def test_every_metric_is_on_the_dashboard() -> None:
    shown = set().union(*(expressions.metric_names(text) for text in expressions.dashboard().values()))
    endings = ("_bucket", "_sum", "_count")
    families = {name.removesuffix(next((e for e in endings if name.endswith(e)), "")) for name in there_are()}
    assert {family for family in families if not any(name.startswith(family) for name in shown)} == set()


def test_panels_do_not_overlap_and_have_their_own_numbers() -> None:
    panels = json.loads(expressions.DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for at in (panel["gridPos"],)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_provisioning_leads_to_the_dashboard_and_its_source() -> None:
    grafana = expressions.DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((grafana / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((grafana / "dashboards" / "calstream.yml").read_text())["providers"]
    chosen = json.loads(expressions.DASHBOARD.read_text())["templating"]["list"][0]
    assert (chosen["name"], chosen["current"]["value"]) == ("datasource", source["uid"])
    assert provider["options"]["path"] == "${CALSTREAM_DASHBOARDS}"


@pytest.mark.usefixtures("prometheus")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", expressions.CONFIG),
        ("check", "rules", "--lint-fatal", expressions.RULES),
        ("test", "rules", HERE / "rules_test.yml"),
    ],
    ids=["config", "rules", "alerts"],
)
def test_promtool_is_content(arguments: tuple[str | Path, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def scraping(prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Prometheus, under our configuration, beside a process with the metrics of services at work."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load(expressions.CONFIG.read_text())
    config["global"].update(scrape_interval="1s", evaluation_interval="1s")
    config["rule_files"] = [str(expressions.RULES)]
    (discovery,) = config["scrape_configs"][0]["file_sd_configs"]
    discovery.update(files=[str(folder / "targets.json")], refresh_interval="1s")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    watched = subprocess.Popen(
        [sys.executable, "-m", "tests.deploy.scraped", str(folder / "targets.json")],
        stdin=subprocess.PIPE,
        cwd=HERE.parents[1],
    )
    with (folder / "log").open("w") as log:
        watcher = subprocess.Popen(
            [
                prometheus, f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield lambda path: asked(f"http://127.0.0.1:{port}{path}", watcher)
    finally:
        for process in (watcher, watched):
            process.terminate()
            process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def asked(url: str, process: subprocess.Popen[bytes]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while True:
        assert process.poll() is None, "Prometheus has ended"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, f"no answer from {url}"
            time.sleep(0.1)


def values(ask: Callable[[str], Any], expression: str) -> list[float]:
    found = ask(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")["result"]
    return [float(one["value"][1]) for one in found]


def test_every_expression_of_the_dashboard_returns_data(scraping: Callable[[str], Any]) -> None:
    missing = dict(expressions.dashboard())
    deadline = time.monotonic() + DEADLINE
    while missing:
        assert time.monotonic() < deadline, f"no data for {missing}"
        for where, expression in list(missing.items()):
            if any(math.isfinite(value) for value in values(scraping, expression)):
                del missing[where]
        time.sleep(0.2)


def test_alerts_are_evaluated_and_metrics_name_their_own_service(scraping: Callable[[str], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        rules = [rule for group in scraping("/api/v1/rules")["groups"] for rule in group["rules"]]
        if rules and all(rule["health"] == "ok" for rule in rules):
            break
        assert time.monotonic() < deadline, rules
        time.sleep(0.2)
    assert {rule["name"] for rule in rules} == set(expressions.alerts())
    while not (found := scraping("/api/v1/label/service/values")) or "detector1" not in found:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    assert {"detector1", "associator", "associator,detector1"} >= set(found)
    assert "exported_service" not in scraping("/api/v1/labels")
