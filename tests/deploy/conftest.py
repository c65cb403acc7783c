"""Prometheus, where it is installed."""

from __future__ import annotations

import os
import shutil
import warnings

import pytest


@pytest.fixture(scope="session")
def prometheus() -> str:
    """Return where the programs prometheus and promtool are; in CI they must be there."""
    found = shutil.which("prometheus")
    if found and shutil.which("promtool"):
        return found
    message = "Prometheus is not installed: dashboards and alerts are not tried (apt-get install prometheus)"
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(message)
    warnings.warn(message, stacklevel=1)
    pytest.skip(message)
