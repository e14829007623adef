"""Files over SFTP into PostgreSQL: the newest, whole, from the pinned server; else nothing changes."""

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import asyncssh
import pytest

from local.sftp import PASSWORD, SftpServer
from services.ingestion import files, parts
from services.ingestion.books import Books
from services.ingestion.errors import PartError
from services.ingestion.files import Format
from services.ingestion.jobs import Jobs
from services.ingestion.placing import merge_file
from services.ingestion.requests import Part
from services.ingestion.rows import Tally
from tests.support.ingesting import rows
from tests.support.user_files import BAD_QUOTE, GOOD, HEAD, Source, held, run, users, write


def test_the_newest_file_is_merged_and_what_left_is_marked(books: Books, sftp: SftpServer) -> None:
    """By the date in its name. A second pick-up does nothing. Whoever comes back is no longer marked."""
    source = Source(books, sftp)
    write(sftp, "users_2026-01-01.csv", users(99))
    write(sftp, "users_20260102.csv", "\ufeff" + users(50))
    write(sftp, "users_20260231.csv", users(1))
    (sftp.folder / os.fsdecode(b"Gr\xf6sse.csv")).write_text("a name that is not UTF-8")
    assert run(books, source).records == {"users": {"rows": 50, "loaded": 50, "rejected": 0, "parts": 1}}
    assert held(books) == {f"u{it}": None for it in range(50)}
    found = rows(books, "acme", "SELECT email, created_on, other FROM ingest_user WHERE user_id = 'u7'")
    assert found == [("u7@shop.example", date(2026, 1, 1), {"plan": "free"})]
    again = run(books, source)
    assert (again.state, again.records["users"]["rows"]) == ("completed", 0)
    assert Jobs(books).parts("acme", again.job_id)[0]["state"] == "same"
    write(sftp, "users_2026-01-03.csv", users(52, start=2))
    run(books, source)
    assert held(books) == {f"u{it}": None if it >= 2 else date(2026, 1, 3) for it in range(52)}
    write(sftp, "users_2026-01-04.csv", users(52))
    run(books, source)
    assert set(held(books).values()) == {None}


@pytest.mark.parametrize(
    ("text", "encoding", "code"),
    [
        (GOOD[:-20], "utf-8", "truncated"),
        (users(100), "utf-8", "too_many_left"),
        (GOOD.replace("location_id", "place"), "utf-8", "wrong_columns"),
        (GOOD.replace("plan", "name"), "utf-8", "wrong_columns"),
        ("", "utf-8", "empty"),
        (HEAD, "utf-8", "empty"),
        (GOOD.replace("Name", "Zoë"), "latin-1", "too_many_rejected"),
        (
            GOOD.replace("u1,", "u0,").replace("u2,", "u0,").replace("u3,", "u0,"),
            "utf-8",
            "too_many_rejected",
        ),
        (GOOD.replace("2026-01-01", "01.01.2026"), "utf-8", "too_many_rejected"),
    ],
)
def test_a_file_that_is_not_right_changes_nothing(
    books: Books, sftp: SftpServer, text: str, encoding: str, code: str
) -> None:
    """The job says what is wrong with it, and the users stay as they were."""
    write(sftp, "users_2026-01-01.csv", GOOD)
    assert run(books, Source(books, sftp)).state == "completed"
    before = held(books)
    write(sftp, "users_2026-01-02.csv", text, encoding)
    ended = run(books, Source(books, sftp))
    assert (ended.state, ended.error_code) == ("failed", code), ended.error_message
    assert "users_2026-01-02.csv" in str(ended.error_message)
    assert held(books) == before
    assert rows(books, "acme", "SELECT count(*) FROM ingest_book") == [(1,)]


def test_a_quote_too_many_takes_no_other_row_with_it(books: Books, sftp: SftpServer) -> None:
    """Two bad rows of 200, by their lines; a name with quotes and a line break is read."""
    text = BAD_QUOTE.replace("Name 11,", '"A ""B""\nC, D",')
    write(sftp, "users_2026-01-01.csv", text)
    assert run(books, Source(books, sftp)).records["users"] == {
        "rows": 200,
        "loaded": 198,
        "rejected": 2,
        "parts": 1,
    }
    found = rows(books, "acme", "SELECT line, reason, raw FROM ingest_rejected ORDER BY line")
    assert [(line, raw[:3]) for line, _, raw in found] == [(9, "u7,"), (11, "u9,")]
    assert rows(books, "acme", "SELECT name FROM ingest_user WHERE user_id = 'u11'") == [('A "B"\nC, D',)]


def test_latin_1_is_read_where_it_is_declared(books: Books, sftp: SftpServer) -> None:
    """Also another delimiter, and other names of columns."""
    text = GOOD.replace("Name", "Zoë").replace(",", ";").replace("user_id", "Kunde")
    write(sftp, "users_2026-01-01.csv", text, "latin-1")
    form = Format("latin-1", ";", {"user_id": "Kunde"})
    assert run(books, Source(books, sftp, form)).state == "completed"
    assert rows(books, "acme", "SELECT name FROM ingest_user WHERE user_id = 'u3'") == [("Zoë 3",)]


def test_a_file_that_is_being_written_is_not_taken(books: Books, sftp: SftpServer) -> None:
    """It grows between the two looks."""
    path = write(sftp, "users_2026-01-01.csv", GOOD)
    looked = threading.Event()

    def grow() -> None:
        while not looked.wait(0.005):
            with path.open("a") as file:
                file.write("u,,,,,\n")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        source = Source(books, sftp)
        source.files._settle = 0.1
        with pytest.raises(PartError, match="is being written") as found:
            source.open(Part("users", None))
    finally:
        looked.set()
        writer.join(60)
    assert found.value.code == "uploading"


def _no_rights(sftp: SftpServer) -> dict[str, Any]:
    sftp.stalled = True
    return {"stall": 0.3}


def _cut(sftp: SftpServer) -> dict[str, Any]:
    sftp.cut = True
    return {}


def _of_the_future(sftp: SftpServer) -> dict[str, Any]:
    write(sftp, "users_2026-01-07.csv", GOOD)
    return {}


def _other_key(_: SftpServer) -> dict[str, Any]:
    return {"host_key": asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()}


@pytest.mark.parametrize(
    ("broken", "code", "advice"),
    [
        (_no_rights, "slow", "start again later"),
        (_cut, "cut", "start again"),
        (_other_key, "host_key", "another host key than the pinned one"),
        (lambda _: {"host_key": "ssh-dss"}, "host_key", "allowed is one such as"),
        (lambda _: {"password": "wrong"}, "credentials", "rotate the tenant's secret"),
        (
            lambda _: {"password": "-----BEGIN OPENSSH PRIVATE KEY-----\nx"},
            "credentials",
            "rotate the secret",
        ),
        (_of_the_future, "future_file", "users_2026-01-07.csv on sftp://"),
        (lambda _: {"folder": "nowhere"}, "missing_folder", "mend the tenant's folder"),
        (lambda _: {"port": 1}, "network", "look at its address"),
        (lambda it: [each.unlink() for each in it.folder.iterdir()] and {}, "missing_file", "have it sent"),
    ],
)
def test_a_server_that_fails_has_a_code_and_says_what_to_do(
    books: Books, sftp: SftpServer, broken: Callable[[SftpServer], dict[str, Any]], code: str, advice: str
) -> None:
    """The secret is in no message."""
    write(sftp, "users_2026-01-01.csv", GOOD)
    changed = broken(sftp)
    with pytest.raises(PartError) as found:
        Source(books, sftp, **changed).open(Part("users", None))
    assert found.value.code == code, found.value
    assert advice in str(found.value)
    assert PASSWORD not in f"{found.value!r} {found.value.__cause__!r}"
    assert os.fspath(sftp.folder) not in str(found.value)


def test_a_merge_compares_no_row_with_every_row(books: Books) -> None:
    """However little memory there is: a plain subplan would compare a million users a million times."""
    target, plans = files.target("users"), list[str]()

    class Explained:
        def __init__(self, cursor: Any) -> None:
            self.cursor = cursor

        def execute(self, statement: Any, values: Any) -> None:
            plans.extend(line for (line,) in self.cursor.execute(f"EXPLAIN {statement}", values))
            assert not [line for line in plans if "SubPlan" in line], plans
            self.cursor.execute(statement, values)

        def fetchone(self) -> Any:
            return self.cursor.fetchone()

    def merge(cursor: Any) -> None:
        cursor.execute("SET LOCAL work_mem = '64kB'")
        cursor.execute(parts._staging(target))
        cursor.execute(
            "INSERT INTO staged (user_id, other, line, raw)"
            " SELECT 'u' || it, '{}', it, '' FROM generate_series(1, 5000) AS it"
        )
        reading: Any = type("File", (), {"source": "users.csv", "day": date(2026, 1, 1)})
        merge_file(Explained(cursor), "acme", target, reading, Tally(target, 5_000), most=Decimal(1))  # type: ignore[arg-type]

    books.of("acme", merge)
    assert len(plans) > 8


def test_a_row_that_is_as_it_was_is_not_written_again(books: Books, sftp: SftpServer) -> None:
    """A nightly file of a million users changes a few of them; the others keep the day they came with."""

    def written() -> dict[str, tuple[str, date]]:
        found = rows(books, "acme", "SELECT user_id, xmin::text, file_day FROM ingest_user")
        return {user: (by, day) for user, by, day in found}

    write(sftp, "users_2026-01-01.csv", users(9))
    run(books, Source(books, sftp))
    before = written()
    write(sftp, "users_2026-01-02.csv", users(10).replace("Name 3,", "Other,").replace("u7,", "v7,"))
    assert run(books, Source(books, sftp)).records["users"]["loaded"] == 10
    after = written()
    assert {user for user in after if after[user] != before.get(user)} == {"u3", "u7", "v7", "u9"}
    assert {after[user][1] for user in ("u3", "v7", "u9")} == {date(2026, 1, 2)}
    write(sftp, "users_2026-01-03.csv", users(10).replace("Name 3,", "Other,"))
    run(books, Source(books, sftp))
    back = written()
    assert {user for user in back if back[user] != after[user]} == {"u7", "v7"}
    assert held(books) == {f"u{it}": None for it in range(10)} | {"v7": date(2026, 1, 3)}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("count", [3, 30_000])
def test_a_full_disk_is_told_as_such(
    books: Books, sftp: SftpServer, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A small file's bytes are in memory until its end. Nothing changes."""
    write(sftp, "users_2026-01-01.csv", users(count))
    full = partial(open, "/dev/full", "w+b", buffering=1 << 16)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    ended = run(books, Source(books, sftp))
    assert (ended.error_code, held(books)) == ("disk_full", {})
    assert "users_2026-01-01.csv has " in str(ended.error_message)
    assert "No space left on device" in str(ended.error_message)


def test_a_disk_on_which_no_copy_can_be_begun_is_told_as_such(
    books: Books, sftp: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python looks for a folder that takes a byte first, and finds none where the disk is full already."""

    def full() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    write(sftp, "users_2026-01-01.csv", users(3))
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    ended = run(books, Source(books, sftp))
    assert (ended.error_code, held(books)) == ("disk_full", {})
    assert "No usable temporary directory found in ['/tmp']" in str(ended.error_message)
