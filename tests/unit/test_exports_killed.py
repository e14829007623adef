"""Exports to a folder that are killed at every step: a reader finds a whole snapshot, or none."""

from pathlib import Path

from shared.catalog import libra
from shared.exports.folder import MANIFEST, Folder
from shared.exports.manifest import Manifest, unpacked
from shared.settings import Settings
from tests.support.exporting import rows
from tests.support.polling import check, poll


def whole(target: Folder, manifest: Manifest) -> str:
    """The snapshot's name, once every file of it was read and is what the manifest says."""
    found = rows(target, manifest)
    assert list(found) == [each.name for each in libra(Settings()).aggregations]
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

    checked: set[Path] = set()

    def look() -> str | None:
        for path in set(place.glob(f"*/{MANIFEST}")) - checked:
            assert whole(target, unpacked(path.read_text("utf-8"), str(path))) == path.parent.name
            checked.add(path)
        manifest = target.manifest("libra", "totals")
        return whole(target, manifest) if manifest else None

    check(poll(str(place), {}, look))
    look()
    assert {each.parent for each in checked} == {each for each in place.iterdir() if each.is_dir()}
    assert {each.name for each in place.iterdir() if each.is_file()} == {"libra-totals.json"}
