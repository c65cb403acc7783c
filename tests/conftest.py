"""For all tests: kernels are compiled once for a state of the sources, also for other processes."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from streams.kernel_cache import use_kernel_cache

use_kernel_cache()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # processes of a script in the background inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Undo what commands set up for their process, for tests that call them in this one."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def pytest_sessionfinish() -> None:
    """Stop the brokers, if a test has needed any."""
    if (brokers := sys.modules.get("tests.streams.bus.brokers")) is not None:
        brokers.stop_clusters()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly what was not tested on a real broker, and why."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.getreports("skipped")]
    without = [reason for reason in reasons if "no Kafka here" in reason]
    if without:
        terminalreporter.write_line(
            f"KAFKA WAS NOT TESTED: {len(without)} tests skipped, {without[0].removeprefix('Skipped: ')}",
            red=True,
            bold=True,
        )
