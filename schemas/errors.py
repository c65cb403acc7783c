"""The two ways to fail, and the one sentence that each owes its reader."""

from __future__ import annotations


class CalstreamError(Exception):
    """A failure whose message is one sentence for the user: what, where, and what to do."""


class Unprocessable(CalstreamError):
    """The data or the request is bad: trying again gives the same failure."""


class Retriable(CalstreamError):
    """Something that may pass: a server that is down, a full disk."""


class UsageError(Unprocessable):
    """A request that cannot be understood: an unknown recipe, step or parameter, a value out of bounds."""
