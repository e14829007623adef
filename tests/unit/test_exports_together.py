"""Exports into one folder, at once and one after another: what the manifest names is there."""

from pathlib import Path

import pytest

from shared.exports import folder
from shared.exports.folder import Folder
from tests.support.exporting import advance, rows, snapshot, world


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


def test_an_old_snapshot_that_stays_is_no_failed_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers have the new one. The log says what stays, and the next export may remove it."""
    made = world(odd=False)
    old = Folder(str(tmp_path), "csv").save(snapshot(made)).snapshot
    advance(made)
    remove = folder._remove

    def refuse(snapshot: Path) -> None:
        raise PermissionError(f"{snapshot}: not yours")

    monkeypatch.setattr(folder, "_remove", refuse)
    target = Folder(str(tmp_path), "csv", keep=1)
    new = target.save(snapshot(made))
    assert target.manifest("libra", "totals") == new
    assert f"{old}: not yours" in caplog.text
    monkeypatch.setattr(folder, "_remove", remove)
    advance(made)
    target.save(snapshot(made))
    assert not (tmp_path / old).exists()
