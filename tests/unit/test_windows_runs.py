"""The history of runs, in pages."""

import pytest

from shared.errors import NotFound, Unanswerable
from shared.recompute import LEASE
from shared.store import Create, Merge
from shared.windows import run, runs
from tests.support.reading import odd_world, page
from tests.support.recomputing import BEGIN, World


def test_runs_come_newest_first_in_pages() -> None:
    """Each once; a run that begins meanwhile does not shift the others."""
    a = World()
    for _ in range(5):
        a.later(minutes=30)
        a.run()
    first = runs(a.store, a.home, limit=2)
    a.later(minutes=30)
    a.run()
    second = runs(a.store, a.home, after=first.after, limit=2)
    third = runs(a.store, a.home, after=second.after, limit=2)
    begun = [each.started for each in (*first.items, *second.items, *third.items)]
    assert (begun, third.after) == (sorted(begun, reverse=True), None)
    assert len(set(begun)) == 5
    for after in ("junk", page(odd_world(), "foods").after):
        with pytest.raises(Unanswerable, match="after="):
            runs(a.store, a.home, after=after)


def test_a_run_is_told_with_its_report() -> None:
    """Its record holds the corrections; an unknown one is not there."""
    a = World()
    a.write("lost")
    a.later(minutes=30)
    run_id = a.run().run_id
    assert run_id
    found = run(a.store, a.home, run_id)
    assert (found.status.state, found.status.drift, found.record["drift"]) == ("completed", 4, 4)
    with pytest.raises(NotFound, match="there is no run nobody"):
        run(a.store, a.home, "nobody")
    for bad in ("", "a/b", "..", "__x__", "x" * 1_501, "\udcff"):
        with pytest.raises(Unanswerable, match="expected the id of a document"):
            run(a.store, a.home, bad)


def test_a_run_that_died_shows_as_failed_once_its_lease_is_over() -> None:
    """By Firestore's clock."""
    a = World()
    lease = {"run_id": "r", "token": 1, "expires_at": BEGIN + LEASE}
    record = Create("aggregates_runs/r", {"state": "processing", "queued_at": BEGIN})
    a.memory.commit([record, Merge(a.home.state, {("lease",): lease})], timeout=10)
    assert run(a.store, a.home, "r").status.state == "processing"
    a.later(seconds=LEASE.total_seconds())
    assert runs(a.store, a.home).items[0].error == "it died: its lease is over"
