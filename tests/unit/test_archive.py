"""The archive over the in-memory store: what it moves, and that every total stays as it was."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from shared.aggregation import Entry, Version
from shared.archive import pages
from shared.errors import ArchiveError
from shared.ledger import Outcome, marker_id, marker_of
from shared.store import Delete
from tests.support.archiving import Kept, sealed
from tests.support.memory_seams import Call, Seams

CATEGORY = "aggregates_categories/Kettle Chips"


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries a page: a few entries are several pages."""
    monkeypatch.setattr(pages, "PAGE_ENTRIES", 2)


def test_old_entries_leave_and_stay_counted() -> None:
    """Law *retain*: no count changes, and what lives and what is archived make each total."""
    kept = sealed(5)
    before = kept.shown()
    report = kept.run()
    assert (report.moved.entries, report.moved.pages, kept.living()) == (5, 3, [])
    assert kept.shown() == before
    assert kept.archived()[CATEGORY] == {"count": 5}
    kept.retained()


def test_no_total_drifts_at_any_moment() -> None:
    """Before, in the middle of, and for an hour after an archive, a dry run finds nothing."""
    kept = sealed(5)
    kept.run(step=lambda _: kept.retained())
    for _ in range(60):
        kept.world.later(minutes=1)
        kept.retained()


def test_a_run_after_an_archive_corrects_nothing() -> None:
    """Neither while its watermark lies before the archive, nor after."""
    kept = sealed(5)
    kept.run()
    for _ in range(4):
        assert kept.world.run().drift == 0
        kept.world.later(minutes=7)
    kept.retained()


def test_each_deletion_leaves_its_marker() -> None:
    """The event of a deletion finds it, and takes nothing off."""
    kept = sealed(3)
    names = [
        marker_of(kept.world.memory.name(each.path), each.update_time, gone=True) for each in kept.living()
    ]
    kept.run()
    markers = kept.world.memory.get([kept.world.home.marker(name) for name in names])
    assert all(marker and marker.fields["expires_at"] for marker in markers)


# --- what is moved --------------------------------------------------------------------------------


@pytest.mark.parametrize("expired", [False, True], ids=["marked", "expired"])
@pytest.mark.parametrize(
    "late", [timedelta(0), timedelta(hours=2), timedelta(days=1), timedelta(days=8)], ids=str
)
def test_the_deletions_of_an_archive_change_nothing(late: timedelta, expired: bool) -> None:
    """Their events come twice, also a day late; markers expire only where no event can come any more."""
    kept = sealed(3)
    world = kept.world
    gone = [
        Entry.deleted(world.memory.name(each.path), Version(each.update_time, each.fields))
        for each in kept.living()
    ]
    kept.run()
    shown = kept.shown()
    if expired:
        for entry in gone:
            world.memory.commit([Delete(world.home.marker(marker_id(entry)))], timeout=10)
        if late < timedelta(hours=1):
            return  # a marker outlives every event: docs/correctness.md, A5
    world.clock.now += late
    outcomes = {world.ledger().apply(entry) for entry in (*gone, *gone)}
    assert outcomes == ({Outcome.LEFT} if expired else {Outcome.DUPLICATE})
    assert kept.shown() == shown
    assert world.run("scan").drift == 0
    kept.retained()


def test_what_is_young_or_not_sealed_stays() -> None:
    """By event time; and nothing that a late event could still count."""
    kept = Kept()
    old, young = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 9, 1, tzinfo=UTC)
    kept.world.serve(2, "old", timestamp=old)
    kept.world.serve(2, "young", timestamp=young)
    kept.world.serve(1, "timeless", timestamp="yesterday")
    kept.world.later(minutes=30)
    kept.world.run()
    kept.world.serve(2, "late", timestamp=old)
    report = kept.run(young)
    assert (report.moved.entries, report.unsealed) == (2, 2)
    assert (report.by, report.moved.first, report.moved.last) == ("timestamp", old, old)
    assert {each.path[6:-1] for each in kept.living()} == {"young", "timeless", "late"}
    kept.retained()


def test_what_was_edited_after_the_watermark_stays() -> None:
    """No run has proven this version of it."""
    kept = sealed(2)
    kept.world.merge("libra/e0", location="elsewhere")
    assert (kept.run().unsealed, [each.path for each in kept.living()]) == (1, ["libra/e0"])
    kept.world.later(minutes=30)
    kept.world.run()
    assert kept.run().unsealed == 0
    kept.retained()


def test_a_page_that_comes_between_two_reads_of_a_comparison_is_no_drift() -> None:
    """A dry run, or half of it, may have listed the totals when an archive moves some of their entries."""
    for number in range(1, 20):
        kept = Kept()
        kept.world.serve(1, "old", timestamp=datetime(2024, 1, 1, tzinfo=UTC))
        kept.world.serve(3)
        kept.world.later(minutes=30)
        kept.world.run()
        kept.run(datetime(2025, 1, 1, tzinfo=UTC))  # so that the totals hold a page already
        seen = count(1)

        def archive(_: Call, kept: Kept = kept, number: int = number, seen: Iterator[int] = seen) -> None:
            if next(seen) == number:
                kept.world.store = kept.world.memory
                kept.run()

        kept.world.store = Seams(kept.world.memory, archive)
        report = kept.world.recompute().verify("scan")
        assert (number, report.drift, report.notes) == (number, 0, ())


def test_by_commit_time_everything_old_is_moved() -> None:
    """Entries without an event time too; by when Firestore committed them."""
    kept = Kept()
    kept.world.serve(2, "timeless", timestamp="yesterday")
    kept.world.serve(1, "ahead", timestamp=datetime(2099, 1, 1, tzinfo=UTC))
    begun = kept.world.clock.now
    kept.world.later(hours=1)
    kept.world.serve(1, "young")
    kept.world.later(hours=1)
    kept.world.run()
    report = kept.archive().run(begun + timedelta(minutes=30), by_commit_time=True)
    assert (report.moved.entries, report.by) == (3, "commit time")
    assert [each.path for each in kept.living()] == ["libra/young0"]
    kept.retained()


def test_so_many_entries_at_most() -> None:
    """A recompute may run then; the next archive goes on with the oldest that are left."""
    kept = sealed(5)
    assert kept.archive().dry_run(kept.world.clock.now, at_most=3).moved.entries == 3
    report = kept.archive().run(kept.world.clock.now, at_most=3)
    assert (report.moved.entries, report.moved.pages, len(kept.living())) == (3, 2, 2)
    kept.retained()
    assert kept.run().moved.entries == 2
    kept.retained()


def test_a_dry_run_says_what_an_archive_would_do() -> None:
    """The same figures, and not one write."""
    kept = sealed(5)
    before = dict(kept.world.memory._versions)
    dry = kept.archive().dry_run(kept.world.clock.now)
    assert (dict(kept.world.memory._versions), kept.shelf.files) == (before, {})
    real = kept.run()
    same = ("entries", "pages", "size", "first", "last", "totals", "changed")
    assert {name: getattr(dry.moved, name) for name in same} == {
        name: getattr(real.moved, name) for name in same
    }
    assert dry.run_id is None
    assert abs(dry.writes - real.writes) <= 6  # the lease, and the ends of the run


def test_nothing_is_sealed_before_the_first_run() -> None:
    """It says what to do, and takes no lease."""
    kept = Kept()
    kept.world.serve(2)
    with pytest.raises(ArchiveError, match="run libra recompute first"):
        kept.run()
    assert kept.world.state() == {}


def test_a_watermark_in_the_future_seals_nothing() -> None:
    """Somebody wrote it; the next run sets it back."""
    kept = sealed(2)
    kept.world.merge(kept.world.home.state, timestamp=kept.world.clock.now + timedelta(days=1))
    with pytest.raises(ArchiveError, match="lies in the future: run libra recompute first"):
        kept.run()
    assert len(kept.living()) == 2


def test_a_key_of_any_length_keeps_its_total() -> None:
    """A total whose id is a digest, and whose event was lost: the archive writes its key."""
    kept = Kept()
    key = "ü/" * 2_000
    kept.world.write("lost", ingredient=key)
    kept.world.later(minutes=30)
    kept.world.run()
    kept.run()
    kept.retained()
