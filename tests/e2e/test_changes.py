"""Edits and deletions, with the real triggers on the real emulator."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import pytest

from local.process import wait_until
from local.stack import LocalStack
from shared.aggregation import Cell
from shared.archive import Archive, Folder
from shared.store import Delete, Merge
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen, without_zeros

Quiet: TypeAlias = Callable[[int], dict[str, Any]]


@pytest.fixture(scope="module")
def running() -> Iterator[LocalStack]:
    """A local stack with the triggers of edits and deletions, whose lag allows a run at once."""
    settings = {"LIBRA_LAG_SECONDS": "1", "LIBRA_BUCKET_SECONDS": "1"}
    with LocalStack(project="demo-changes", settings=settings, edits=True, recompute=True) as stack:
        yield stack


@pytest.fixture
def stack(running: LocalStack) -> Iterator[LocalStack]:
    """The same for each test, empty and without faults."""
    yield running
    running.set_faults(duplicate=0.0, delay=0.0, reorder=0, drop=0.0)
    running.emulator.reset(running.project)
    running.wait_until_quiet()  # the reset deletes entries too, and their triggers fire
    running.emulator.reset(running.project)


@pytest.fixture
def quiet(stack: LocalStack) -> Quiet:
    """Waits until so many events of this test have come, and all are delivered."""
    before = stack.relay_state()["received"]
    return lambda changes: stack.wait_until_quiet(before + changes)


@pytest.fixture
def kitchen(stack: LocalStack) -> Iterator[Kitchen]:
    """The kitchen whose entries the stack counts."""
    store = FirestoreStore.connect(stack.settings)
    yield Kitchen(store, stack.settings)
    store.close()


def edit(kitchen: Kitchen, entry_id: str, **fields: object) -> None:
    """Change fields of an entry."""
    write = Merge(f"libra/{entry_id}", {(name,): value for name, value in fields.items()})
    kitchen.store.commit([write], timeout=10)


def delete(kitchen: Kitchen, entry_id: str) -> None:
    """Delete an entry."""
    kitchen.store.commit([Delete(f"libra/{entry_id}")], timeout=10)


def test_an_edit_and_a_deletion_change_the_totals(quiet: Quiet, kitchen: Kitchen) -> None:
    """Creation, edit, deletion and creation anew under the same id: after each the totals are exact."""
    kitchen.write("one")
    kitchen.write("two", ingredient="Mac/Cheese")
    quiet(2)
    edit(kitchen, "one", ingredient="Rice")
    quiet(3)
    assert without_zeros(kitchen.totals()) == kitchen.exact()
    delete(kitchen, "one")
    quiet(4)
    assert without_zeros(kitchen.totals()) == kitchen.exact()
    kitchen.write("one", ingredient="Peas")
    quiet(5)
    assert without_zeros(kitchen.totals()) == kitchen.exact()


def test_an_edit_mends_a_rejected_entry(quiet: Quiet, kitchen: Kitchen) -> None:
    """The record of what could not be counted goes with the version that it is about."""
    kitchen.write("bad", ingredient=None)
    quiet(1)
    assert len(kitchen.documents(kitchen.home.rejected)) == 1
    edit(kitchen, "bad", ingredient="Rice")
    quiet(2)
    assert kitchen.documents(kitchen.home.rejected) == []
    assert without_zeros(kitchen.totals()) == kitchen.exact()


def test_an_edit_storm_ends_with_the_last_value(stack: LocalStack, quiet: Quiet, kitchen: Kitchen) -> None:
    """One entry edited 200 times, events doubled, delayed and reordered, a trigger killed: the last value."""
    stack.set_faults(seed=3, duplicate=0.5, delay=0.7, delay_seconds=0.6, reorder=15)
    kitchen.write("e", ingredient="i0")
    for number in range(1, 201):
        edit(kitchen, "e", ingredient=f"i{number % 7}")
        if number == 100:
            stack.changes["updated"].kill()
            stack.changes["updated"].start()
    state = quiet(201)
    assert state["duplicated"] > 50
    assert without_zeros(kitchen.totals()) == kitchen.exact()
    assert kitchen.totals()[Cell("aggregates_categories", "i4")] == {"count": 1}


def test_lost_changes_are_right_after_the_next_run(stack: LocalStack, quiet: Quiet, kitchen: Kitchen) -> None:
    """Edits and deletions whose events are lost, between others that arrive: a run corrects what is wrong."""
    for number in range(40):
        kitchen.write(f"e{number}", ingredient=f"i{number % 3}")
    quiet(40)
    stack.set_faults(seed=4, drop=0.5)
    for number in range(40):
        if number % 2:
            edit(kitchen, f"e{number}", ingredient="Rice")
        else:
            delete(kitchen, f"e{number}")
    quiet(80)
    assert without_zeros(kitchen.totals()) != kitchen.exact()
    wait_past_the_watermark()
    assert stack.run_recompute(strategy="scan")["drift"] > 0
    assert without_zeros(kitchen.totals()) == kitchen.exact()
    assert stack.run_recompute(strategy="scan")["drift"] == 0


def test_an_archive_changes_nothing_that_is_shown(
    stack: LocalStack, quiet: Quiet, kitchen: Kitchen, tmp_path: Path
) -> None:
    """The real trigger hears of every deletion that an archive makes, and counts none; no run finds drift."""
    for number in range(60):
        kitchen.write(f"e{number}", ingredient=f"i{number % 3}")
    quiet(60)
    wait_past_the_watermark()
    stack.run_recompute(strategy="scan")
    shown = kitchen.totals()
    archive = Archive(kitchen.store, kitchen.source, kitchen.home, Folder(str(tmp_path)))
    assert archive.run(datetime.now(UTC)).moved.entries == 60
    kitchen.write("young", ingredient="i0")
    quiet(121)
    delete(kitchen, "young")
    quiet(122)
    assert without_zeros(kitchen.totals()) == without_zeros(shown)
    assert stack.run_recompute(strategy="scan", dry_run=True)["drift"] == 0
    wait_past_the_watermark()
    assert stack.run_recompute(strategy="scan")["drift"] == 0
    assert without_zeros(kitchen.totals()) == without_zeros(shown)


def wait_past_the_watermark() -> None:
    """Until a run's watermark lies behind all that has happened."""
    passed = datetime.now(UTC) + timedelta(seconds=3)
    wait_until(lambda: datetime.now(UTC) > passed, seconds=60, what="the watermark past the changes")


def test_changes_at_idle_show_within_a_second(kitchen: Kitchen) -> None:
    """The median time from the commit of an edit, and of a deletion, to the total; printed."""
    took: dict[str, list[float]] = {"edit": [], "deletion": []}

    def shown(key: str) -> int:
        return without_zeros(kitchen.totals()).get(Cell("aggregates_categories", key), {"count": 0})["count"]

    def timed(what: str, key: str, count: int) -> None:
        begun = time.monotonic()
        wait_until(lambda: shown(key) == count, seconds=60, what=f"{key} at {count}")
        took[what].append(time.monotonic() - begun)

    for number in range(50):
        kitchen.write("e", ingredient="Rice")
        wait_until(lambda: shown("Rice") == 1, seconds=60, what="the creation counted")
        edit(kitchen, "e", ingredient=f"i{number}")
        timed("edit", f"i{number}", 1)
        delete(kitchen, "e")
        timed("deletion", f"i{number}", 0)
    for what, seconds in took.items():
        print(f"{what}: median {median(seconds) * 1000:.0f} ms of {len(seconds)}, worst {max(seconds):.2f} s")
        assert median(seconds) < 1
