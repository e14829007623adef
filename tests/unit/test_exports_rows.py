"""How an export reads Firestore and writes rows: any row, any declaration, and streams that break off."""

import gc
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.aggregation import Aggregation
from shared.errors import Transient
from shared.exports import FORMATS, Snapshot
from shared.exports.folder import Folder
from shared.exports.formats import read, writing
from shared.exports.snapshot import Tally
from shared.exports.tables import Column, Kind, Row, Table, Value, totals_table
from shared.store import Document, Query
from shared.warehouse.views import key_columns
from tests.support.admitting import Desk, click
from tests.support.declarations import aggregations
from tests.support.exporting import LARGE, ODD, rows, snapshot, world
from tests.support.memory_store import MemoryStore
from tests.support.recomputing import Clock

CELLS: dict[Kind, st.SearchStrategy[Value]] = {
    "text": st.text(),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "time": st.datetimes(timezones=st.just(UTC)),
    "json": st.text().map(lambda text: f"{{{json.dumps(text, ensure_ascii=False)}:{LARGE}}}"),
}
EVERY = Table("t", (Column("id", "text"), *(Column(kind, kind) for kind in CELLS)))
some_rows = st.lists(st.tuples(st.text(), *(st.none() | each for each in CELLS.values())), max_size=5)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40)
@given(given_rows=some_rows)
def test_any_row_comes_back_from_a_file(
    form: str, given_rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing is not the empty text; quotes, line ends and lone carriage returns are what they were."""
    path = tmp_path_factory.getbasetemp() / f"rows.{form}"
    with path.open("wb") as file, writing(form, file, EVERY) as out:
        out.write(given_rows[:2])
        out.write(given_rows[2:])
    assert list(read(path, EVERY)) == given_rows


class Broken(io.BufferedIOBase):
    """A file that takes nothing more once it is ``full``."""

    def __init__(self) -> None:
        self.full = False
        self.refused = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self.full:
            self.refused += 1
            raise ConnectionError("the upload broke off")
        return len(data)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("stopped", [False, True])
def test_a_file_that_failed_is_not_written_to_again(
    form: str, *, stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own error is raised, and no other. A bucket would upload what is left, now or in whatever thread
    collects the writer, and each of these tries takes two minutes where nothing answers."""
    monkeypatch.setattr("shared.exports.formats.BUFFERED_ROWS", 1)
    file, some = Broken(), ("a", *(None for _ in CELLS))

    def export() -> None:
        with writing(form, file, EVERY) as out:
            out.write([some])
            file.full = True
            if stopped:
                raise KeyboardInterrupt
            out.write([some])

    with pytest.raises(KeyboardInterrupt if stopped else ConnectionError):
        export()
    before = file.refused
    gc.collect()
    assert (before, file.refused) == ((0, 0) if stopped else (1, 1))


@settings(max_examples=40)
@given(aggregation=aggregations)
def test_columns_of_any_declaration_differ(aggregation: Aggregation) -> None:
    """In letters that SQL takes, whatever the fields and measures are called, and whatever their case."""
    table = totals_table(aggregation)
    assert len({name.lower() for name in table.names}) == len(table.names)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in table.names)
    assert table.names[0] == "id"


def test_a_stream_that_breaks_off_goes_on_where_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of documents, and where one request ends: each comes once, in the order of ids."""
    monkeypatch.setattr("shared.exports.snapshot.STREAM", 4)
    made = world()
    whole = MemoryStore.query
    broken: list[int] = []

    def query(self: MemoryStore, asked: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        for number, document in enumerate(whole(self, asked, read_time=read_time)):
            if number == len(broken) % 4 and len(broken) < 6:
                broken.append(number)
                raise Transient("the connection is gone")
            yield document

    monkeypatch.setattr(MemoryStore, "query", query)
    target = Folder(str(tmp_path), "csv")
    manifest = target.save(snapshot(made, "entries", page=3))
    assert len(broken) == 6
    assert [row[0] for row in rows(target, manifest)["libra_entries"]] == [
        f"e{it:03}" for it in range(len(ODD))
    ]


def test_a_stream_that_brings_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After six tries, with the store's own words."""
    made = world()

    def query(*_: object, **__: object) -> Iterator[Document]:
        raise Transient("no connection")
        yield

    taken = snapshot(made)
    monkeypatch.setattr(MemoryStore, "query", query)
    with pytest.raises(Transient, match="no connection"):
        Folder(str(tmp_path), "csv").save(taken)
    assert list(tmp_path.iterdir()) == []


def test_a_self_written_source_is_exported_with_its_composite_keys(tmp_path: Path) -> None:
    """Without buckets no column claims to be proven. The entries are those of the watermark."""
    clock = Clock()
    desk = Desk(MemoryStore(clock), clock=clock, sleep=clock.sleep)
    desk.admit(click(1, at=clock.now), click(2, at=clock.now, user="a|b/c"), click(3, at=clock.now, user=...))
    clock.sleep(60)
    desk.run()
    clock.sleep(60)
    desk.admit(click(4, at=clock.now))
    target = Folder(str(tmp_path), "parquet")
    taken = [
        Snapshot(desk.store, desk.source, desk.home, what, sleep=clock.sleep)
        for what in ("totals", "entries")
    ]
    totals, entries = map(target.save, taken)
    by_user = {row[0]: row[1:7] for row in rows(target, totals)["by_user"]}
    assert by_user == {
        "u|open": ("u", "open", 2, 2, None, None),
        "a%7Cb%2Fc|open": ("a|b/c", "open", 1, 1, None, None),
    }
    names = {each.table.name: each.table.names for each in totals.tables}
    assert names["by_user"][:5] == ("id", "user", "type", "count", "n")
    for aggregation in desk.source.aggregations:
        assert names[aggregation.name][1:][: len(aggregation.parts)] == key_columns(aggregation)
    assert len(rows(target, entries)["clicks_entries"]) == 3


def test_no_more_than_a_page_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many documents a request reads: the next is taken when the rows before it were."""
    made, whole = world(), MemoryStore.query
    taken: list[int] = []

    def query(self: MemoryStore, asked: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        for document in whole(self, asked, read_time=read_time):
            taken.append(1)
            yield document

    ahead = snapshot(made, "entries", page=3)
    monkeypatch.setattr(MemoryStore, "query", query)
    (table,) = ahead.tables
    given = 0
    for page in ahead.pages(table, Tally()):
        given += len(page)
        assert (len(taken), len(page) <= 3) == (given, True)
    assert given == len(ODD)
