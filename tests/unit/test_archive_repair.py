"""Damage to what totals hold of archived entries: a recompute refuses it, and a repair puts it right."""

from dataclasses import replace

import pytest

from shared.aggregation import Source
from shared.archive import Repair, Repaired, pages
from shared.errors import ArchiveError, LeaseHeld
from shared.store import Delete, Merge
from tests.support.archiving import Kept, sealed
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import totals

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
    kept.world.later(minutes=30)
    return kept


def repair(kept: Kept) -> list[Repaired]:
    """Repair."""
    world = kept.world
    return Repair(world.store, world.source, world.home, clock=world.clock, sleep=world.clock.sleep).run()


DAMAGE: list[Delete | Merge] = [
    Delete(CATEGORY),
    Merge(CATEGORY, deletes=[("archived",)]),
    Merge(CATEGORY, deletes=[("archived",), ("archived_page",)]),
    Merge(CATEGORY, {("archived",): "5"}),
    Merge(CATEGORY, {("archived", "count"): 4}),
    Merge(CATEGORY, {("archived", "count"): 5.5}),
    Merge("aggregates_categories/Basil", {("archived", "count"): 1}),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_recompute_corrects_nothing_where_archived_entries_are_missing(
    kept: Kept, damage: Delete | Merge
) -> None:
    """It would take what no entry is left to prove. It names the collection and what to do."""
    kept.world.memory.commit([damage], timeout=10)
    before = totals(kept.world.memory, kept.world.source)
    missing = r"^aggregates_categories: its totals hold .* but 5 were archived"
    with pytest.raises(ArchiveError, match=missing):
        kept.world.run()
    with pytest.raises(ArchiveError, match=missing):
        kept.world.recompute().verify("scan")
    assert totals(kept.world.memory, kept.world.source) == before


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_repair_puts_back_what_was_archived(kept: Kept, damage: Delete | Merge) -> None:
    """And the next recompute the count."""
    before = kept.shown()
    kept.world.memory.commit([damage], timeout=10)
    (repaired,) = repair(kept)
    assert repaired.total == damage.path
    kept.world.run()
    assert kept.shown() == before
    kept.retained()
    assert repair(kept) == []


def test_a_repair_without_anything_to_repair(kept: Kept) -> None:
    """Also where nothing was ever archived."""
    assert repair(kept) == repair(Kept()) == []


def test_another_name_takes_over_the_totals_with_what_they_hold_of_archived_entries(kept: Kept) -> None:
    """The page records say by collection what is archived: a name is free to change."""
    kept.world.source = renamed(kept.world.source, "categories")
    kept.world.home = replace(kept.world.home, totals={"categories": "aggregates_categories"})
    assert kept.world.run().drift == 0
    assert repair(kept) == []
    assert kept.run().moved.entries == 1
    kept.world.later(minutes=30)
    assert kept.world.run().drift == 0
    (total,) = kept.world.memory.get([CATEGORY])
    assert total
    assert (total.fields["count"], total.fields["archived"]) == (6, {"count": 6})


def test_totals_in_another_collection_hold_what_lives(kept: Kept) -> None:
    """As those of an aggregation that is declared after an archive; and an archive adds to them again."""
    kept.world.home = replace(kept.world.home, totals={"aggregates_categories": "by_category"})
    kept.world.run()
    assert repair(kept) == []
    (total,) = kept.world.memory.get(["by_category/Kettle Chips"])
    assert total
    assert total.fields["count"] == 1
    kept.world.later(days=365)
    kept.world.run()
    kept.run()
    kept.world.run()
    assert repair(kept) == []
    held = kept.records()[-1].fields["held"]
    assert isinstance(held, dict)
    assert (held["aggregates_categories"], held["by_category"]) == (5, 1)


def test_a_record_of_before_is_read_by_the_names_of_aggregations(kept: Kept) -> None:
    """A run and a repair find that the totals hold what it says."""
    say_it_by_name(kept)
    assert kept.world.run().drift == 0
    assert repair(kept) == []
    kept.world.memory.commit([DAMAGE[0]], timeout=10)
    with pytest.raises(ArchiveError, match="but 5 were archived"):
        kept.world.run()


def say_it_by_name(kept: Kept) -> None:
    """Give the page records the form that they had before 2026-11-26."""
    for record in kept.records():
        change = Merge(record.path, {("sums",): record.fields["held"]}, deletes=[("held",)])
        kept.world.memory.commit([change], timeout=10)


def renamed(source: Source, name: str) -> Source:
    """The source with another name for the aggregation of the categories."""
    return replace(
        source,
        aggregations=tuple(
            replace(each, name=name) if each.name == "aggregates_categories" else each
            for each in source.aggregations
        ),
    )


def test_a_record_that_is_missing_cannot_be_repaired(kept: Kept) -> None:
    """Then nobody knows what the totals must hold."""
    kept.world.memory.commit([Delete(kept.records()[0].path)], timeout=10)
    with pytest.raises(ArchiveError, match=r"add up to 3 archived entries in .* but 5 were archived"):
        repair(kept)
    assert kept.world.runs()[-1]["state"] == "failed"
    assert kept.world.run().drift == 0


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_repair_whose_reply_is_lost_lands_once(kept: Kept, number: int) -> None:
    """Each of its commits."""
    kept.world.memory.commit([DAMAGE[0]], timeout=10)
    commits = iter(range(1, 99))

    def lost(call: Call) -> Fault | None:
        return "reply lost" if call.method == "commit" and next(commits) == number else None

    kept.world.store = Seams(kept.world.memory, lost)
    assert len(repair(kept)) == 1
    kept.world.run()
    kept.retained()


def test_no_repair_while_an_archive_is_under_way(kept: Kept) -> None:
    """One lease for all."""
    refused: list[bool] = []

    def meanwhile(step: str) -> None:
        if step == "process committed":
            with pytest.raises(LeaseHeld):
                repair(kept)
            refused.append(True)

    kept.world.run()
    kept.run(step=meanwhile)
    assert refused
