"""Exports to files: what they hold, in each format, and what readers of them find."""

import csv
import json
import threading
from pathlib import Path

import duckdb
import pyarrow.parquet
import pytest

from cli.against import compare_then_or_now
from shared.aggregation import Cell, document_id, fold
from shared.catalog import Books
from shared.errors import ExportError
from shared.exports import FORMATS, STEPS, compare
from shared.exports.folder import Folder
from shared.exports.tables import totals_table
from shared.store import Delete, Merge
from tests.support.exporting import LARGE, ODD, advance, column, enlarge, rows, snapshot, world
from tests.support.recomputing import World

CATEGORIES = "aggregates_categories"


@pytest.mark.parametrize("form", FORMATS)
def test_totals_come_back_as_they_are(tmp_path: Path, form: str) -> None:
    """Any key, integers of 64 bits, what is pending and what is proven: read back, nothing is different."""
    made = world()
    enlarge(made)
    target = Folder(str(tmp_path), form)
    manifest = target.save(snapshot(made))
    assert target.manifest("libra", "totals") == manifest
    found = rows(target, manifest)
    keys = column(manifest, found, CATEGORIES, "key")
    assert keys == {document_id(key): key for key in (*ODD, "Kettle Chips")}
    counts = column(manifest, found, CATEGORIES, "count")
    assert counts == dict.fromkeys(map(document_id, ODD), 1) | {"Kettle Chips": LARGE}
    proven = column(manifest, found, CATEGORIES, "proven_count")
    assert proven == dict.fromkeys(map(document_id, ODD), 1) | {"Kettle Chips": LARGE - 1}
    assert set(column(manifest, found, CATEGORIES, "exact_through").values()) == {manifest.watermark}
    (held,) = (each for each in manifest.tables if each.table.name == CATEGORIES)
    assert held.sums == {"count": LARGE + len(ODD), "proven_count": LARGE - 1 + len(ODD), "archived_count": 0}
    assert held.rows == len(ODD) + 1
    hours = column(manifest, found, "aggregates_time_hours", "key")
    assert hours == {"18": 18}


@pytest.mark.parametrize("form", FORMATS)
def test_entries_are_those_of_the_watermark_and_fold_to_what_is_proven(tmp_path: Path, form: str) -> None:
    """Entries and totals of two exports agree to the last entry; what came later is in neither."""
    made = world()
    made.merge("libra/e000", ingredient="edited after the watermark")
    target = Folder(str(tmp_path), form)
    entries, totals = target.save(snapshot(made, "entries")), target.save(snapshot(made))
    assert entries.watermark == entries.read_at == totals.watermark
    (table,) = rows(target, entries).values()
    assert [row[0] for row in table] == [f"e{number:03}" for number in range(len(ODD))]
    (stored,) = made.store.get(["libra/e001"])
    assert stored
    assert table[1][1:3] == (stored.create_time, stored.update_time)
    said = json.loads(str(table[1][3]))
    assert said["nested"] == {"at": "2025-01-01T00:00:00.000000Z"}
    ingredients = [{"ingredient": json.loads(str(row[3]))["ingredient"]} for row in table]
    counted = {cell: it["count"] for cell, it in fold(made.source, ingredients).items()}
    proven = column(totals, rows(target, totals), CATEGORIES, "proven_count")
    exact = {
        document_id(cell.key): count for cell, count in counted.items() if cell.aggregation == CATEGORIES
    }
    assert {name: count for name, count in proven.items() if count} == exact


def test_pyarrow_and_duckdb_read_parquet_with_its_types(tmp_path: Path) -> None:
    """INT64, STRING, TIMESTAMP in UTC; a sum in SQL is that of the manifest."""
    made = world()
    enlarge(made)
    manifest = Folder(str(tmp_path), "parquet").save(snapshot(made))
    path = tmp_path / manifest.snapshot / f"{CATEGORIES}.parquet"
    table = pyarrow.parquet.read_table(path)
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["key"], types["count"]) == ("string", "int64")
    assert types["exact_through"] == "timestamp[us, tz=UTC]"
    assert (
        dict(zip(table["key"].to_pylist(), table["count"].to_pylist(), strict=True))["Kettle Chips"] == LARGE
    )
    asked = f"SELECT sum(count), count(*), sum(CASE WHEN key = '' THEN count END) FROM '{path}'"
    assert duckdb.sql(asked).fetchone() == (LARGE + len(ODD), len(ODD) + 1, 1)
    kinds = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')").fetchall())
    assert (kinds["count"], kinds["exact_through"]) == ("BIGINT", "TIMESTAMP WITH TIME ZONE")


def test_csv_quotes_every_text_and_changes_none(tmp_path: Path) -> None:
    """A cell that a spreadsheet would run is as it was written: a reader must find its key."""
    manifest = Folder(str(tmp_path), "csv").save(snapshot(world()))
    path = tmp_path / manifest.snapshot / f"{CATEGORIES}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        found = {row["key"] for row in csv.DictReader(file)}
    assert found == {*ODD, "Kettle Chips"}
    assert path.read_text("utf-8").startswith('"id","key","count","proven_count","archived_count",')
    assert '\n"=1+1","=1+1",1,1,0,' in path.read_text("utf-8")
    assert '\n"%empty","",1,1,0,' in path.read_text("utf-8")


def test_a_line_of_json_holds_whole_numbers(tmp_path: Path) -> None:
    """Not a double, and not a text."""
    made = world()
    enlarge(made)
    manifest = Folder(str(tmp_path), "jsonl").save(snapshot(made))
    text = (tmp_path / manifest.snapshot / f"{CATEGORIES}.jsonl").read_text("utf-8")
    assert f'{{"id":"Kettle Chips","key":"Kettle Chips","count":{LARGE},' in text


def test_what_is_not_proven_is_not_exported() -> None:
    """Before the first run, and while a run is behind its seal: the message says what to do."""
    with pytest.raises(ExportError, match="nothing is proven yet: run libra recompute --source libra first"):
        snapshot(World())
    made = world()
    made.merge(made.home.state, timestamp=made.clock.now)
    with pytest.raises(ExportError, match="a run has failed behind its seal"):
        snapshot(made)


def test_entries_that_firestore_no_longer_has_are_refused(tmp_path: Path) -> None:
    """An hour after the watermark without point-in-time recovery; nothing is left in the folder."""
    made = world()
    late = snapshot(made, "entries")
    made.later(days=8)
    with pytest.raises(ExportError, match="libra: Firestore no longer has the entries of 2025-09-04T19:2"):
        Folder(str(tmp_path), "csv").save(late)
    assert list(tmp_path.iterdir()) == []


def test_a_total_that_is_no_integer_of_64_bits_is_named(tmp_path: Path) -> None:
    """Somebody wrote 1e300 there: the export ends, and nothing is half."""
    made = world()
    made.merge(made.home.total(Cell(CATEGORIES, "Kettle Chips")), count=1e300)
    with pytest.raises(ExportError, match=r"aggregates_categories/Kettle Chips: it holds 1\.000e"):
        Folder(str(tmp_path), "parquet").save(snapshot(made))
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_replaces_no_other_and_old_ones_are_kept_as_asked(tmp_path: Path) -> None:
    """Readers of the one before still find its files, until --keep removes them."""
    made, seen = world(odd=False), []
    for _ in range(3):
        seen.append(Folder(str(tmp_path), "csv").save(snapshot(made)).snapshot)
        made.later(minutes=1)
    entries = Folder(str(tmp_path), "csv").save(snapshot(made, "entries")).snapshot
    assert {each.name for each in tmp_path.iterdir() if each.is_dir()} == {*seen, entries}
    last = Folder(str(tmp_path), "csv", keep=2).save(snapshot(made)).snapshot
    assert {each.name for each in tmp_path.iterdir() if each.is_dir()} == {seen[2], last, entries}


def test_a_snapshot_that_is_being_written_is_not_swept(tmp_path: Path) -> None:
    """Two exports at once: each lets the other be, and both end complete."""
    made = world(odd=False)
    other: list[str] = []

    def step(moment: str) -> None:
        if moment == "table written" and not other:
            other.append(Folder(str(tmp_path), "csv").save(snapshot(made)).snapshot)

    first = Folder(str(tmp_path), "csv").save(snapshot(made, step=step)).snapshot
    assert {each.parent.name for each in tmp_path.glob("*/manifest.json")} == {first, other[0]}


def test_a_manifest_that_is_being_published_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that begins at that moment waits until the manifest has its name."""
    made, whole, threads = world(odd=False), Path.replace, list[threading.Thread]()
    taken = snapshot(made)

    def replace(path: Path, name: Path) -> Path:
        if name.name == "libra-totals.json" and not threads:
            threads.append(threading.Thread(target=Folder(str(tmp_path), "csv").save, args=(taken,)))
            threads[0].start()
            threads[0].join(0.5)
        return whole(path, name)

    monkeypatch.setattr(Path, "replace", replace)
    first = Folder(str(tmp_path), "csv").save(snapshot(made)).snapshot
    threads[0].join(60)
    assert {each.parent.name for each in tmp_path.glob("*/manifest.json")} == {first, taken.name}


def test_a_comparison_names_every_number_that_differs(tmp_path: Path) -> None:
    """A changed total, a new one and one that is gone; read at the instant of the export, nothing differs."""
    made = world()
    target = Folder(str(tmp_path), "parquet")
    manifest = target.save(snapshot(made))
    same = compare(target, manifest, snapshot(made, at=manifest.read_at))
    assert (same.certain, same.faults, same.damaged, same.totals) == (True, 0, [], len(ODD) + 4)
    advance(made, entries=2)
    made.serve(1, prefix="soup", ingredient="Soup")
    later = compare(target, manifest, snapshot(made))
    assert not later.certain
    found = {(each.total, each.column): (each.exported, each.firestore) for each in later.differences}
    assert found[f"{CATEGORIES}/Kettle Chips", "count"] == (1, 3)
    assert found[f"{CATEGORIES}/Kettle Chips", "proven_count"] == (0, 1)
    assert found[f"{CATEGORIES}/Soup", "count"] == (None, 1)
    assert later.faults == len(later.differences)
    made.merge("aggregates_actions/Served", count=1)
    made.store.commit([Delete("aggregates_time_hours/18")], timeout=10)
    lower = compare(target, manifest, snapshot(made))
    said = {(each.total, each.column): (each.exported, each.firestore) for each in lower.differences}
    assert said["aggregates_actions/Served", "count"] == (len(ODD) + 1, 1)
    assert said["aggregates_time_hours/18", "count"] == (len(ODD) + 1, None)
    assert compare(target, manifest, snapshot(made, at=manifest.read_at)).faults == 0


def test_a_comparison_falls_back_to_now_where_the_instant_is_gone(tmp_path: Path) -> None:
    """After Firestore's window: nothing has changed, so nothing differs; then something has, and is told."""
    made, target = world(odd=False), Folder(str(tmp_path), "csv")
    manifest = target.save(snapshot(made))
    made.later(days=8)
    books = Books(made.source, made.home)
    same = compare_then_or_now(made.store, books, target, manifest, lambda _, __: None)
    assert (same.certain, same.faults) == (False, 0)
    made.merge("aggregates_actions/Served", count=9)
    other = compare_then_or_now(made.store, books, target, manifest, lambda _, __: None)
    assert {each.total for each in other.differences} == {"aggregates_actions/Served"}


def test_a_comparison_with_what_is_replaced_meanwhile_says_so(tmp_path: Path) -> None:
    """A table and its manifest could be of two snapshots: that is no finding."""
    made, target = world(odd=False), Folder(str(tmp_path), "csv")
    manifest, others = target.save(snapshot(made)), list[str]()

    def step(moment: str) -> None:
        if moment == "page written" and not others:
            others.append(target.save(snapshot(made)).snapshot)

    with pytest.raises(
        ExportError, match=r"another export has replaced libra-totals-.* meanwhile: compare again"
    ):
        compare(target, manifest, snapshot(made, at=manifest.read_at, step=step))


def test_a_file_that_was_changed_is_found(tmp_path: Path) -> None:
    """By its checksum, whatever its numbers say."""
    made = world(odd=False)
    target = Folder(str(tmp_path), "csv")
    manifest = target.save(snapshot(made))
    path = tmp_path / manifest.snapshot / f"{CATEGORIES}.csv"
    path.write_text(path.read_text("utf-8").replace(",1,", ",2,"), "utf-8")
    with pytest.raises(ExportError, match=r"aggregates_categories\.csv: the file is damaged: its SHA-256 is"):
        rows(target, manifest)


def test_a_pointer_that_is_no_manifest_is_named(tmp_path: Path) -> None:
    """Somebody else's file of that name."""
    (tmp_path / "libra-totals.json").write_text("{}", "utf-8")
    with pytest.raises(ExportError, match=r"libra-totals\.json: no manifest of an export"):
        Folder(str(tmp_path), "csv").manifest("libra", "totals")


def test_columns_have_names_that_every_destination_takes() -> None:
    """The parts of a composite key by their names, in letters that SQL takes; no two columns share one."""
    made = world(odd=False)
    for aggregation in made.source.aggregations:
        table = totals_table(aggregation)
        assert table.names[:3] == ("id", "key", "count")
        assert len({name.lower() for name in table.names}) == len(table.names)


def test_archived_entries_are_in_the_total_and_beside_it(tmp_path: Path) -> None:
    """`archived_count` is the part of `count` that no entry of the other export explains."""
    made = world(odd=False)
    path = made.home.total(Cell(CATEGORIES, "Rice"))
    made.store.commit([Merge(path, {("archived",): {"count": 1}})], timeout=10)
    target = Folder(str(tmp_path), "csv")
    manifest = target.save(snapshot(made))
    found = rows(target, manifest)
    assert column(manifest, found, CATEGORIES, "archived_count")["Rice"] == 1
    assert column(manifest, found, CATEGORIES, "count")["Rice"] == 1


@pytest.mark.parametrize("step", [step for step in STEPS if step not in ("published half", "published")])
def test_an_export_that_is_stopped_leaves_nothing(tmp_path: Path, step: str) -> None:
    """Ctrl-C at any step before the last two; the snapshot before it is as it was."""
    made = world(odd=False)
    before = Folder(str(tmp_path), "csv").save(snapshot(made)).snapshot

    def stop(moment: str) -> None:
        if moment == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Folder(str(tmp_path), "csv").save(snapshot(made, step=stop))
    assert {each.name for each in tmp_path.iterdir()} == {before, "libra-totals.json"}
