"""Exports to BigQuery, on the emulator: what it holds, what a reader finds meanwhile, what is left alone."""

import json
from collections.abc import Iterator

import pytest

from local.bigquery import BigQuery as Emulator
from shared.errors import ExportError
from shared.exports import Target, compare, opened
from shared.exports.rest import BigQuery
from shared.exports.warehouse import LABEL
from shared.store import Delete, Query
from tests.support.exporting import LARGE, ODD, advance, column, enlarge, rows, snapshot, world
from tests.support.polling import check, poll

CATEGORIES = "aggregates_categories"


@pytest.fixture
def target(bigquery: Emulator, project: str) -> Iterator[Target]:
    """A dataset that is not there yet."""
    with opened("bigquery:books", bigquery.exports, project) as found:
        yield found


@pytest.fixture
def asked(bigquery: Emulator, project: str) -> BigQuery:
    """The same dataset, to ask it."""
    return BigQuery.connect("books", project, bigquery.exports)


def test_totals_come_back_as_they_are(target: Target, asked: BigQuery) -> None:
    """Any key, integers of 64 bits, and Firestore says the same; nothing that was loaded beside is left."""
    made = world()
    enlarge(made)
    manifest = target.save(snapshot(made))
    assert target.manifest("libra", "totals") == manifest
    keys = column(manifest, rows(target, manifest), CATEGORIES, "key")
    assert set(keys.values()) == {*ODD, "Kettle Chips"}
    same = compare(target, manifest, snapshot(made, at=manifest.read_at))
    assert (same.certain, same.faults, same.totals) == (True, 0, len(ODD) + 4)
    assert list(asked.query(f"SELECT MAX(t.count) FROM {asked.path(CATEGORIES)} AS t")) == [[str(LARGE)]]
    names = asked.query(f"SELECT table_name FROM `{asked.project}.books`.INFORMATION_SCHEMA.TABLES")
    assert sorted(str(name) for (name,) in names) == sorted(
        ["libra_exports", *(each.table.name for each in manifest.tables)]
    )
    made.merge("aggregates_actions/Served", count=1_000)
    other = compare(target, manifest, snapshot(made))
    assert [(it.total, it.column) for it in other.differences] == [
        ("aggregates_actions/Served", "count"),
        ("aggregates_actions/Served", "proven_count"),
    ]


def test_entries_are_json(target: Target, asked: BigQuery) -> None:
    """Their fields can be asked for, and whole numbers stay whole."""
    made = world()
    made.write("odd", number=2**53 + 1, weight=0.915908)
    advance(made)
    manifest = target.save(snapshot(made, "entries"))
    path = asked.path("libra_entries")
    values = "JSON_VALUE(t.data, '$.number'), JSON_VALUE(t.data, '$.weight')"
    found = asked.query(f"SELECT {values} FROM {path} AS t WHERE t.id = 'odd'")
    assert list(found) == [[str(2**53 + 1), "0.915908"]]
    assert manifest.tables[0].rows == len(rows(target, manifest)["libra_entries"]) == len(ODD) + 2


def test_an_empty_table_replaces_a_full_one(target: Target) -> None:
    """What is gone from Firestore is gone from the export."""
    made = world(odd=False)
    target.save(snapshot(made))
    for total in list(made.store.query(Query(CATEGORIES))):
        made.store.commit([Delete(total.path)], timeout=10)
    manifest = target.save(snapshot(made))
    assert rows(target, manifest)[CATEGORIES] == []


def test_views_outlive_an_export_and_columns_are_added(target: Target, asked: BigQuery) -> None:
    """Rows are replaced, not tables."""
    made = world(odd=False)
    asked.ensure_dataset()
    fields = [{"name": name, "type": kind} for name, kind in (("id", "STRING"), ("note", "STRING"))]
    asked.create("aggregates_actions", fields, labels=LABEL)
    target.save(snapshot(made))
    asked.run(f"CREATE VIEW {asked.path('best')} AS SELECT t.key FROM {asked.path(CATEGORIES)} AS t")
    advance(made)
    manifest = target.save(snapshot(made))
    assert len(list(asked.query(f"SELECT * FROM {asked.path('best')}"))) == 4
    archived = column(manifest, rows(target, manifest), "aggregates_actions", "archived_count")
    assert archived == {"Served": 0}


def test_a_table_that_no_export_made_is_left_alone(target: Target, asked: BigQuery) -> None:
    """The message names it and says what to do."""
    asked.ensure_dataset()
    asked.create(CATEGORIES, [{"name": "id", "type": "STRING"}])
    with pytest.raises(
        ExportError, match=rf"{CATEGORIES}: it is there and no export made it .*another dataset"
    ):
        target.save(snapshot(world(odd=False)))


def test_a_transaction_that_fails_changes_no_table(target: Target, asked: BigQuery) -> None:
    """Somebody removes what was loaded for the last table, just before: the others are as they were."""
    made = world(odd=False)
    before = target.save(snapshot(made))
    found = rows(target, before)

    def step(moment: str) -> None:
        if moment == "publish begun":
            names = [f"{name}" for (name,) in asked.query(f"SELECT table_name FROM {tables}")]
            (loaded,) = (name for name in names if name.startswith("aggregates_time_dates_loading_"))
            asked.drop(loaded)

    tables = f"`{asked.project}.books`.INFORMATION_SCHEMA.TABLES"
    advance(made)
    with pytest.raises(ExportError, match="aggregates_time_dates_loading_"):
        target.save(snapshot(made, step=step))
    assert target.manifest("libra", "totals") == before
    assert rows(target, before) == found


def test_an_export_that_is_stopped_leaves_nothing(target: Target, asked: BigQuery) -> None:
    """Ctrl-C once the second table is loaded: what is beside is removed, what was there stays."""
    made = world(odd=False)
    before = target.save(snapshot(made))
    seen: list[str] = []

    def stop(moment: str) -> None:
        seen.append(moment)
        if seen.count("table written") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.save(snapshot(made, step=stop))
    names = asked.query(f"SELECT table_name FROM `{asked.project}.books`.INFORMATION_SCHEMA.TABLES")
    assert [name for (name,) in names if "_loading_" in str(name)] == []
    assert target.manifest("libra", "totals") == before


def test_a_reader_never_finds_half_a_snapshot(bigquery: Emulator, asked: BigQuery) -> None:
    """Killed at each step and run again: one query finds one snapshot."""

    def look() -> str | None:
        if asked.table("libra_exports") is None:
            return None
        names = ("aggregates_categories", "aggregates_actions", "aggregates_time_dates")
        counts = "SELECT COUNT(*) AS n, COALESCE(SUM(t.`count`), 0) AS s FROM"
        tables = " ".join(
            f"CROSS JOIN ({counts} {asked.path(name)} AS t) AS t{number}" for number, name in enumerate(names)
        )
        columns = ", ".join(f"t{number}.n, t{number}.s" for number in range(len(names)))
        for manifest, *found in asked.query(
            f"SELECT m.manifest, {columns} FROM {asked.path('libra_exports')} AS m {tables}"
        ):
            said = json.loads(str(manifest))
            held = {table["name"]: table for table in said["tables"]}
            right = [number for name in names for number in (held[name]["rows"], held[name]["sums"]["count"])]
            assert [int(str(each)) for each in found] == right
            return str(said["snapshot"])
        return None

    environment = bigquery.exports | {"GOOGLE_CLOUD_PROJECT": asked.project}
    seen = poll("bigquery:books", environment, look, occurrences=1, pause=0.1)
    check(seen, without=("published half",))
