"""What `libra aggregation` says and asks, over the in-memory store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from cli.commands import aggregation
from cli.main import main
from shared.settings import Settings
from shared.store import Merge
from tests.support.memory_store import MemoryStore
from tests.support.recomputing import World
from tests.support.standing import GRAMS, PLACES

CATALOG = ("aggregates_categories", "aggregates_actions", "aggregates_time_hours", "aggregates_time_dates")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The catalog is exact. A run has seen that the places are gone; no run has seen that the actions are."""
    world = World()
    catalog = world.source
    world.source = replace(catalog, aggregations=(*catalog.aggregations, PLACES, GRAMS))
    world.serve(3)
    for _ in range(2):
        world.later(hours=1)
        world.run()
    world.source = replace(catalog, aggregations=(*catalog.aggregations, GRAMS))
    world.run()
    world.source = catalog
    world.later(hours=1)

    @contextmanager
    def connected(*_: object) -> Iterator[tuple[MemoryStore, Settings]]:
        yield world.memory, world.settings

    monkeypatch.setattr(aggregation, "connected", connected)
    monkeypatch.setattr(aggregation, "named_store", connected)
    return world


def libra(*arguments: str, answer: str = "") -> Result:
    """Run `libra aggregation`."""
    return CliRunner().invoke(main, ["aggregation", *arguments], input=answer)


def told(*arguments: str) -> str:
    """What it prints, in one line."""
    return " ".join(libra(*arguments).stdout.split())


@pytest.mark.usefixtures("world")
def test_each_aggregation_is_told_with_its_state() -> None:
    """Exact since when; orphaned with how many documents, and whether a run has seen it."""
    printed = told("status")
    assert printed.count("exact since 2025-09-04 20:50:00 UTC") == len(CATALOG)
    assert (
        "places orphaned since 2025-09-04 21:00:00 UTC, 1 documents in places: libra aggregation remove"
        in printed
    )
    assert (
        "actions orphaned 1 documents in actions; no run has seen yet that it is declared no more" in printed
    )


def test_what_is_filling_or_unseen_says_what_makes_it_exact(world: World) -> None:
    """A run, or a run with a watermark that is late enough; and which fields are left of earlier measures."""
    name = "aggregates_actions"
    world.memory.commit(
        [
            Merge(world.home.state, {("aggregations", name, "digest"): "another"}),
            Merge(world.home.state, {("aggregations", name, "measures"): ["count", "grams"]}),
            Merge(world.home.state, {("aggregations", "junk"): 7}),
        ],
        timeout=10,
    )
    printed = told("status")
    assert "changed; no run has seen it yet: run libra recompute; its totals still hold grams" in printed
    assert "aggregations.junk is no record of an aggregation" in printed
    world.run()
    assert "changed; a run at 2025-09-04 22:30:00 UTC or later makes it exact; its totals still hold" in told(
        "status"
    )


@pytest.mark.usefixtures("world")
def test_json_tells_the_same_in_plain_values() -> None:
    """By aggregation, with the documents of what is orphaned."""
    found = json.loads(libra("status", "--json").stdout)
    assert [each["name"] for each in found["aggregations"]] == [*CATALOG, "actions", "places"]
    assert [each["state"] for each in found["aggregations"]] == ["exact"] * 4 + ["orphaned"] * 2
    assert [each["documents"] for each in found["aggregations"]] == [None] * 4 + [1, 1]
    assert found["aggregations"][0]["exact_since"] == "2025-09-04T20:50:00+00:00"
    assert found["aggregations"][4]["orphaned_at"] is None
    assert found["notes"] == []


def test_nothing_is_known_before_the_first_run(world: World) -> None:
    """Everything is unseen, and a missing state document is no error."""
    world.memory = MemoryStore(world.clock)
    assert told("status").count("unseen first; no run has seen it yet") == len(CATALOG)


@pytest.mark.parametrize(
    ("arguments", "says", "left"),
    [
        ("places < n", "Delete all 1 documents of places?", 1),
        ("places <", "Delete all 1 documents of places?", 1),
        ("places < y", "1 documents of places were deleted, and places is forgotten.", 0),
        ("places --yes", "1 documents of places were deleted", 0),
        ("places --yes --json", '"deleted": 1', 0),
        ("actions --yes", "no run has seen yet that actions is declared no more", 1),
        ("aggregates_actions --yes", "aggregates_actions is declared in the source libra", 1),
        ("other --yes", "expected one of ['actions', 'places']", 1),
    ],
)
def test_a_removal_asks_and_refuses(world: World, arguments: str, says: str, left: int) -> None:
    """Nothing is deleted unless the operator says so, and only what is orphaned; else the status is 1."""
    given, _, answer = arguments.partition("<")
    done = libra("remove", *given.split(), answer=answer.strip())
    assert (done.exit_code, says in done.output) == (left, True), done.output
    assert (world.count("places/Caldo Office"), world.count("actions/Served")) == (3 if left else None, 3)


def test_a_removal_says_where_another_source_uses_the_collection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator is asked about what happens: nothing is deleted."""
    monkeypatch.setattr(aggregation, "of_others", lambda *_: frozenset({"places"}))
    done = libra("remove", "places", answer="y")
    assert "Another source uses places: its documents stay. Forget places?" in done.output
    assert "0 documents of places were deleted, and places is forgotten." in done.output
    assert world.count("places/Caldo Office") == 3
