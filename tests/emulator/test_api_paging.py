"""Pages of the API while what they list is written, deleted and moved: none comes twice, none is left out.

Documents with even numbers stay. Their neighbours with odd numbers come and go, and every fifth of these
moves to another place in the order. Many are equal in what they are sorted by, so pages end between equals.
"""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.store import Create, Delete, Filter, Merge, Query, Store
from tests.support.api import Api
from tests.support.kitchen import SERVED, Kitchen

NUMBERS, LIMIT, ROUNDS = 60, 4, 3
EQUAL = 7
"""So many documents that stand side by side are equal in what they are sorted by."""
NOON = datetime(2025, 9, 4, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Listed:
    """One list."""

    path: str
    params: dict[str, object]
    rows: str
    """Where the answer has them."""
    collection: str
    fields: Callable[[int], dict[str, object]]
    """Of a document, by its place in the order."""
    name: Callable[[Any], str] = lambda row: str(row["id"])
    """A row's document; where a row is a value of a field, that of all documents that have it."""
    by_value: bool = True
    """Whether what moves is what the list is sorted by: it may come twice then, or not at all."""


def total(place: int) -> dict[str, object]:
    """A total."""
    return {"key": "", "count": place // EQUAL}


def entry(place: int) -> dict[str, object]:
    """An entry."""
    moment = NOON + timedelta(minutes=place // EQUAL)
    return SERVED | {"timestamp": moment, "location": "Roof", "ingredient": "Rice"}


def located(place: int) -> dict[str, object]:
    """An entry at a place of its own."""
    return SERVED | {"location": f"{place:03}"}


def rejection(place: int) -> dict[str, object]:
    """A record of what could not be counted."""
    return {"rejected_at": NOON + timedelta(minutes=place // EQUAL), "reasons": []}


def run(place: int) -> dict[str, object]:
    """The record of a run."""
    return {"queued_at": NOON + timedelta(minutes=place // EQUAL), "state": "completed"}


TOTALS = "/v1/totals/aggregates_categories"
LISTS = [
    Listed(TOTALS, {"order": "key"}, "totals", "aggregates_categories", total, by_value=False),
    Listed(TOTALS, {"order": "count"}, "totals", "aggregates_categories", total),
    Listed(TOTALS, {"order": "-count"}, "totals", "aggregates_categories", total),
    Listed("/v1/data", {"location": "Roof"}, "entries", "libra", entry, by_value=False),
    Listed("/v1/data", {"from": NOON.isoformat()}, "entries", "libra", entry),
    Listed("/v1/data", {"newest_first": True}, "entries", "libra", entry),
    Listed("/v1/locations", {}, "locations", "libra", located, name=str),
    Listed("/v1/rejected", {}, "rejected", "aggregates_rejected", rejection),
    Listed("/v1/runs", {}, "runs", "aggregates_runs", run, name=lambda row: str(row["run_id"])),
]


def stays(name: str) -> bool:
    """Whether a document is there all the time."""
    return int(name) % 2 == 0


def moves(name: str) -> bool:
    """Whether a document moves in the order."""
    return int(name) % 10 == 9


@contextmanager
def changing(store: Store, listed: Listed, seed: int) -> Iterator[Callable[[], int]]:
    """Write, delete and move documents until the block ends. What it gives counts the changes."""
    over, dice, made = threading.Event(), random.Random(seed), 0
    there = dict.fromkeys(range(NUMBERS), True)

    def change() -> None:
        number = dice.randrange(1, NUMBERS, 2)
        path = f"{listed.collection}/{number:03}"
        if not there[number]:
            store.commit([Create(path, listed.fields(number))], timeout=30)
        elif moves(f"{number:03}"):
            place = listed.fields(dice.randrange(NUMBERS))
            store.commit([Merge(path, {(name,): value for name, value in place.items()})], timeout=30)
            return
        else:
            store.commit([Delete(path)], timeout=30)
        there[number] = not there[number]

    def go_on() -> None:
        nonlocal made
        while not over.is_set():
            change()
            made += 1

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(go_on)
        try:
            yield lambda: made
        finally:
            over.set()
        going.result()


def pages(api: Api, listed: Listed) -> Iterator[list[str]]:
    """The names of what each page shows."""
    after: dict[str, object] = {}
    while True:
        answer = api.get(listed.path, params={"limit": LIMIT, **listed.params, **after})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body[listed.rows]) <= LIMIT
        yield [listed.name(each) for each in body[listed.rows]]
        if body["next"] is None:
            return
        after = {"after": body["next"]}


@pytest.mark.parametrize("listed", LISTS, ids=lambda each: f"{each.path} {each.params}")
def test_pages_hold_what_stays_once_while_its_neighbours_change(
    api: Api, quick: Kitchen, listed: Listed
) -> None:
    """Nothing that was there throughout is missing, and nothing whose place is the same comes twice."""
    documents = [
        Create(f"{listed.collection}/{number:03}", listed.fields(number)) for number in range(NUMBERS)
    ]
    quick.store.commit(documents, timeout=30)
    for seed in range(ROUNDS):
        with changing(quick.store, listed, seed) as changes:
            found = [name for page in pages(api, listed) for name in page]
            assert changes() > LIMIT
        kept = [name for name in found if not (listed.by_value and moves(name))]
        assert len(kept) == len(set(kept))
        assert {f"{number:03}" for number in range(0, NUMBERS, 2)} <= set(kept)
        standing = [name for name in kept if stays(name)]
        assert standing in (sorted(standing), sorted(standing, reverse=True))


def test_an_explanation_is_of_one_instant_however_many_pages_it_takes(api: Api, quick: Kitchen) -> None:
    """The entries that were there then, all of them, and no other: with a running sum that never jumps."""
    listed = Listed("/v1/explain/aggregates_categories", {"key": "Rice"}, "entries", "libra", entry)
    documents = [Create(f"libra/{number:03}", entry(number)) for number in range(NUMBERS)]
    quick.store.commit(documents, timeout=30)
    with changing(quick.store, listed, seed=0) as changes:
        at: set[str] = set()
        found: list[str] = []
        after: dict[str, object] = {}
        while True:
            page = api.get(listed.path, params={"limit": LIMIT, **listed.params, **after}).json()
            at.add(page["at"])
            for each in page["entries"]:
                found.append(each["id"])
                assert each["running"]["count"] == len(found)
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert changes() > LIMIT
    (instant,) = at
    then = Query("libra", (Filter("ingredient", "==", "Rice"),))
    there = quick.store.query(then, read_time=datetime.fromisoformat(instant))
    assert sorted(found) == sorted(each.path.removeprefix("libra/") for each in there)
    assert page["unexplained"] == {"count": -len(found)}
