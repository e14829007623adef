"""Law *retain* on the real emulator, with triggers running and archives that are killed."""

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.archive import STEPS, Archive, ArchiveReport, Folder, Verification
from shared.archive.files import document_of, line_of
from shared.errors import LeaseHeld
from shared.ledger import Ledger
from shared.recompute import Recompute, Report, under_way
from shared.store import Create, GeoPoint, Merge, Query, Reference
from tests.emulator import killed_archive
from tests.support.forked import forked
from tests.support.kitchen import SERVED, Kitchen
from tests.support.recomputing import next_second, totals

ROOT = Path(__file__).parents[2]
CATEGORY = "aggregates_categories/Kettle Chips"
ENTRIES = 2_000


def recompute(kitchen: Kitchen) -> Recompute:
    """A recompute of the kitchen."""
    return Recompute(kitchen.store, kitchen.source, kitchen.home, kitchen.settings, workers=2)


def archive(kitchen: Kitchen, folder: Path, **options: object) -> Archive:
    """An archive of the kitchen."""
    return Archive(kitchen.store, kitchen.source, kitchen.home, Folder(str(folder)), **options)  # type: ignore[arg-type]  # as named


def proven(kitchen: Kitchen) -> Report:
    """Wait until a watermark can be behind everything committed so far, and run."""
    next_second()
    return recompute(kitchen).run("scan")


def shown(kitchen: Kitchen) -> dict[str, object]:
    """What a reader sees: the count of every total."""
    found = totals(kitchen.store, kitchen.source)
    return {path: total.fields["count"] for path, total in found.items() if total.fields.get("count")}


def retained(kitchen: Kitchen) -> None:
    """Law *retain*, now: files, records and totals agree, and no total drifts."""
    found = Verification(kitchen.store, kitchen.source, kitchen.home).run()
    assert (found.faults, found.wrong) == (0, [])
    assert recompute(kitchen).verify("scan").drift == 0


def fill(kitchen: Kitchen, entries: int) -> None:
    """Write entries, which no trigger counts: the next run does."""
    for begin in range(0, entries, 500):
        kitchen.store.commit(
            [
                Create(f"libra/{number:06}", SERVED | {"ingredient": f"i{number % 7}"})
                for number in range(begin, min(begin + 500, entries))
            ],
            timeout=60,
        )


def test_law_retain_while_triggers_run(quick: Kitchen, tmp_path: Path) -> None:
    """Thousands of entries leave page by page; between any two pages, and after, every total is right."""
    fill(quick, ENTRIES)
    proven(quick)
    begun, stop = datetime.now(UTC), threading.Event()
    ledger = Ledger(quick.store, quick.source, quick.home, quick.settings)
    served: list[str] = []
    between = threading.Lock()  # a dry run calls an entry that is written and not applied yet drift

    def serve() -> None:
        while not stop.is_set():
            with between:
                ledger.apply(quick.write(f"new{len(served)}", timestamp=begun + timedelta(days=1)))
                served.append(CATEGORY)

    def check(step: str) -> None:
        if step in {"file verified", "page committed"}:
            with between:
                retained(quick)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        report = archive(quick, tmp_path, step=check).run(begun)
    finally:
        stop.set()
        thread.join()
    assert (report.moved.entries, report.moved.pages, report.moved.changed) == (ENTRIES, 4, 0)
    assert quick.store.count(Query("libra")) == len(served) > 0
    retained(quick)
    assert proven(quick).drift == 0
    assert shown(quick)[CATEGORY] == len(served)
    assert shown(quick)["aggregates_actions/Served"] == ENTRIES + len(served)


@pytest.mark.parametrize("step", STEPS)
def test_law_retain_survives_kill_9_at_every_step(quick: Kitchen, tmp_path: Path, step: str) -> None:
    """The law holds as soon as the archive is dead, and the next one moves the rest."""
    fill(quick, 5)
    proven(quick)
    before = shown(quick)
    assert _killed_at(quick, tmp_path, step) == -9
    retained(quick)
    _archive_when_free(quick, tmp_path)
    assert quick.store.count(Query("libra")) == 0
    retained(quick)
    runs = quick.documents(quick.home.runs)
    assert not any(under_way(run) for run in runs)
    assert proven(quick).drift == 0
    assert shown(quick) == before


def _killed_at(kitchen: Kitchen, folder: Path, step: str) -> int | None:
    where = (kitchen.settings.project, kitchen.settings.emulator_host, str(folder))
    return forked(killed_archive.main, *where, step, 1, seconds=60).status


def _archive_when_free(kitchen: Kitchen, folder: Path, seconds: float = 60) -> ArchiveReport:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return archive(kitchen, folder).run(datetime.now(UTC))
        except LeaseHeld:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def spelled(value: object) -> str:
    """Text that tells 1, 1.0 and True apart, whatever the order in which Firestore sends a map's fields."""
    if isinstance(value, Mapping):
        return repr(sorted((name, spelled(it)) for name, it in value.items()))
    return repr([spelled(it) for it in value]) if isinstance(value, list) else repr(value)


def test_an_entry_of_any_type_comes_back_as_it_was(quick: Kitchen, tmp_path: Path) -> None:
    """From the file, through the line, to the document: every type of Firestore's, and odd keys."""
    odd: dict[str, object] = SERVED | {
        "nothing": None,
        "whole": -(2**63),
        "amount": 0.1,
        "huge": 1e308,
        "zero": -0.0,
        "nan": float("nan"),
        "infinite": float("-inf"),
        "bytes": b"\x00\xff",
        "reference": Reference(quick.store.name("libra/other")),
        "place": GeoPoint(47.4, -8.5),
        "list": [1, 1.0, True, "1", {"a": []}],
        "ingredient": 'Mac/Cheese\n\r\u2028"\U0001f9c0',
        "`odd` field.": {"ä": 1},
        "early": datetime(1, 1, 1, tzinfo=UTC),
        "late": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    }
    quick.store.commit([Create("libra/odd", odd)], timeout=10)
    quick.store.commit([Merge("libra/odd", {("edited",): True})], timeout=10)
    (before,) = quick.store.get(["libra/odd"])
    assert before
    proven(quick)
    archive(quick, tmp_path).run(datetime.now(UTC))
    (record,) = quick.store.query(Query(quick.home.archives))
    lines = _lines(tmp_path / str(record.fields["file"]))
    (after,) = (document_of(quick.store, line) for line in lines)
    assert spelled(after.fields) == spelled(before.fields)
    assert (after.create_time, after.update_time) == (before.create_time, before.update_time)
    assert line_of(quick.store, after) == lines[0] + b"\n"
    retained(quick)


def test_the_recipe_of_the_docs_restores_into_another_collection(quick: Kitchen, tmp_path: Path) -> None:
    """Every entry, with its id and its fields."""
    fill(quick, 600)
    proven(quick)
    before = {each.path.rpartition("/")[2]: each.fields for each in quick.store.query(Query("libra"))}
    archive(quick, tmp_path / "archive").run(datetime.now(UTC))
    page = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    recipe = page.partition("```python\n")[2].partition("```")[0]
    assert quick.settings.project
    assert quick.settings.emulator_host
    environment = {"GOOGLE_CLOUD_PROJECT": quick.settings.project, "PYTHONPATH": str(ROOT)}
    environment |= {"FIRESTORE_EMULATOR_HOST": quick.settings.emulator_host}
    subprocess.run(
        [sys.executable, "-c", recipe], cwd=tmp_path, env=os.environ | environment, check=True, timeout=60
    )
    restored = {
        each.path.rpartition("/")[2]: each.fields for each in quick.store.query(Query("libra_archived"))
    }
    assert restored == before


def _lines(file: Path) -> list[bytes]:
    return gzip.decompress(file.read_bytes()).split(b"\n")[:-1]
