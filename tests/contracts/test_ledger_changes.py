"""Edits and deletions over the emulator and over its in-memory twin: signed deltas, records, order."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from shared.aggregation import Entry, Version
from shared.errors import Transient
from shared.ledger import Ledger, Outcome, marker_id, marker_of
from shared.store import Create, Delete, Merge
from tests.support.kitchen import Kitchen, without_zeros
from tests.support.memory_seams import Call, Fault, Seams


def ledger_of(kitchen: Kitchen, store: Any = None, **settings: Any) -> Ledger:
    changed = replace(kitchen.settings, test=True, **settings)
    return Ledger(store or kitchen.store, kitchen.source, kitchen.home, changed, sleep=lambda _: None)


def edited(kitchen: Kitchen, entry: Entry, **fields: object) -> Entry:
    """Change fields of an entry; the edit, as its event tells it."""
    path = kitchen.store.path(entry.path)
    kitchen.store.commit([Merge(path, {(name,): value for name, value in fields.items()})], timeout=10)
    (document,) = kitchen.store.get([path])
    assert document
    return Entry(entry.path, document.update_time, document.fields, Version(entry.time, entry.fields))


def deleted(kitchen: Kitchen, entry: Entry) -> Entry:
    """Delete an entry; the deletion, as its event tells it."""
    kitchen.store.commit([Delete(kitchen.store.path(entry.path))], timeout=10)
    return Entry.deleted(entry.path, Version(entry.time, entry.fields))


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_changes_telescope_in_any_order(kitchen: Kitchen, order: tuple[int, ...]) -> None:
    """Created, edited twice, deleted: whatever comes first, and twice, nothing is left in the end."""
    changes = [kitchen.write("e")]
    changes.append(edited(kitchen, changes[0], ingredient="Rice"))
    changes.append(edited(kitchen, changes[1], ingredient="Mac/Cheese", dataAction="Refilled"))
    changes.append(deleted(kitchen, changes[2]))
    ledger = ledger_of(kitchen)
    for number in order:
        assert ledger.apply(changes[number]) is Outcome.COUNTED
        assert ledger.apply(changes[number]) is Outcome.DUPLICATE
    assert without_zeros(kitchen.totals()) == kitchen.exact() == {}


@pytest.mark.parametrize("lag", [timedelta(minutes=10), timedelta(0)], ids=["fresh", "late"])
def test_a_change_counts_once_on_either_path(kitchen: Kitchen, lag: timedelta) -> None:
    """The last version is what is counted, and an id that is created anew is another entry."""
    ledger = ledger_of(kitchen, lag=lag)
    first = kitchen.write("e")
    second = edited(kitchen, first, ingredient="Rice")
    gone = deleted(kitchen, second)
    anew = kitchen.write("e", ingredient="Peas")
    for change in (anew, gone, second, first, anew, gone):
        ledger.apply(change)
    assert without_zeros(kitchen.totals()) == kitchen.exact()


def test_an_edit_that_nothing_counts_is_free(kitchen: Kitchen) -> None:
    """No marker, no write, no read: the edited field is in no declaration."""
    entry = kitchen.write("e")
    ledger = ledger_of(kitchen, Seams(kitchen.store, refuse))
    assert ledger.apply(edited(kitchen, entry, location="Yard")) is Outcome.UNCHANGED


def refuse(call: Call) -> Fault | None:
    """Nothing may be asked of the store."""
    raise AssertionError(call)


def test_a_group_may_hold_all_the_changes_of_an_entry(kitchen: Kitchen) -> None:
    """Also a rejected version and the edit that mends it: one commit, and no record is left."""
    first = kitchen.write("e", ingredient=None)
    second = edited(kitchen, first, ingredient="Rice")
    ledger = ledger_of(kitchen)
    members = [ledger._member(change) for change in (second, first)]
    ledger._guard.settle(members)
    assert [member.outcome for member in members] == [Outcome.COUNTED, Outcome.COUNTED]
    assert without_zeros(kitchen.totals()) == kitchen.exact()
    assert kitchen.documents(kitchen.home.rejected) == []


def test_a_rejected_version_is_resolved_by_the_edit_that_mends_it(kitchen: Kitchen) -> None:
    """One that is still wrong is recorded under its own version."""
    ledger = ledger_of(kitchen)
    first = kitchen.write("e", ingredient=None)
    second = edited(kitchen, first, ingredient=7)
    third = edited(kitchen, second, ingredient="Rice")
    ledger.apply(first)
    ledger.apply(second)
    (record,) = kitchen.documents(kitchen.home.rejected)
    assert record["create_time"] == second.time
    ledger.apply(third)
    assert kitchen.documents(kitchen.home.rejected) == []


def test_a_superseded_edit_still_resolves_the_record(kitchen: Kitchen) -> None:
    """A run has counted the edit; what is recorded of the version before is out of date all the same."""
    ledger = ledger_of(kitchen, lag=timedelta(0))
    first = kitchen.write("e", ingredient=None)
    ledger.apply(first)
    second = edited(kitchen, first, ingredient="Rice")
    kitchen.store.commit([Create(kitchen.home.state, {"timestamp": second.time})], timeout=10)
    lost = ledger_of(kitchen, Seams(kitchen.store, losing("Delete")), lag=timedelta(0))
    with pytest.raises(Transient):
        lost.apply(second)
    assert ledger.apply(second) is Outcome.SUPERSEDED
    assert kitchen.documents(kitchen.home.rejected) == []


def losing(kind: str) -> Any:
    """Loses the requests that hold such a write."""

    def plan(call: Call) -> Fault | None:
        held = any(type(write).__name__ == kind for write in call.about)
        return "request lost" if call.method == "commit" and held else None

    return plan


def test_a_deletion_has_a_marker_of_its_own(kitchen: Kitchen) -> None:
    """Another than the version's, for all deliveries the same."""
    entry = kitchen.write("e")
    gone = deleted(kitchen, entry)
    assert marker_id(gone) == marker_of(entry.path, entry.time, gone=True) != marker_id(entry)
