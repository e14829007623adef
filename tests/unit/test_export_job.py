"""The nightly job: its environment, what it does where one snapshot fails, and what it logs."""

import io
import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from services.export import __main__ as job
from services.export.settings import ExportSettings, Wanted
from shared import log
from shared.errors import ExportError, LibraError, SettingError
from shared.exports import opened
from shared.settings import Settings
from tests.support.exporting import world

ENVIRONMENT = {"GOOGLE_CLOUD_PROJECT": "demo-export", "LIBRA_EXPORT": "postgres:books"}


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What Libra writes to standard output."""
    handlers, level, propagate = log.logger.handlers[:], log.logger.level, log.logger.propagate
    stream = io.StringIO()
    log.configure("INFO", stream)
    yield stream
    log.logger.handlers[:], log.logger.propagate = handlers, propagate
    log.logger.setLevel(level)


def test_it_exports_the_totals_of_libra_unless_it_is_told() -> None:
    """Each snapshot once, in the order in which it is named."""
    assert ExportSettings.from_environment(ENVIRONMENT).wanted == (Wanted("libra", "totals"),)
    told = ENVIRONMENT | {"LIBRA_EXPORT_WHAT": "user_events-entries, libra-totals,user_events-entries"}
    found = ExportSettings.from_environment(told)
    assert found.wanted == (Wanted("user_events", "entries"), Wanted("libra", "totals"))
    assert (found.place, found.books.project) == ("postgres:books", "demo-export")
    assert ExportSettings.from_environment(told | {"LIBRA_EXPORT": "gs://b/books"}).place == "gs://b/books"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"LIBRA_EXPORT": ""},
            "LIBRA_EXPORT='': bigquery:DATASET, gs://BUCKET[/FOLDER], postgres or postgres:SCHEMA",
        ),
        ({"LIBRA_EXPORT": "/tmp/books"}, "LIBRA_EXPORT='/tmp/books'"),  # noqa: S108 - a container's disk
        ({"LIBRA_EXPORT": "gs:/b/books"}, "LIBRA_EXPORT='gs:/b/books'"),
        ({"LIBRA_EXPORT_WHAT": "libra"}, "LIBRA_EXPORT_WHAT='libra': of libra-totals, libra-entries, "),
        ({"LIBRA_EXPORT_WHAT": "libra-totals,"}, "LIBRA_EXPORT_WHAT=''"),
    ],
)
def test_a_wrong_setting_stops_the_start(given: dict[str, str], says: str) -> None:
    """The message names the variable, what was found and what is allowed. Files would go with the disk."""
    with pytest.raises(SettingError) as caught:
        ExportSettings.from_environment(ENVIRONMENT | given)
    assert says in str(caught.value)


@pytest.mark.parametrize("place", ["gs:books", "gs:/books/daily", "s3://books"])
def test_a_mistyped_bucket_is_no_folder(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be written to this machine's disk, and nobody would look for it there."""
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(ExportError, match=r"is no place for an export: .*gs://BUCKET"),
        opened(place, {}, None),
    ):
        pass
    with opened(f"./{place.replace('//', '/')}", {}, None) as target:
        assert target.place == str(tmp_path / place.replace("//", "/"))


def test_a_snapshot_that_fails_is_told_and_the_next_one_is_made(tmp_path: Path, logged: io.StringIO) -> None:
    """No run has completed over user events: that snapshot is not there, and the totals of `libra` are."""
    made = world(odd=False)
    with opened(str(tmp_path / "books"), {}, None, form="jsonl") as target:
        assert not job.exported(made.store, Settings(), target, Wanted("user_events", "totals"))
        assert job.exported(made.store, Settings(), target, Wanted("libra", "totals"))
        manifest = target.manifest("libra", "totals")
        assert target.manifest("user_events", "totals") is None
    assert manifest
    failed, complete = map(json.loads, logged.getvalue().splitlines()[-2:])
    assert (failed["severity"], failed["message"]) == ("ERROR", "An export failed")
    assert (failed["source"], failed["what"], failed["to"]) == ("user_events", "totals", target.place)
    assert failed["error"] == ExportError.__name__
    assert "recompute" in failed["reason"]
    assert (complete["severity"], complete["message"]) == ("INFO", "An export is complete")
    assert complete["snapshot"] == manifest.snapshot
    assert complete["rows"] == sum(it.rows for it in manifest.tables)
    assert complete["watermark"] == manifest.watermark.isoformat()


def run(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> int:
    """The exit status of the job in this environment, with a Firestore that nothing is asked of."""
    for name in ("LIBRA_EXPORT", "LIBRA_EXPORT_WHAT", "LIBRA_POSTGRES_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"FIRESTORE_EMULATOR_HOST": "127.0.0.1:9"} | ENVIRONMENT | given).items():
        monkeypatch.setenv(name, value)
    return job.main()


def test_the_exit_status_says_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 for a setting that cannot be used, 1 for a place that does not answer."""
    assert run(monkeypatch, {"LIBRA_EXPORT": "off"}) == 2
    assert "LIBRA_EXPORT='off'" in capsys.readouterr().out
    assert run(monkeypatch, {"LIBRA_POSTGRES_URL": "mysql://x"}) == 2
    assert "LIBRA_POSTGRES_URL" in capsys.readouterr().out

    def refused(*_: object, **__: object) -> None:
        raise LibraError("the place does not answer")

    monkeypatch.setattr(job, "opened", refused)
    assert run(monkeypatch, {}) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["message"], json.loads(line)["reason"]) == (
        "An export failed",
        "the place does not answer",
    )


@pytest.mark.parametrize(("done", "status"), [((True, True), 0), ((False, True), 1), ((True, False), 1)])
def test_one_snapshot_that_fails_fails_the_night(
    monkeypatch: pytest.MonkeyPatch, done: tuple[bool, ...], status: int
) -> None:
    """Each is tried, whatever became of the one before; the platform tries the job again."""
    answers = iter(done)
    monkeypatch.setattr(job, "opened", lambda *_: nullcontext())
    monkeypatch.setattr(job, "exported", lambda *_: next(answers))
    assert run(monkeypatch, {"LIBRA_EXPORT_WHAT": "libra-totals,libra-entries"}) == status
    assert list(answers) == []
