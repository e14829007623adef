"""Bounded keys: the first values have totals of their own, all others are counted together."""

from dataclasses import replace
from typing import Any

import pytest

from shared.aggregation import (
    Aggregation,
    Bounded,
    Cell,
    Count,
    Entry,
    FieldKey,
    Home,
    Maximum,
    OneOf,
    Part,
    Source,
    Version,
    document_id,
)
from shared.aggregation.bounded import Bounds, moved, name_of
from shared.aggregation.lists import MAX_VALUES
from shared.archive import Verification
from shared.errors import DeclarationError
from shared.ledger import Outcome
from shared.recompute.removal import remove
from shared.recompute.standing import OLD_CODE
from shared.store import Delete, Query
from tests.support.archiving import Kept
from tests.support.bounded import NAMES, SIMPLE, admitted, bounded, counts
from tests.support.recomputing import World


@pytest.fixture
def world() -> World:
    """Nothing is counted yet."""
    return bounded()


def test_the_first_values_have_totals_of_their_own(world: World) -> None:
    """Two of them, also when they turn up again; `other` says how many entries had another value."""
    for number, value in enumerate(["Rice", "Peas", "Beans", "Rice", "Corn", "other"]):
        world.serve(1, f"e{number}-", ingredient=value)
    assert counts(world) == {"Rice": 2, "Peas": 1, "other": 3}
    assert admitted(world) == {"ingredient": ["Peas", "Rice"]}


def test_an_edit_among_the_others_changes_no_total(world: World) -> None:
    """What is taken back and what is added meet in one total; an edit to an admitted value does not."""
    for number, value in enumerate(["Rice", "Peas", "Beans"]):
        world.serve(1, f"e{number}-", ingredient=value)
    first = {"ingredient": "Beans", "amount": 12.5}
    events = [
        ("Corn", 12.5, {"Rice": 1, "Peas": 1, "other": 1}),
        ("Rice", 12.5, {"Rice": 2, "Peas": 1, "other": 0}),
    ]
    for value, amount, expected in events:
        world.later(seconds=1)
        old = Version(world.clock.now, first)
        first = {"ingredient": value, "amount": amount}
        world.later(seconds=1)
        edit = Entry(world.memory.name("libra/e2-0"), world.clock.now, first, old=old)
        assert world.ledger().apply(edit) is Outcome.COUNTED
        assert counts(world) == expected


def test_a_dry_run_admits_nothing(world: World) -> None:
    """It compares as if it had: what nobody has counted is drift, and no value gets a place."""
    for number, value in enumerate(["Rice", "Peas", "Beans", "Corn"]):
        world.write(f"e{number}", ingredient=value)
    world.later(hours=1)
    report = world.recompute().verify()
    assert {each.document for each in report.corrections} == {"simple/Beans", "simple/Corn", "simple/other"}
    assert (admitted(world), counts(world)) == (None, {})


def test_a_bound_that_is_lowered_takes_no_place_away(world: World) -> None:
    """And one that is raised admits more; the next run moves what is counted."""
    for number, value in enumerate(["Rice", "Peas", "Beans"]):
        world.serve(1, f"e{number}-", ingredient=value)
    world.source = Source("libra", (Aggregation("simple", Bounded(FieldKey("ingredient"), 1, "other")),))
    world.serve(1, "less", ingredient="Corn")
    assert counts(world) == {"Rice": 1, "Peas": 1, "other": 2}
    world.source = Source("libra", (Aggregation("simple", Bounded(FieldKey("ingredient"), 3, "other")),))
    world.later(hours=1)
    world.run()
    found = counts(world)
    assert (found["Rice"], found["Peas"], found["other"]) == (1, 1, 1)
    assert sum(found.values()) == 4


def test_what_old_instances_admit_after_a_bound_was_lowered_is_moved_by_each_run(world: World) -> None:
    """An instance that took the list for full goes on counting under `other`; one that starts anew agrees."""
    lowered = Source("libra", (replace(SIMPLE, key=Bounded(FieldKey("ingredient"), 1, "other")),))
    world.serve(1, "rice", ingredient="Rice")
    old, world.source = world.ledger(), lowered
    new = world.ledger()
    new.apply(world.write("full", ingredient="Beans"))
    old.apply(world.write("old", ingredient="Peas"))
    new.apply(world.write("new", ingredient="Peas"))
    assert counts(world) == {"Rice": 1, "Peas": 1, "other": 2}
    world.later(hours=1)
    world.run()
    assert counts(world) == {"Rice": 1, "Peas": 2, "other": 1}
    new.apply(world.write("still", ingredient="Peas"))
    world.later(hours=1)
    assert world.run().drift > 0
    world.ledger().apply(world.write("anew", ingredient="Peas"))
    world.later(hours=1)
    assert world.run().drift == 0
    assert counts(world) == {"Rice": 1, "Peas": 4, "other": 1}


def test_an_archive_keeps_values_where_they_are_counted() -> None:
    """Law *retain*: `archived` of `other` holds what was counted under `other`; the files prove it."""
    kept = Kept(World(source=Source("libra", (SIMPLE,))))
    for number, value in enumerate(["Rice", "Peas", "Beans", "Corn", "Rice"]):
        kept.world.serve(1, f"e{number}-", ingredient=value)
    kept.world.later(hours=1)
    kept.world.run()
    kept.archive().run(kept.world.clock.now, by_commit_time=True)
    assert kept.living() == []
    assert counts(kept.world) == {"Rice": 2, "Peas": 1, "other": 2}
    (other,) = kept.world.memory.get(["simple/other"])
    assert other is not None
    assert other.fields["archived"] == {"count": 2, "grams": 24}
    world = kept.world
    found = Verification(world.store, world.source, world.home, lambda _: kept.shelf, sleep=world.clock.sleep)
    assert found.run().faults == 0
    world.later(hours=1)
    assert world.run().drift == 0


def test_an_extreme_of_the_others_is_kept_with_them(world: World) -> None:
    """Of all values that are counted under `other`."""
    measures = (Count(), Maximum("amount", "most"))
    world.source = Source("libra", (Aggregation("simple", NAMES, measures=measures),))
    for number, value in enumerate(["Rice", "Peas", "Beans", "Corn"]):
        world.serve(1, f"e{number}-", ingredient=value, amount=10 * number)
    world.later(hours=1)
    world.run("scan")
    found = {each.fields["key"]: each.fields["most"] for each in world.memory.query(Query("simple"))}
    assert found == {"Rice": 0, "Peas": 10, "other": 30}


def test_a_removed_aggregation_takes_its_list_with_it(world: World) -> None:
    """Declared anew it begins with an empty one."""
    world.source = Source("libra", (SIMPLE, Aggregation("places", FieldKey("location"))))
    world.serve(1)
    world.later(hours=1)
    world.run()
    world.source = Source("libra", world.source.aggregations[1:])
    world.later(hours=1)
    world.run()
    world.clock.now += OLD_CODE
    remove(
        world.store,
        world.source,
        world.home,
        "simple",
        of_others=(),
        clock=world.clock,
        sleep=world.clock.sleep,
    )
    assert (admitted(world), counts(world)) == (None, {})


def test_a_deleted_entry_leaves_its_place(world: World) -> None:
    """A value that is admitted stays admitted, or what is counted elsewhere would have to move."""
    world.serve(1, ingredient="Rice")
    world.later(hours=1)
    world.memory.commit([Delete("libra/e0")], timeout=10)
    world.later(hours=1)
    world.run()
    assert (admitted(world), counts(world)) == ({"ingredient": ["Rice"]}, {"Rice": 0})


def test_names_in_a_list_are_short_and_told_apart() -> None:
    """A long value is written down as a digest: the list fits a document."""
    values: list[Part] = ["a", "b" * 100, "b" * 101, "b" * 102, "é" * 51, "a/b", "", 7, "%sha256-"]
    names = [name_of(value) for value in values]
    assert len(set(names)) == len(values)
    assert max(len(name.encode()) for name in names) <= 100
    assert names[0] == document_id("a")
    assert MAX_VALUES * 101 < 2**20


def test_only_bounded_parts_are_moved() -> None:
    """Of a composite key, too; cells of other aggregations stay where they are."""
    pairs = Aggregation("pairs", (FieldKey("location"), Bounded(FieldKey("floor", kind=int), 1, other=-1)))
    bounds = Bounds(Source("libra", (pairs, Aggregation("free", FieldKey("location")))))
    here, there, free = Cell("pairs", ("A", 3)), Cell("pairs", ("A", 4)), Cell("free", "A")
    lists = {"floor": frozenset({"3"})}
    assert bounds.undecided(there, {}) == {"floor": "4"}
    assert bounds.undecided(there, lists) == bounds.undecided(free, {}) == {}
    assert bounds.undecided(Cell("pairs", ("A", -1)), {}) == {}
    assert [bounds.place(cell, lists) for cell in (here, there, free)] == [
        here,
        Cell("pairs", ("A", -1)),
        free,
    ]


def test_what_meets_in_one_total_is_added_up() -> None:
    """And what comes to nothing is not written."""
    cells = [Cell("a", value) for value in ("x", "y", "z")]
    deltas = {cells[0]: {"count": 1, "grams": 5}, cells[1]: {"count": -1, "grams": 2}, cells[2]: {"count": 0}}
    assert moved(deltas, lambda _: cells[0]) == {cells[0]: {"grams": 7}}
    assert moved(deltas, lambda cell: cell) == {cells[0]: deltas[cells[0]], cells[1]: deltas[cells[1]]}


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (lambda: Bounded(FieldKey("f"), 0, "other"), "a key by f: most=0: expected a number from 1 to 5000"),
        (lambda: Bounded(FieldKey("f"), 5_001, "other"), "most=5001: expected a number from 1 to 5000"),
        (lambda: Bounded(FieldKey("f"), 5, 7), "a key by f: other: expected a string, found an integer"),
        (lambda: Bounded(FieldKey("f", kind=int), 5, True), "other: expected an integer, found a boolean"),
        (
            lambda: Aggregation(
                "a", (Bounded(FieldKey("f"), 3_000, "x"), Bounded(FieldKey("g"), 3_000, "x"))
            ),
            "a: its bounded keys have 6000 values: expected 5000 at most",
        ),
        (
            lambda: Home("libra", state="books/keys-simple").check(Source("libra", (SIMPLE,))),
            "the id in state='books/keys-simple' begins with 'keys-'",
        ),
    ],
)
def test_a_bound_that_could_not_be_kept_is_refused(declare: Any, why: str) -> None:
    """Where it is declared, with what was found and what is allowed."""
    with pytest.raises(DeclarationError, match=why):
        declare()


def test_a_list_of_values_needs_no_document(world: World) -> None:
    """`OneOf` is decided by the value alone."""
    world.source = Source(
        "libra", (Aggregation("simple", OneOf(FieldKey("ingredient"), ("Rice",), "other")),)
    )
    world.serve(2, ingredient="Beans")
    assert (counts(world), admitted(world)) == ({"other": 2}, None)
