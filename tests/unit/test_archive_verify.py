"""`archive verify`: every file, every record and every total agree, or it says what does not."""

import gzip
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.aggregation import Aggregation, Count, FieldKey, Source, Sum
from shared.archive import Verification, Verified, pages
from shared.errors import ArchiveError
from shared.store import Delete, Merge
from tests.support.archiving import Kept, Shelf, sealed
from tests.support.memory_seams import Call, Seams
from tests.support.recomputing import Died, dying_at

CATEGORY = "aggregates_categories/Kettle Chips"


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries a page."""
    monkeypatch.setattr(pages, "PAGE_ENTRIES", 2)


@pytest.fixture
def kept() -> Kept:
    """Five entries in three archived pages, and one that lives."""
    kept = sealed(5)
    kept.run()
    kept.world.serve(1, "living")
    return kept


def verified(kept: Kept, **options: object) -> Verified:
    """What a verification finds."""
    world = kept.world
    options = {"sleep": world.clock.sleep} | options
    found = Verification(world.store, world.source, world.home, lambda _: kept.shelf, **options)  # type: ignore[arg-type]  # as named
    return found.run()


def change(kept: Kept, path: str, **fields: object) -> None:
    """Somebody writes into the books."""
    kept.world.memory.commit(
        [Merge(path, {tuple(name.split("__")): value for name, value in fields.items()})], timeout=10
    )


def test_an_archive_that_is_right(kept: Kept) -> None:
    """It says how much was proven; the manifest and what lives are no matter."""
    found = verified(kept)
    assert (found.faults, found.wrong, found.left_over) == (0, [], [])
    assert (found.pages, found.entries, found.totals) == (3, 5, 4)
    assert found.size == sum(len(data) for name, data in kept.shelf.files.items() if name.endswith(".gz"))
    assert json.dumps(found.as_json())


def test_nothing_is_archived() -> None:
    """Nothing is wrong with that."""
    assert verified(sealed(2)).as_json() == verified(Kept()).as_json()
    assert verified(Kept()).faults == 0


def test_a_file_that_is_missing_is_named(kept: Kept) -> None:
    """With its place."""
    name = sorted(kept.shelf.files)[1]
    del kept.shelf.files[name]
    assert verified(kept).wrong == [f"/archive/{name}: the file is missing"]


def test_a_file_that_is_damaged_is_named(kept: Kept) -> None:
    """Any byte of it."""
    name = sorted(kept.shelf.files)[1]
    kept.shelf.files[name] = kept.shelf.files[name][:-1] + b"?"
    (wrong,) = verified(kept).wrong
    assert wrong.startswith(f"/archive/{name}: the file is damaged: its SHA-256 is ")


def test_a_record_that_is_damaged_is_named(kept: Kept) -> None:
    """By somebody who wrote into it: a field is gone, or the deltas are not what the file adds up to."""
    first, second, _ = (record.path for record in kept.records())
    kept.world.memory.commit([Merge(first, {}, deletes=[("sha256",)])], timeout=10)
    change(kept, second, deltas=[])
    found = verified(kept)
    assert found.wrong[0] == f"{first}: the record is damaged: 'sha256'"
    assert "do not add up to what its commit added" in found.wrong[1]
    assert found.faults == 2 + 4  # and no total agrees with the records any more


def test_a_record_that_is_gone_is_noticed(kept: Kept) -> None:
    """Its entries are in no other, and its file is left over."""
    record = kept.records()[0]
    kept.world.memory.commit([Delete(record.path)], timeout=10)
    found = verified(kept)
    assert found.left_over == [f"/archive/{record.fields['file']}"]
    assert f"{CATEGORY}: archived is {{'count': 5}}, the page records add up to {{'count': 3}}" in found.wrong


@pytest.mark.parametrize("value", [{"count": 6}, {}, "5", None, {"count": 5, "grams": 1}])
def test_a_total_that_holds_something_else_is_named(kept: Kept, value: object) -> None:
    """Too much, too little, or no map."""
    change(kept, CATEGORY, archived=value)
    (wrong,) = verified(kept).wrong
    assert wrong == f"{CATEGORY}: archived is {value}, the page records add up to {{'count': 5}}"


def test_a_total_that_is_gone_is_named(kept: Kept) -> None:
    """Somebody deleted it, and with it what only it and the records know."""
    kept.world.memory.commit([Delete(CATEGORY)], timeout=10)
    assert verified(kept).wrong == [
        f"{CATEGORY}: archived is None, the page records add up to {{'count': 5}}"
    ]


def test_a_file_of_an_archive_that_died_is_left_over() -> None:
    """Not an error: its entries live, or are in another file."""
    kept = sealed(3)
    alive = kept.world.store
    with pytest.raises(Died):
        kept.run(step=dying_at(kept.world, "page begun"))
    kept.world.store = alive
    (name,) = kept.shelf.files
    assert verified(kept).left_over == []  # no record names a place
    assert verified(kept, place="/archive").left_over == [f"/archive/{name}"]
    kept.world.later(minutes=5)
    kept.run()
    found = verified(kept)
    assert (found.faults, found.left_over) == (0, [f"/archive/{name}"])


def test_while_an_archive_is_under_way() -> None:
    """A page that is committed between two reads of the verification is no difference."""
    kept = sealed(5)
    kept.run(kept.world.clock.now - timedelta(days=365))
    steps = [0]

    def verify(step: str) -> None:
        found = verified(kept)
        steps[0] += 1
        assert (found.faults, step) == (0, step)

    kept.run(step=verify)
    assert steps[0] > 10


def test_pages_that_come_between_two_reads() -> None:
    """The totals are listed with page 1, and the records with page 2; or half of the totals with page 2."""
    for call_number in range(1, 12):
        kept = sealed(1)
        kept.run()
        kept.world.serve(2, "more")
        kept.world.later(minutes=30)
        kept.world.run()
        seen = 0

        def archive(_: Call, kept: Kept = kept, number: int = call_number) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                kept.world.store = kept.world.memory
                kept.run()

        kept.world.store = Seams(kept.world.memory, archive)
        found = verified(kept)
        assert (found.faults, call_number) == (0, call_number)


def test_files_that_were_moved_are_found_where_they_are(kept: Kept) -> None:
    """The records name another place."""
    moved, kept.shelf = kept.shelf, Shelf("/elsewhere")
    assert verified(kept).faults == 3
    kept.shelf = Shelf("/elsewhere", moved.files)
    assert verified(kept, place="/elsewhere").faults == 0


def test_an_aggregation_that_was_declared_later_does_not_hold_what_was_archived(kept: Kept) -> None:
    """It is said, and is no fault; so is a measure, and what is no longer declared."""
    categories, actions, *_ = kept.world.source.aggregations
    grams = replace(categories, measures=(Count(), Sum("amount", "grams")))
    kept.world.source = Source("libra", (grams, actions, Aggregation("places", FieldKey("location"))))
    found = verified(kept)
    assert (found.faults, found.wrong) == (0, [])
    assert found.added == {"places": 5, "aggregates_categories.grams": 5}
    assert found.removed == {"aggregates_time_hours.count", "aggregates_time_dates.count"}
    kept.world.later(minutes=30)
    kept.world.run()
    kept.archive().run(kept.world.clock.now, by_commit_time=True)
    assert kept.living() == []
    assert (verified(kept).faults, verified(kept).added["places"]) == (0, 5)


def test_a_source_without_an_event_time_is_archived_by_commit_time(kept: Kept) -> None:
    """It says which option does that, and takes no lease."""
    kept.world.source = Source("libra", (kept.world.source.aggregations[0],))
    runs = len(kept.world.runs())
    with pytest.raises(ArchiveError, match=r"no aggregation has a TimeKey, .*: use --by-commit-time"):
        kept.run()
    assert len(kept.world.runs()) == runs


def test_a_declaration_that_was_changed_is_a_fault(kept: Kept) -> None:
    """The totals hold what an other declaration counted, and no recompute can count it again."""
    _, *others = kept.world.source.aggregations
    kept.world.source = Source("libra", (Aggregation("aggregates_categories", FieldKey("location")), *others))
    found = verified(kept)
    assert found.faults == 3
    assert "a declaration, LIBRA_TIME_ZONE or LIBRA_TIME_ACTION is not what it was" in found.wrong[0]


def test_much_that_is_wrong_is_counted(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first things are kept."""
    monkeypatch.setattr("shared.archive.verifying.KEPT", 2)
    kept.shelf.files.clear()
    found = verified(kept)
    assert (found.faults, len(found.wrong)) == (3, 2)


def test_the_manifest_lists_every_file_of_the_place(kept: Kept) -> None:
    """For people, and for tools that know nothing of Libra."""
    listed = json.loads(kept.shelf.files["manifest.json"])
    assert (listed["to"], listed["entries"]) == ("/archive", 5)
    assert listed["first"] == listed["last"] == "2025-09-04T18:57:29+00:00"
    for each in listed["files"]:
        data = kept.shelf.files[each["file"]]
        assert (each["bytes"], each["entries"]) == (len(data), len(gzip.decompress(data).splitlines()))
    assert sum(each["bytes"] for each in listed["files"]) == listed["bytes"]
    assert [each["page"] for each in listed["files"]] == [1, 2, 3]


def test_a_second_place_has_a_manifest_of_its_own(kept: Kept) -> None:
    """The files of the first are listed there."""
    first, kept.shelf = kept.shelf, Shelf("/second")
    kept.world.later(minutes=30)
    kept.world.run()
    kept.run()
    assert json.loads(kept.shelf.files["manifest.json"])["entries"] == 1
    assert json.loads(first.files["manifest.json"])["entries"] == 5
