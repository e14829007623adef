"""Laws over generated declarations: whatever can be declared is counted alike by everything that counts."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.aggregation import (
    MAX_ID_BYTES,
    Aggregation,
    Cell,
    Entry,
    FieldKey,
    Key,
    Source,
    TimeKey,
    Unusable,
    add,
    contribution,
    decode_id,
    document_id,
    fold,
)
from shared.aggregation.digest import canonical, digest
from shared.counting.index import index, unsupported
from shared.counting.scan import Tally, scan
from shared.counting.snapshot import Snapshot
from shared.store import Create, Query
from tests.support.declarations import ZONES, aggregations, entries, keys, provable, sources, values
from tests.support.recomputing import World

BOUNDLESS = settings(deadline=None)


@given(sources(), st.lists(entries(), max_size=12), st.randoms(use_true_random=False), st.integers(1, 4))
@example(  # an hour that begins and ends before midnight, with a minute of the next day in it
    Source("libra", (Aggregation("totals_0", TimeKey("at", "date", ZONES[4])),)),
    [{"at": datetime(2006, 10, 29, 2, 30, 30, tzinfo=UTC)}],
    None,
    1,
)
@BOUNDLESS
def test_any_order_any_grouping_and_a_tally_give_the_fold(
    source: Source, collection: list[dict[str, object]], shuffler: Any, groups: int
) -> None:
    """The sum of contributions is the fold, however it is added up; and a tally tells all kinds apart."""
    whole = fold(source, collection)
    shuffled = list(collection)
    if shuffler:
        shuffler.shuffle(shuffled)
    assert add(fold(source, shuffled[start::groups]) for start in range(groups)) == whole
    tally = Tally.of(source, most=groups)
    for fields in shuffled:
        tally.add(fields)
    assert tally.totals() == whole
    assert tally.extremes == widest(source, collection)


@given(sources(most=2), st.lists(entries(values), max_size=12))
@BOUNDLESS
def test_a_scan_of_a_collection_is_the_fold(source: Source, collection: list[dict[str, object]]) -> None:
    """Through the store, with its projection to the fields that the declarations read."""
    world = kept(source, collection)
    counted = scan(Snapshot(world.memory, source, world.home, world.clock.now, workers=1), page=3)
    assert counted.totals == fold(source, collection)
    assert counted.extremes == widest(source, collection)


@given(sources(provable), st.lists(entries(values), min_size=4, max_size=16))
@BOUNDLESS
def test_what_the_index_does_not_refuse_it_counts_as_the_fold(
    source: Source, collection: list[dict[str, object]]
) -> None:
    """Strings, booleans, lists of values, and all grains of a time, under equalities."""
    assert unsupported(source) is None
    world = kept(source, collection)
    counted = index(Snapshot(world.memory, source, world.home, world.clock.now, workers=1))
    assert counted.totals == fold(source, collection)


@given(sources(most=2), st.lists(entries(values), min_size=2, max_size=6))
@BOUNDLESS
def test_what_the_index_can_not_prove_it_refuses(source: Source, collection: list[dict[str, object]]) -> None:
    """Any declaration is either refused with a reason, or counted as the fold does."""
    if reason := unsupported(source):
        assert any(reason.startswith(f"{each.name} ") for each in source.aggregations)
        return
    world = kept(source, collection)
    counted = index(Snapshot(world.memory, source, world.home, world.clock.now, workers=1))
    assert counted.totals == fold(source, collection)


@given(sources(most=3), st.lists(st.tuples(entries(values), st.booleans()), max_size=6))
@BOUNDLESS
def test_a_run_finds_what_was_lost_whatever_is_declared(
    source: Source, collection: list[tuple[dict[str, object], bool]]
) -> None:
    """Some events are delivered, some are not. After a run every total is the fold; another finds drift 0."""
    world = World(source=source)
    ledger = world.ledger()
    for number, (fields, delivered) in enumerate(collection):
        created = world.memory.commit([Create(f"libra/e{number}", fields)], timeout=10)
        if delivered:
            ledger.apply(Entry(world.memory.name(f"libra/e{number}"), created, fields))
    world.later(hours=1)
    world.run()
    quiet = World().run().writes  # what a run writes that corrects nothing
    exact = fold(source, [fields for fields, _ in collection])
    extremes = widest(source, [fields for fields, _ in collection])
    for each in source.aggregations:
        for document in world.memory.query(Query(each.name)):
            key = each.parse_stored_key(document.fields["key"])
            assert key is not None
            cell = Cell(each.name, key)
            assert world.home.total(cell) == document.path
            stored = {column: document.fields.get(column, 0) for column in each.columns}
            assert stored == dict.fromkeys(each.columns, 0) | exact.pop(cell)
            names = {extreme.name for extreme in each.extremes} & document.fields.keys()
            assert {name: document.fields[name] for name in names} == extremes.get(cell, {})
    assert exact == {}
    world.later(hours=1)
    again = world.run()
    assert (again.drift, again.writes) == (0, quiet)


def widest(source: Source, collection: list[dict[str, object]]) -> dict[Cell, dict[str, int]]:
    """The least and the greatest value of each total, worked out from all values at once."""
    found: dict[Cell, dict[str, list[int]]] = {}
    for fields in collection:
        for cell in contribution(source, fields).deltas:
            for each in source.aggregation(cell.aggregation).extremes:
                with suppress(Unusable):
                    value = each.value(fields)
                    found.setdefault(cell, {}).setdefault(each.name, []).append(value)
    of = {"least": min, "greatest": max}
    return {cell: {name: of[name](seen) for name, seen in each.items()} for cell, each in found.items()}


def kept(source: Source, collection: list[dict[str, object]]) -> World:
    """A world whose collection holds these entries, which its source counts."""
    world = World(source=source)
    world.memory.commit([Create(f"libra/e{n}", fields) for n, fields in enumerate(collection)], timeout=10)
    world.later(hours=1)
    return world


@given(sources(), entries())
@BOUNDLESS
def test_an_aggregation_counts_what_it_admits_or_says_why_not(
    source: Source, fields: dict[str, object]
) -> None:
    """For any entry; what is added lies in the columns that are declared, and every entry counts once."""
    found = contribution(source, fields)
    refused = {one.aggregation for one in found.rejections}
    counted = {cell.aggregation: added for cell, added in found.deltas.items()}
    for each in source.aggregations:
        admitted = each.where is None or each.where.admits(fields)
        assert admitted == (each.name in counted.keys() | refused)
        added = counted.get(each.name, {"count": 1})
        assert added["count"] == 1
        assert added.keys() <= set(each.columns)
    assert all(one.field in source.fields for one in found.rejections)


@given(aggregations, aggregations)
@BOUNDLESS
def test_what_counts_otherwise_has_another_digest(one: Aggregation, other: Aggregation) -> None:
    """Every declaration has a digest, and what is written down alike is declared alike."""
    assert (digest(one) == digest(other)) == (canonical(one) == canonical(other))
    assert (canonical(one) == canonical(other)) <= (one == other)


@given(aggregations, st.lists(entries(), max_size=6))
@BOUNDLESS
def test_document_ids_are_injective_and_say_the_key_again(
    aggregation: Aggregation, collection: list[dict[str, object]]
) -> None:
    """For keys of every type: the id, and what is stored in `key`, give the key back with its type."""
    keys = {cell.key for cell in fold(Source("libra", (aggregation,)), collection)}
    ids = {key: document_id(key) for key in keys}
    assert len(set(ids.values())) == len(keys)
    for key, encoded in ids.items():
        assert len(encoded.encode()) <= MAX_ID_BYTES
        assert typed(aggregation.parse_stored_key(aggregation.stored_key(key))) == typed(key)
        if not encoded.startswith("%sha256-"):
            assert typed(decode_id(encoded, aggregation.parts)) == typed(key)


@given(keys(), st.text("0123456789-WT.eatrufls+ _", max_size=14))
def test_a_text_is_read_as_a_key_only_if_it_is_the_id_of_one(key: Any, text: str) -> None:
    """No second spelling of a number, a date or a boolean leads to a total."""
    parts = key if isinstance(key, tuple) else (key,)
    try:
        found = decode_id(text, parts)
    except ValueError:
        return
    assert document_id(found) == text
    values = found if isinstance(found, tuple) else (found,)
    assert all(part.holds(value) for part, value in zip(parts, values, strict=True))


def test_true_and_one_have_ids_of_their_own() -> None:
    """Python takes them for one key of a dictionary, and a cache would, too."""
    both: list[Key] = [1, True, (1, 0), (True, False)]
    assert [document_id(key) for key in both] == ["1", "true", "1|0", "true|false"]
    flags = Source("libra", (Aggregation("flags", FieldKey("flag", kind=bool)),))
    found = fold(flags, [{"flag": True}, {"flag": 1}, {"flag": False}])
    assert found == {Cell("flags", True): {"count": 1}, Cell("flags", False): {"count": 1}}


def typed(value: Any) -> object:
    """A value that differs from those of another type."""
    return tuple(map(typed, value)) if isinstance(value, tuple) else (type(value), value)
