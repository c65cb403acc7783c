"""Replay: chosen events go on their topic again, as a campaign that the associator knows.

What has not changed is found done by the stage that takes it, and is published as ``cached``; what has
changed is computed again with all that depends on it, once.
"""

from __future__ import annotations

from streams.replay.campaign import Campaign, prepare, publish
from streams.replay.forecast import Forecast, forecast, tools_of
from streams.replay.recipes import derived, new_recipes
from streams.replay.selection import TOPICS, Conditions, Selection, choose

__all__ = [
    "TOPICS",
    "Campaign",
    "Conditions",
    "Forecast",
    "Selection",
    "choose",
    "derived",
    "forecast",
    "new_recipes",
    "prepare",
    "publish",
    "tools_of",
]
