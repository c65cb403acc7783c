"""Commands set up logging for their process: here each test leaves it as it was."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _each(logging_as_it_was: None) -> None:
    """Tests of commands, all of them."""
