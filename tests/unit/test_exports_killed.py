"""Exports to a folder that are killed at every step: a reader finds a whole snapshot, or none."""

import json
from pathlib import Path

from shared.exports.folder import MANIFEST, Folder
from shared.exports.manifest import Manifest
from tests.support.exporting import rows
from tests.support.polling import check, poll


def whole(target: Folder, manifest: Manifest) -> str:
    """The snapshot's name, once every file of it was read and is what the manifest says."""
    found = rows(target, manifest)
    for held in manifest.tables:
        number = held.table.names.index("count")
        counts = [row[number] for row in found[held.table.name]]
        assert (len(counts), sum(it for it in counts if isinstance(it, int))) == (
            held.rows,
            held.sums["count"],
        )
    return manifest.snapshot


def test_a_reader_never_finds_half_a_snapshot(tmp_path: Path) -> None:
    """Killed at each step, in the first table and the second, and run again; leftovers are swept."""
    place = tmp_path / "exports"
    place.mkdir()
    target = Folder(str(place), "jsonl")

    def look() -> str | None:
        manifest = target.manifest("libra", "totals")
        return whole(target, manifest) if manifest else None

    check(poll(str(place), {}, look))
    complete = [each for each in place.iterdir() if each.is_dir()]
    assert all((each / MANIFEST).exists() for each in complete)
    named = [json.loads((each / MANIFEST).read_text("utf-8"))["snapshot"] for each in complete]
    assert sorted(named) == sorted(each.name for each in complete)
    assert {each.name for each in place.iterdir() if each.is_file()} == {"libra-totals.json"}
