"""``calstream dlq`` and ``rewind``, with no service running."""

from __future__ import annotations

import json

import pytest

from schemas.canonical import digest
from schemas.events import Artifact, ProductEvent, RecipeReference
from streams.bus import Outgoing
from streams.bus.embedded import EmbeddedBus
from streams.cli import main
from streams.deadletters import dead_letter, dead_letter_topics, letters
from streams.envelope import pack
from streams.topics import TOPICS

SENTENCE = "all [bold] pixels [/x] are saturated; look at the raw data"


def raw(name, detector="NRCA1"):
    return ProductEvent(
        topic="raw", name=name, suffix="uncal", generation="0" * 26, keywords={"DETECTOR": detector},
        recipe=RecipeReference(name="optimal", digest=digest("optimal")),
        product=Artifact(uri=f"memory:/{name}", size=1, sha256=digest(name), content=digest(name)),
    )  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three dead letters; the third is no event."""
    monkeypatch.setenv("COLUMNS", "200")
    bus = EmbeddedBus(str(tmp_path / "bus"))
    bus.create_topics([*TOPICS, *dead_letter_topics("detector1", ["raw"])])
    bus.publish([
        pack(raw("one")), pack(raw("two", "NRCA3")),
        Outgoing(topic="raw", key="three", value=b"\x00\x1b[2Jno event", headers={"odd": "\x1b[31mred"}),
    ])  # fmt: skip
    consumer = bus.consumer("detector1", ["raw"])
    found = []
    while len(found) < 3:
        found += consumer.poll(5)
    consumer.commit(found, [dead_letter(m, "detector1", "Unprocessable", SENTENCE, 3) for m in found])
    consumer.close()
    bus.close()
    return ["--bus", f"embedded:{tmp_path / 'bus'}", "--store", str(tmp_path / "store")]


def on_bus(place, what):
    bus = EmbeddedBus(place[1].removeprefix("embedded:"))
    try:
        return what(bus)
    finally:
        bus.close()


def ids(place):
    return on_bus(place, lambda bus: {letter.message.key: letter.id for letter in letters(bus)})


def test_letters_are_listed_with_the_reason(place, capsys):
    assert main(["dlq", "list", *place]) == 0
    out = capsys.readouterr().out
    assert out.count(SENTENCE) == 3
    assert "main/one/uncal" in out
    assert "13 bytes that are no event" in out
    assert out.endswith("3 dead letters pending\n")
    assert main(["dlq", "list", "--where", "detector == 'NRCA3'", "--topic", "raw", *place]) == 0
    assert capsys.readouterr().out.endswith("1 dead letter pending\n")


def test_a_letter_is_shown_whole(place, capsys):
    found = ids(place)
    assert main(["dlq", "show", found["one"][:6], *place]) == 0
    out = capsys.readouterr().out
    assert SENTENCE in out
    assert "dlq.service: detector1" in out
    assert json.loads(out[out.index("{") :])["name"] == "one"
    assert main(["dlq", "show", found["three"], *place]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "00 1b 5b 32 4a 6e 6f" in out
    assert "..[2Jno event" in out


def test_retry_and_drop(place, capsys):
    found = ids(place)
    assert main(["dlq", "retry", found["one"], *place]) == 0
    assert capsys.readouterr().out == "1 dead letter retried\n"
    assert [m.key for m in on_bus(place, lambda bus: list(bus.read("raw")))].count("one") == 2
    assert main(["dlq", "retry", found["one"], *place]) == 2
    assert "no dead letter" in capsys.readouterr().err
    assert main(["dlq", "retry", "--all", *place]) == 0
    told = capsys.readouterr()
    assert told.out == "1 dead letter retried\n"
    assert "cannot be retried; drop it" in told.err
    assert main(["dlq", "drop", found["three"], *place]) == 0
    assert ids(place) == {}
    capsys.readouterr()
    assert main(["dlq", "list", "--all", *place]) == 0
    out = capsys.readouterr().out
    assert (out.count("retried"), out.count("dropped")) == (2, 1)


def test_nobody_means_all_by_saying_nothing(place, capsys):
    for action in ("retry", "drop"):
        assert main(["dlq", action, *place]) == 2
        assert "--all" in capsys.readouterr().err
    assert len(ids(place)) == 3


def test_rewind(place, capsys):
    assert main(["rewind", "detector1", "--to", "earliest", "--dry-run", *place]) == 0
    assert capsys.readouterr().out.endswith("detector1 would read 3 messages again\n")
    assert main(["rewind", "detector1", "--to", "1h", *place]) == 0
    assert capsys.readouterr().out.endswith("detector1 will read 3 messages again\n")
    assert on_bus(place, lambda bus: bus.lag("detector1", ["raw"])) == {"raw": 3}
    assert main(["rewind", "detector1", "--to", "soon", *place]) == 2
