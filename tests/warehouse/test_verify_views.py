"""`libra verify --against bigquery`: the views over streamed events, and Firestore's totals."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.bigquery import BigQuery as Emulator
from local.emulator import Emulator as Firestore
from shared.aggregation import Cell, fold
from shared.errors import ExportError
from shared.exports.rest import BigQuery
from shared.exports.views import compare_views
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Create, Document, Merge, Store
from shared.store.client import FirestoreStore
from shared.warehouse import Message, row_of
from tests.support.asking import Asked
from tests.support.exporting import ODD
from tests.support.memory_store import MemoryStore

NOW = datetime.now(UTC)
SOURCE, HOME = self_written(Settings())["user_events"]


def sent(number: int, **changed: object) -> dict[str, Any]:
    """An event as a sender sends it."""
    usual = {
        "event_id": f"e{number}",
        "user_id": "ann",
        "event_type": "page_view",
        "timestamp": NOW.isoformat(),
    }
    return usual | changed


def count(store: Store, events: list[dict[str, Any]]) -> None:
    """Write the totals that count these events."""
    fields = [event | {"timestamp": NOW} for event in events]
    for cell, measures in fold(SOURCE, fields).items():
        key = SOURCE.aggregation(cell.aggregation).stored_key(cell.key)
        store.commit([Create(HOME.total(cell), {"key": key, **measures})], timeout=10)


def stored(events: list[dict[str, Any]]) -> MemoryStore:
    """A Firestore whose totals count these events."""
    clock = [NOW]
    store = MemoryStore(lambda: clock[0])
    count(store, events)
    clock[0] += timedelta(minutes=1)
    return store


def streamed(asked: Asked, events: list[dict[str, Any]]) -> None:
    """Make the warehouse, and write the rows that these events become."""
    asked.ensure("UTC", {SOURCE.name: SOURCE})
    messages = [Message(f"m{it['event_id']}", json.dumps(it).encode(), {}, NOW) for it in events]
    asked.insert([row_of(SOURCE, each) for each in messages])


def test_views_and_totals_are_two_answers_to_one_question(bigquery: Emulator, project: str) -> None:
    """Equal for any key; a total that is wrong is named with both numbers, in both directions."""
    events = [sent(number, event_type=(ODD[number % 9] or "empty")[:50]) for number in range(30)]
    streamed(Asked(bigquery, project), events)
    books = BigQuery.connect("libra", project, bigquery.exports)
    store = stored(events)
    found = compare_views(books, store, SOURCE, HOME)
    assert (found.faults, found.moving) == (0, 0)
    assert found.totals == len(fold(SOURCE, [it | {"timestamp": NOW} for it in events]))
    assert found.newest
    assert abs(found.newest - NOW) < timedelta(seconds=1)
    user, new = Cell("analytics_aggregates", "page_view"), Cell("analytics_aggregates", "Mac/Cheese")
    store.commit([Merge(HOME.total(user), {("key",): "page_view", ("count",): 5})], timeout=10)
    store.commit([Merge(HOME.total(new), {("count",): 1})], timeout=10)
    found = compare_views(books, store, SOURCE, HOME)
    said = {(it.total, it.column): (it.exported, it.firestore) for it in found.differences}
    assert said == {
        (HOME.total(user), "count"): (0, 5),
        (HOME.total(new), "count"): (4, 1),
    }


def test_a_total_that_moves_meanwhile_proves_nothing(
    bigquery: Emulator, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is counted between the two reads: it is no difference, and it is told."""
    streamed(Asked(bigquery, project), [])
    store, path = (
        stored([sent(1), sent(2)]),
        HOME.total(Cell("analytics_aggregates", "page_view")),
    )
    whole = MemoryStore.get

    def get(self: MemoryStore, paths: Sequence[str], **options: Any) -> list[Document | None]:
        if path in paths:
            self.commit([Merge(path, increments={("count",): 1})], timeout=10)
        return whole(self, paths, **options)

    monkeypatch.setattr(MemoryStore, "get", get)
    books = BigQuery.connect("libra", project, bigquery.exports)
    found = compare_views(books, store, SOURCE, HOME)
    assert found.moving == 1
    assert path not in {each.total for each in found.differences}
    assert found.faults == found.totals - 1


def test_a_warehouse_without_views_is_named(bigquery: Emulator, project: str) -> None:
    """Nothing was deployed there."""
    books = BigQuery.connect("libra", project, bigquery.exports)
    with pytest.raises(ExportError, match=r"bigquery:demo-.*libra: Not found"):
        compare_views(books, stored([]), SOURCE, HOME)


def test_the_command_says_it(bigquery: Emulator, emulator: Firestore, project: str) -> None:
    """Status 0 where every number is the same, 1 where one is not; a source that has no views is told so."""
    events = [sent(number) for number in range(3)]
    streamed(Asked(bigquery, project), events)
    settings = Settings(project=project, emulator_host=emulator.address, test=True)
    store = FirestoreStore.connect(settings)
    named = {"GOOGLE_CLOUD_PROJECT": project, "FIRESTORE_EMULATOR_HOST": emulator.address}
    command = [sys.executable, "-m", "cli.main", "verify", "--against", "bigquery", "--source"]

    def verify(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [*command, *arguments],
            env=dict(os.environ) | named | bigquery.exports,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    count(store, events)
    status, said = verify("user_events")
    assert status == 0
    assert "totals in the views of bigquery:" in said
    assert "are those of Firestore, to the last entry" in said
    path = HOME.total(Cell("analytics_aggregates", "page_view"))
    store.commit([Merge(path, {("count",): 4})], timeout=10)
    store.close()
    status, said = verify("user_events", "--json")
    assert status == 1
    assert json.loads(said)["differences"] == [
        {"total": path, "column": "count", "warehouse": 3, "firestore": 4}
    ]
    status, said = verify("libra")
    assert (status, "the warehouse has no views of it" in said) == (1, True)
