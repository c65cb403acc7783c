"""The expressions of the dashboard and of the alerts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "calstream.json"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
RULES = DEPLOY / "prometheus" / "rules.yml"

_NAME = re.compile(r"\b(calstream_\w+|up)\b(?!\s*=)")


def dashboard() -> dict[str, str]:
    """Return the expressions of all panels, by title and letter, with the dashboard's variables filled in."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", "10s")
        .replace("$service", ".*")
        for panel in panels
        for target in panel["targets"]
    }


def variables() -> dict[str, str]:
    """Return the queries that fill the dashboard's variables, by name."""
    listed = json.loads(DASHBOARD.read_text())["templating"]["list"]
    return {one["name"]: one["definition"] for one in listed if one["type"] == "query"}


def alerts() -> dict[str, str]:
    """Return the expressions of all alerts, by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def metric_names(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    return set(_NAME.findall(re.sub(r'"[^"]*"', '""', expression)))
