"""Two exports at once into one folder: what the manifest names is there."""

from pathlib import Path

import pytest

from shared.exports.folder import Folder
from tests.support.exporting import rows, snapshot, world


@pytest.mark.parametrize("moment", ["published half", "published"])
def test_an_export_that_ends_meanwhile_is_not_pruned(tmp_path: Path, moment: str) -> None:
    """Two at once, of which one keeps a single snapshot: what the manifest names is there to the last file.

    The older one is about to publish when the newer one prunes; or it publishes just before that.
    """
    made = world()
    older, first = Folder(str(tmp_path), "jsonl"), snapshot(made)
    made.later(minutes=1)
    newer, second = Folder(str(tmp_path), "jsonl", keep=1), snapshot(made)

    def step(name: str) -> None:
        if name == moment == "published half":
            newer.save(second)
        elif name == moment:
            older.save(first)

    if moment == "published half":
        first.step = step
        older.save(first)
    else:
        second.step = step
        newer.save(second)
    manifest = older.manifest("libra", "totals")
    assert manifest
    assert manifest.snapshot == first.name
    assert rows(older, manifest)
