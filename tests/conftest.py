"""For all tests: kernels are compiled once for a state of the sources, also for other processes."""

import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from streams.kernel_cache import use_kernel_cache

use_kernel_cache()


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
