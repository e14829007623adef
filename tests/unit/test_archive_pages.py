"""How entries are read, cut into pages and written into files: within bounds, whatever the entries hold."""

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta

import pytest

from shared.archive import pages, reading, records
from shared.archive.files import File, document_of, line_of, packed, unpacked
from shared.archive.pages import Item, Page, cut
from shared.catalog import LIBRA_HOME, libra
from shared.errors import ArchiveError
from shared.recompute import comparison
from shared.registry import Registry
from shared.settings import Settings
from shared.store import Create, Document, Query
from shared.watermark import SAFETY_MARGIN
from tests.support.archiving import Kept, sealed
from tests.support.kitchen import SERVED
from tests.support.memory_seams import Call, Seams
from tests.support.memory_store import MemoryStore
from tests.support.recomputing import BEGIN

STORE = MemoryStore(lambda: BEGIN)
SOURCE = libra(Settings())


def items(entries: Iterable[Mapping[str, object]]) -> list[Item]:
    """Entries on their way into pages."""
    found = [
        Document(f"libra/{number:04}", SERVED | dict(changed), BEGIN, BEGIN)
        for number, changed in enumerate(entries)
    ]
    registry = Registry(STORE, SOURCE, LIBRA_HOME, sleep=lambda _: None)
    return [Item.of(STORE, SOURCE, registry, each, BEGIN) for each in found]


def sizes(entries: Iterable[Mapping[str, object]]) -> list[int]:
    """How many entries each page holds."""
    return [len(page) for page in cut(LIBRA_HOME, items(entries))]


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_commit_time", [False, True])
def test_old_entries_are_read_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch, by_commit_time: bool) -> None:
    """Behind the last one, also among entries of one time; each is read once."""
    monkeypatch.setattr(reading, "FIRST_READ", 2)
    monkeypatch.setattr(reading, "MOST_READ", 3)
    kept = sealed(8)
    report = kept.archive().run(kept.world.clock.now, by_commit_time=by_commit_time)
    assert (report.moved.entries, kept.living()) == (8, [])
    assert report.moved.pages == 1


def test_large_entries_are_read_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as fit into the bound if all are as large as the largest; at least one."""
    monkeypatch.setattr(reading, "FIRST_READ", 2)
    monkeypatch.setattr(reading, "READ_BYTES", 1_700)
    kept = Kept()
    kept.world.serve(1)
    kept.world.serve(6, "large", location="x" * 600)
    kept.world.later(minutes=30)
    kept.world.run()
    limits = []

    def asked(call: Call) -> None:
        if (
            call.method == "query"
            and isinstance(query := call.about[0], Query)
            and query.collection == "libra"
        ):
            limits.append(query.limit)

    kept.world.store = Seams(kept.world.memory, asked)
    kept.run()
    assert limits == [2, 2, 2, 2]
    assert kept.living() == []


def test_the_books_are_read_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page records and totals, by the archive, the verification, the recompute and the repair."""
    monkeypatch.setattr(pages, "PAGE_ENTRIES", 1)
    monkeypatch.setattr(records, "LISTED", 2)
    monkeypatch.setattr(records, "TOTALS", 1)
    monkeypatch.setattr(comparison, "PAGES", 2)
    kept = sealed(5)
    kept.run()
    kept.retained()
    kept.world.later(minutes=30)
    assert kept.world.run().drift == 0


def test_a_page_just_before_the_watermark_is_no_later_page() -> None:
    """Its record is read, within the margin, and tells by its create time that it is not meant."""
    kept = sealed(3)
    kept.world.later(minutes=7)
    kept.run()
    kept.world.later(minutes=14)
    report = kept.world.recompute().verify("scan")
    page = kept.records()[0].create_time
    assert timedelta(0) < report.watermark - page < SAFETY_MARGIN
    assert report.drift == 0
    assert kept.world.run().drift == 0


# --- pages ----------------------------------------------------------------------------------------


def test_a_page_holds_so_many_entries() -> None:
    """And the rest is in the last."""
    assert sizes({} for _ in range(1_001)) == [500, 500, 1]
    assert sizes([]) == []


def test_a_page_holds_so_many_bytes() -> None:
    """Of entries; one entry alone always fits."""
    assert sizes({"location": "x" * 500_000} for _ in range(7)) == [4, 3]
    assert sizes({"location": "x" * 1_040_000} for _ in range(3)) == [2, 1]


def test_a_page_touches_so_many_totals() -> None:
    """What its record and its commit hold of them is bounded: long keys make small pages."""
    entries = [{"ingredient": f"{number}" + "ü" * 30_000} for number in range(60)]
    found = list(cut(LIBRA_HOME, items(entries)))
    assert sum(map(len, found)) == 60
    for page in found:
        file, _ = packed("x", (item.line for item in page))
        writes = Page(1, page, file).writes(STORE, SOURCE, LIBRA_HOME, about={}, now=BEGIN)
        assert len(repr(writes).encode()) < 4 * pages.PAGE_BYTES
    spread = [{"ingredient": f"{number}-{'x' * 1_300}"} for number in range(400)]
    for page in cut(LIBRA_HOME, items(spread)):
        file, _ = packed("x", (item.line for item in page))
        writes = Page(1, page, file).writes(STORE, SOURCE, LIBRA_HOME, about={}, now=BEGIN)
        (record,) = (each.fields for each in writes if isinstance(each, Create))
        assert len(repr(record).encode()) < 512 * 1024


# --- files ----------------------------------------------------------------------------------------


def test_the_same_entries_give_the_same_bytes() -> None:
    """Whatever the order of their fields, and whenever they are written."""
    one = Document("libra/a", {"b": 1, "a": {"d": 1.0, "c": None}}, BEGIN, BEGIN + timedelta(microseconds=1))
    other = Document("libra/a", {"a": {"c": None, "d": 1.0}, "b": 1}, one.create_time, one.update_time)
    lines = [line_of(STORE, each) for each in (one, other)]
    assert lines[0] == lines[1]
    assert packed("f", lines) == packed("f", lines)
    assert lines[0].decode() == (
        '{"createTime":"2025-09-04T19:00:00Z","fields":{"a":{"mapValue":{"fields":{"c":{"nullValue":null},'
        '"d":{"doubleValue":1.0}}}},"b":{"integerValue":"1"}},'
        f'"name":"{STORE.name("libra/a")}","updateTime":"2025-09-04T19:00:00.000001Z"}}\n'
    )
    assert document_of(STORE, lines[0]) == one


@pytest.mark.parametrize("line", [b"", b"{", b'{"fields":1}', b'{"name":1}', b'{"x":1}', b"\xff"])
def test_a_line_that_is_no_document_is_refused(line: bytes) -> None:
    """As a ValueError, of which a verification makes a fault."""
    with pytest.raises(ValueError):  # noqa: PT011 - of json, of protobuf or of UTF-8
        document_of(STORE, line)


def test_a_file_with_another_number_of_lines_is_damaged() -> None:
    """Its checksum may be right: then the record was changed."""
    data = gzip.compress(b"{}\n{}\n")
    file = File("f", 3, len(data), hashlib.sha256(data).hexdigest())
    with pytest.raises(ArchiveError, match="f: the file holds 2 entries, the page's record says 3"):
        unpacked(file, data)
    assert unpacked(File("f", 2, file.size, file.sha256), data) == [b"{}", b"{}"]
