"""Ingest is killed between any two of its steps, and the next one completes what it had begun."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from streams.current import events_of
from streams.envelope import unpack
from streams.ingest.intake import Intake
from streams.site import Address, open_site

_KILLED = """
import os, signal, sys
from pathlib import Path
from streams.ingest.intake import Intake
from streams.site import Address, open_site
from streams.store import Store

bus, store, path, method, when, part = sys.argv[1:]
site = open_site(Address(bus=bus, store=store))
owner = type(site.bus) if method == "publish" else Store
original = getattr(owner, method)

def deadly(self, first, *rest):
    meant = part in str(first)
    if meant and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(self, first, *rest)
    if meant:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, method, deadly)
Intake(site).take(Path(path))
"""

POINTS = [
    ("put_file_if_absent", "before", "raw/", 0),
    ("put_file_if_absent", "after", "raw/", 0),
    ("put_if_absent", "before", ".json", 0),
    ("put_if_absent", "after", ".json", 0),
    ("publish", "before", "'raw'", 0),
    ("publish", "after", "'raw'", 1),
    ("put_if_absent", "before", ".published", 1),
    ("put_if_absent", "after", ".published", 1),
]


@pytest.mark.parametrize(("method", "when", "part", "said"), POINTS)
def test_killed_ingest_is_completed_with_the_same_event(tmp_path, arrive, method, when, part, said):
    where = Address(bus=f"embedded:{tmp_path / 'bus'}", store=str(tmp_path / "store"))
    path = arrive()
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, where.bus, where.store, str(path), method, when, part], check=False
    )
    assert done.returncode == -signal.SIGKILL
    site = open_site(where)
    try:
        before = [event.id for event in events_of(site.bus, ["raw"])]
        assert len(before) == said
        written = site.store.names(f"roots/main/{path.name.removesuffix('_uncal.fits')}/uncal")
        (note,) = Intake(site).take(path)
        after = [unpack(message) for message in site.bus.read("raw")]
        confirmed = any(name.endswith(".published") for name in written)
        assert note.outcome == ("known" if confirmed else "published")
        assert len({event.id for event in after}) == 1
        assert len(after) == said + (not confirmed)
        with site.store.fetch(after[0].product) as stored:
            assert stored.read_bytes() == path.read_bytes()
        assert site.store.names("incoming") == []
        assert Intake(site).take(path)[0].outcome == "known"
    finally:
        site.bus.close()
