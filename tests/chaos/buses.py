"""Buses that services are killed on; one more entry of `FACTORIES` joins all tests here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.points import Point


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A kind of bus.

    Attributes
    ----------
    url : callable
        The URL of one in an empty folder.
    points : mapping of str to Point
        Where a parent can be killed within it.
    shorten : callable
        Makes leases of so many seconds, for what this process opens from now on.
    """

    url: Callable[[Path], str]
    points: Mapping[str, Point]
    shorten: Callable[[float], None]


def _shorten_embedded(lease: float) -> None:
    from streams.bus.embedded import EmbeddedBus

    EmbeddedBus.__init__.__kwdefaults__["lease"] = lease


_COMMIT = "streams.bus.embedded.consumer:EmbeddedConsumer.commit"

FACTORIES = {
    "embedded": Factory(
        url=lambda folder: f"embedded:{folder / 'bus'}",
        points={
            "polled": Point("streams.bus.embedded.consumer:EmbeddedConsumer.poll", "after"),
            "begin": Point(_COMMIT, "before"),
            "offsets": Point("streams.bus.embedded.groups:Groups.mark", "after", inside=_COMMIT),
            "send": Point("streams.bus.embedded.log:_insert", "after", inside=_COMMIT),
            "sent": Point("streams.bus.embedded.log:Log.append", "after", inside=_COMMIT),
            "committed": Point(_COMMIT, "after"),
        },
        shorten=_shorten_embedded,
    ),
}
