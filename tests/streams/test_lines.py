"""Lines, and recipes by the beginning of their digest."""

from __future__ import annotations

import pytest

from processors.recipes import builtin
from schemas.errors import UsageError
from streams.bus import Outgoing
from streams.bus.memory import MemoryBus
from streams.lines import add_line, lines, stop_line
from streams.recipes import freeze, frozen, whole_digest
from streams.store import Store
from streams.topics import LINES, TOPICS


@pytest.fixture
def bus() -> MemoryBus:
    bus = MemoryBus()
    bus.create_topics(TOPICS)
    return bus


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def test_main_is_there_under_the_optimal_recipe(bus, store):
    (line,) = lines(bus, store).values()
    assert (line.name, line.active) == ("main", True)
    assert frozen(store, line.recipe.digest) == builtin("optimal")


def test_a_line_is_made_changed_and_stopped(bus, store):
    add_line("two", builtin("optimal"), bus, store)
    add_line("two", builtin("baseline"), bus, store)
    assert lines(bus, store)["two"].recipe.name == "baseline"
    stop_line("two", bus, store)
    assert {line.name: line.active for line in lines(bus, store).values()} == {"main": True, "two": False}
    add_line("two", builtin("baseline"), bus, store)
    assert lines(bus, store)["two"].active


def test_main_can_be_given_another_recipe_and_stopped(bus, store):
    add_line("main", builtin("baseline"), bus, store)
    assert lines(bus, store)["main"].recipe.name == "baseline"
    stop_line("main", bus, store)
    assert not lines(bus, store)["main"].active


@pytest.mark.parametrize("name", ["", "Main", "a/b", "x" * 65, "-x"])
def test_a_bad_name_is_refused(bus, store, name):
    with pytest.raises(UsageError, match="no name of a line"):
        add_line(name, builtin("optimal"), bus, store)


def test_a_line_that_is_not_there_cannot_be_stopped(bus, store):
    with pytest.raises(UsageError, match="no line 'two'; choose one of main"):
        stop_line("two", bus, store)


def test_a_record_of_a_later_version_is_left_out(bus, store):
    bus.publish([Outgoing(topic=LINES, key="new", value=b'{"name": "new"}')])
    assert set(lines(bus, store)) == {"main"}


def test_a_recipe_is_found_by_the_beginning_of_its_digest(store):
    digests = [freeze(builtin(name), store) for name in ("optimal", "baseline")]
    store.put_if_absent(f"recipes/enabled/{digests[0]}", b"")
    for digest in digests:
        assert whole_digest(store, digest[:10].upper()) == digest
        assert whole_digest(store, digest) == digest
    for none in ("", "zz", "enabled"):
        with pytest.raises(UsageError, match="no recipe whose digest begins"):
            whole_digest(store, none)
    store.put_if_absent(f"recipes/{digests[0][:63]}x.yaml", b"")
    with pytest.raises(UsageError, match="2 recipes"):
        whole_digest(store, digests[0][:10])
