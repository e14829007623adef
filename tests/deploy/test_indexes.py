"""Every query of entries has its index in `firestore.indexes.json`, by Firestore's rules.

Firestore joins indexes. Equalities with an order need an index of each of their fields and the order
(https://cloud.google.com/firestore/docs/query-data/index-overview, "Taking advantage of index merging",
2026-11). It walks an index one way only, so the other order has indexes of its own.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest

from deploy import indexes
from services.api.application import application
from services.api.books import Books
from services.api.settings import ApiSettings
from shared.aggregation import TimeKey
from shared.catalog import LIBRA_HOME, libra
from shared.counting.index import between, equalities
from shared.errors import Invalid
from shared.settings import Settings
from shared.store import DOCUMENT_ID, Document, Query
from tests.support.api import ENVIRONMENT, PROJECT, Api, check_problem
from tests.support.memory_store import MemoryStore

VALUES = {"location": "Caldo Office", "ingredient": "Chips", "action": "Served", "device": "Lib298190"}
BEGIN = datetime(2025, 9, 4, tzinfo=UTC)
TIMES: tuple[dict[str, str], ...] = ({}, {"from": "2025-09-04T00:00:00Z"}, {"to": "2025-09-05T00:00:00Z"})
QUESTIONS = [
    dict(filters) | times | newest
    for size in range(len(VALUES) + 1)
    for filters in itertools.combinations(VALUES.items(), size)
    for times in (*TIMES, TIMES[1] | TIMES[2])
    for newest in ({}, {"newest_first": "true"})
]
"""Every combination of what `GET /v1/data` takes, once."""


class IndexedStore(MemoryStore):
    """A store that refuses a query as Firestore does where an index is missing."""

    def __init__(self, declared: Iterable[indexes.Declared]) -> None:
        super().__init__(lambda: datetime(2025, 9, 5, tzinfo=UTC))
        self.declared = set(declared)

    def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        """See `Store.query`."""
        if needed(query) - self.declared:
            raise Invalid("The query requires an index. You can create it here: https://console")
        yield from super().query(query, read_time=read_time)


def needed(query: Query) -> set[indexes.Declared]:
    """The composite indexes that a query needs. A query of one field, and equalities alone, need none."""
    equal = {each.field for each in query.where if each.operator == "=="}
    orders = [name for name in query.order_by if not name.endswith(DOCUMENT_ID)]
    orders = orders or [each.field for each in query.where if each.operator != "=="][:1]
    return {
        indexes.Declared("composite", query.collection, (f"{field}:ascending", directed(name)))
        for field in equal
        for name in orders
    }


def directed(name: str) -> str:
    """The last field of an index for an order."""
    return f"{name.removeprefix('-')}:{'descending' if name.startswith('-') else 'ascending'}"


def declared() -> set[indexes.Declared]:
    """The composite indexes of entries in the file."""
    wanted = indexes.wanted(indexes.declared())
    return {it for it in wanted if (it.kind, it.collection) == ("composite", LIBRA_HOME.entries)}


def api_over(store: IndexedStore, monkeypatch: pytest.MonkeyPatch) -> Api:
    """The API that reads such a store."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    settings = ApiSettings.from_environment(ENVIRONMENT)
    books = Books(settings)
    monkeypatch.setattr(books, "_store", lambda: store)
    return Api(application(settings, books=books), PROJECT)


def test_every_question_for_entries_has_its_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All combinations of what `GET /v1/data` takes are answered."""
    api = api_over(IndexedStore(declared()), monkeypatch)
    assert len(QUESTIONS) == 2 ** len(VALUES) * 8
    for question in QUESTIONS:
        answer = api.get("/v1/data", params=question)
        assert answer.status_code == 200, (question, answer.text)


@pytest.mark.parametrize("missing", sorted(declared(), key=str), ids=lambda it: ", ".join(it.fields))
def test_an_index_that_is_missing_is_named_by_each_question_that_needs_it(
    missing: indexes.Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it has to be added to the file; no index of the file is there for nothing."""
    api = api_over(IndexedStore(declared() - {missing}), monkeypatch)
    refused = [
        answer
        for question in QUESTIONS
        if len(VALUES.keys() & question) == 1
        and (answer := api.get("/v1/data", params=question)).status_code != 200
    ]
    assert refused
    for answer in refused:
        detail = check_problem(answer, 422)["detail"]
        named, _ = json.JSONDecoder().raw_decode(detail[detail.index("{") :])
        assert set(indexes.wanted({"indexes": [named], "fieldOverrides": []})) == {missing}


def test_what_the_recompute_counts_by_index_has_its_index() -> None:
    """A filter of equalities with a time: the declared aggregations that count so."""
    source = libra(Settings())
    timed = [it for it in source.aggregations if it.where and isinstance(it.parts[0], TimeKey)]
    assert timed
    for each in timed:
        (time,) = each.parts
        where = (*equalities(each.where), *between(time.field, BEGIN, BEGIN))
        assert needed(Query(LIBRA_HOME.entries, where)) <= declared()


def test_events_of_a_user_and_of_a_type_are_found_newest_first() -> None:
    """What readers of `user_events` ask for."""
    newest = {("user_id:ascending", "timestamp:descending"), ("event_type:ascending", "timestamp:descending")}
    found = {it for it in indexes.wanted(indexes.declared()) if it.collection == "user_events"}
    assert {it.fields for it in found if it.kind == "composite"} == newest
