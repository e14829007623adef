"""`libra cost --observed`: what was counted in a day, beside the prediction."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from cli.commands import cost
from cli.cost import Load
from cli.main import main
from cli.observed import counters, facts, load_of
from shared.catalog import LIBRA_HOME
from shared.errors import NotFound
from shared.settings import Settings
from tests.support.recomputing import World

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    """Two runs, six hours apart; forty entries came between them."""
    world = World()
    world.serve(10, "a")
    world.later(minutes=30)
    world.run()
    world.serve(40, "b")
    world.later(hours=6)
    world.run()
    return world


def test_the_runs_tell_how_many_entries_come(world: World) -> None:
    """Forty in six hours are 160 a day; the last run says what it has read."""
    load, reads = load_of(world.memory, LIBRA_HOME, Load(0, looks=7))
    assert (load.events, load.stored, load.looks) == (160, 50, 7)
    assert reads == world.runs()[-1]["reads"]


def test_without_two_runs_it_says_what_to_do() -> None:
    """One run knows how many entries there are, not how many come."""
    world = World()
    world.serve(1)
    world.later(minutes=30)
    world.run()
    with pytest.raises(NotFound, match=r"found 1 completed ones.*--events-per-day"):
        load_of(world.memory, LIBRA_HOME, Load(0))


def test_google_is_asked_for_a_day_and_its_series_are_added_up() -> None:
    """Deletes are two metrics; a metric without data is not known, and not nothing."""
    asked: list[dict[str, list[str]]] = []

    def call(path: str) -> Mapping[str, Any]:
        url = urlsplit(path)
        assert url.path == "v3/projects/kitchen-1/timeSeries"
        asked.append(parse_qs(url.query))
        if "read_count" in asked[-1]["filter"][0]:
            return {}
        points = [{"value": {"int64Value": "40"}}, {"value": {"doubleValue": 2.0}}]
        return {"timeSeries": [{"points": points}]}

    assert counters(call, "kitchen-1", NOW) == {"writes": 42, "deletes": 84, "invocations": 42}
    assert {it["interval.startTime"][0] for it in asked} == {"2026-11-24T12:00:00Z"}
    assert {it["interval.endTime"][0] for it in asked} == {"2026-11-25T12:00:00Z"}
    assert {it["aggregation.alignmentPeriod"][0] for it in asked} == {"86400s"}
    assert asked[0]["filter"] == ['metric.type="firestore.googleapis.com/document/write_count"']


def test_the_prediction_counts_what_google_counts() -> None:
    """The devices' own writes are among those of the database."""
    found = {fact.name: fact for fact in facts(Load(1_000, looks=0, served=1.0), 12, {"writes": 6_000.0})}
    writes = found["writes, the devices' own included"]
    assert writes.observed == 6_000
    assert writes.predicted == pytest.approx(6_000, rel=0.02)
    assert found["reads"].observed is None
    assert found["reads of the last recompute"].observed == 12


def ask(world: World, monkeypatch: pytest.MonkeyPatch, settings: Settings, *more: str) -> str:
    """What the command prints over the world's store."""

    @contextmanager
    def connected() -> Iterator[tuple[Any, Settings]]:
        yield world.memory, settings

    monkeypatch.setattr(cost, "connected", connected)
    monkeypatch.setattr(
        cost,
        "_monitoring",
        lambda: lambda _: {"timeSeries": [{"points": [{"value": {"int64Value": "100"}}]}]},
    )
    done = CliRunner().invoke(main, ["cost", "--observed", *more], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_sets_both_beside_each_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dollars, where Google tells enough; on an emulator only the runs do."""
    printed = ask(world, monkeypatch, Settings())
    assert "predicted" in printed
    assert "Firestore a month" in printed
    printed = ask(world, monkeypatch, Settings(emulator_host="127.0.0.1:8080"))
    assert "not known" in printed
    assert "An emulator has no metrics" in printed


@pytest.mark.parametrize("given", [[], ["--observed", "--events-per-day", "5"]])
def test_one_of_the_two_has_to_be_said(given: list[str]) -> None:
    """Neither, or both, is a mistake."""
    done = CliRunner().invoke(main, ["cost", *given])
    assert done.exit_code == 2
    assert "--events-per-day N, or --observed" in done.output
