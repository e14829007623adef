"""Workers of ingestion that stall, die, are cancelled or take too long: one writes, and no part is half."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from local.process import wait_until
from local.sftp import SftpServer
from services.ingestion import parts
from services.ingestion.books import Books
from services.ingestion.errors import Fenced, PartError
from services.ingestion.jobs import Jobs
from services.ingestion.leases import MOST_ATTEMPTS, Lease, claim
from services.ingestion.requests import Part, Request
from services.ingestion.worker import Worker
from tests.support.ingesting import DAY, LONG, PAST, Shelf, expire, held, rows, week, worker
from tests.support.user_files import Source, named, users, write


def claimed(books: Books) -> Lease:
    """A job of two days, claimed."""
    request, _ = week(days=2)
    Jobs(books).start("acme", request)
    lease = claim(books, "one", LONG)
    assert lease
    return lease


def test_of_two_workers_that_believe_they_hold_a_job_one_writes(books: Books) -> None:
    """The first stalls after it has staged everything; the second takes over; neither doubles a row."""
    first = claimed(books)
    assert claim(books, "two", LONG) is None
    _, source = week(days=2)
    took: list[Lease] = []

    def stall() -> None:
        expire(books)
        lease = claim(books, "two", LONG)
        assert lease
        took.append(lease)
        for part in lease.waiting():
            parts.load(lease, part, Shelf(source))

    part = Part("page_view", DAY)
    stalled = Shelf({part: [1, 2]}, size=10, between=stall)
    with pytest.raises(Fenced, match="attempt 1 is over"):
        parts.load(first, part, stalled)
    with pytest.raises(Fenced):
        first.end("completed")
    with pytest.raises(Fenced):
        parts.fail(first, part, PartError("x", "y"))
    took[0].end("completed")
    assert held(books, "acme") == {it.day: numbers for it, numbers in source.items()}
    assert rows(books, "acme", "SELECT DISTINCT attempt FROM ingest_book") == [(2,)]


def test_a_claim_waits_for_a_worker_that_commits(books: Books) -> None:
    """The fence and the claim change one row: between the check and the commit nobody takes the job."""
    first = claimed(books)

    def late(cursor: object) -> None:
        first.fence(cursor, {})  # type: ignore[arg-type]
        expire_elsewhere = threading.Thread(target=lambda: seen.append(claim(books, "two", LONG)))
        expire_elsewhere.start()
        expire_elsewhere.join(60)

    books.of_all(lambda it: it.execute(PAST))
    seen: list[Lease | None] = []
    books.of("acme", late)
    assert seen == [None]
    assert claim(books, "two", LONG)


def test_a_cancelled_job_ends_at_its_next_batch(books: Books) -> None:
    """What was loaded stays, the part under way leaves nothing, and its parts are free."""
    request, source = week(days=3)
    job, _ = Jobs(books).start("acme", request)
    shelf = Shelf(source)
    shelf.between = lambda: len(shelf.opened) == 2 and Jobs(books).cancel("acme", job.job_id)  # type: ignore[assignment]
    assert worker(books, shelf).once()
    ended = Jobs(books).cancel("acme", job.job_id)
    assert (ended.state, ended.error_code) == ("cancelled", None)
    assert held(books, "acme") == {DAY: source[Part("page_view", DAY)]}
    assert len(shelf.opened) == 2
    Jobs(books).start("acme", request)


def test_a_job_that_takes_too_long_fails_with_timeout(books: Books) -> None:
    """Its worker learns it at the next batch; where there is no worker, the next claim ends it."""
    request, source = week(days=2)
    ago = "UPDATE ingest_job SET started_at = now() - interval '31 minutes' WHERE state = 'processing'"
    shelf = Shelf(source, between=lambda: books.of_all(lambda it: it.execute(ago)))  # type: ignore[arg-type]
    job, _ = Jobs(books).start("acme", request)
    assert worker(books, shelf).once()
    ended = Jobs(books).find("acme", job.job_id)
    assert (ended.state, ended.error_code) == ("failed", "timeout")
    assert "longer than 0:30:00" in str(ended.error_message)
    lost = claimed(books)
    books.of_all(lambda it: it.execute(ago))
    assert claim(books, "two", LONG) is None
    ended = Jobs(books).find("acme", str(lost.job_id))
    assert (ended.state, ended.error_code) == ("failed", "timeout")
    assert held(books, "acme") == {}
    Jobs(books).start("acme", request)


def test_a_job_that_kills_its_workers_is_given_up(books: Books) -> None:
    """And one that was cancelled while its worker was dead is cancelled."""
    lease = claimed(books)
    for _ in range(MOST_ATTEMPTS - 1):
        expire(books)
        assert claim(books, "again", LONG)
    expire(books)
    assert claim(books, "again", LONG) is None
    ended = Jobs(books).find("acme", str(lease.job_id))
    assert (ended.state, ended.error_code, ended.attempt) == ("failed", "attempts", MOST_ATTEMPTS)
    second = claimed(books)
    Jobs(books).cancel("acme", str(second.job_id))
    expire(books)
    assert claim(books, "again", LONG) is None
    assert Jobs(books).find("acme", str(second.job_id)).state == "cancelled"


def test_a_worker_that_stops_lets_another_go_on_at_once(books: Books) -> None:
    """SIGTERM: the part under way is finished or not begun, the rest is the next worker's."""
    request, source = week(days=3)
    job, _ = Jobs(books).start("acme", request)
    shelf = Shelf(source)
    leaving = worker(books, shelf)
    shelf.between = leaving.stop
    leaving.run()
    assert list(held(books, "acme")) == [DAY]
    shelf.between = lambda: None
    worker(books, shelf).run(until_idle=True)
    assert Jobs(books).find("acme", job.job_id).attempt == 2
    assert held(books, "acme") == {it.day: numbers for it, numbers in source.items()}
    assert len(shelf.opened) == 3


def test_a_worker_that_was_told_to_stop_uses_up_no_attempt(books: Books) -> None:
    """Ten deploys while a job is worked on: it is not given up, also where the platform does not wait until
    the part under way is loaded. Of workers that ended untold, five are enough."""
    job = claimed(books).job_id
    for number in range(10):
        expire(books)
        lease = claim(books, "told", LONG)
        assert lease, number
        lease.release() if number % 2 else lease.beat(leaving=True)
    for _ in range(MOST_ATTEMPTS - 1):
        expire(books)
        assert claim(books, "untold", LONG)
    expire(books)
    assert claim(books, "more", LONG) is None
    ended = Jobs(books).find("acme", str(job))
    assert (ended.state, ended.error_code, ended.attempt) == ("failed", "attempts", 10 + MOST_ATTEMPTS)
    assert f"{MOST_ATTEMPTS} workers ended" in str(ended.error_message)


def test_a_worker_says_at_once_that_it_was_told_to_stop(books: Books) -> None:
    """While a part is under way, which may take longer than the platform waits."""
    request, source = week(days=1)
    Jobs(books).start("acme", request)
    shelf = Shelf(source)
    leaving = worker(books, shelf)

    def told() -> None:
        leaving.stop()
        wait_until(
            lambda: rows(books, "acme", "SELECT leaving FROM ingest_job") == [(True,)],
            seconds=60,
            what="the worker said that it leaves",
        )

    shelf.between = told
    leaving.run()
    assert held(books, "acme") == {it.day: numbers for it, numbers in source.items()}


def test_a_worker_killed_at_any_step_is_replaced_and_nothing_doubles(
    tables: tuple[str, Books], books: Books
) -> None:
    """SIGKILL before each statement, row and commit of a job: a day is as it was or as it is to be, never
    between, and the next worker loads what the books lack."""
    url, _ = tables
    before: dict[date, list[int]] = {}
    for number, exchanges in enumerate(killings(url)):
        request, source = week(days=2, rows=3, first=1_000 * number)
        after = {it.day: numbers for it, numbers in source.items() if it.day and isinstance(numbers, list)}
        job, _ = Jobs(books).start("acme", request)
        status = exchanges(1_000 * number)
        for day, found in held(books, "acme").items():
            assert found in (before.get(day), after[day]), number
        if status:
            assert status == -9
            expire(books)
            shelf = Shelf(source)
            done = Jobs(books).find("acme", job.job_id).records["page_view"]["parts"]
            worker(books, shelf).once()
            assert len(shelf.opened) == 2 - done, number
        ended = Jobs(books).find("acme", job.job_id)
        assert (ended.state, held(books, "acme")) == ("completed", after), number
        assert ended.records == {"page_view": {"rows": 6, "loaded": 6, "rejected": 0, "parts": 2}}
        before = after
    assert number > 50


def test_a_worker_killed_at_any_step_of_a_file_is_replaced_and_nothing_is_half(
    tables: tuple[str, Books], books: Books, sftp: SftpServer
) -> None:
    """SIGKILL before each statement, row and commit: users are as the file before left them or as this one
    does, with who left and who is new, and the next worker loads it once."""
    url, _ = tables
    before: dict[str, tuple[str, date | None]] = {}
    for number, exchanges in enumerate(killings(url, str(sftp.port), sftp.host_key)):
        day = date(2025, 1, 1) + timedelta(number)
        write(sftp, f"users_{day}.csv", users(number + 4, start=number).replace("Name", f"Name {number}:"))
        after: dict[str, tuple[str, date | None]] = {
            user: (name, left or day) for user, (name, left) in before.items()
        }
        after |= {f"u{user}": (f"Name {number}: {user}", None) for user in range(number, number + 4)}
        job, _ = Jobs(books).start("acme", Request(("users",), None, None))
        status = exchanges(0)
        assert named(books) in (before, after), number
        if status:
            assert status == -9
            expire(books)
            Worker(books, lambda _: Source(books, sftp), name="w").once()
        ended = Jobs(books).find("acme", job.job_id)
        assert (ended.state, named(books)) == ("completed", after), number
        assert ended.records == {"users": {"rows": 4, "loaded": 4, "rejected": 0, "parts": 1}}
        before = after
    assert number > 30


def killings(*places: str) -> Iterator[Callable[[int], int]]:
    """For each exchange of a job with the database: work that is killed before it. The last is not."""
    script, root = Path(__file__).with_name("ingest_worker.py"), Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, str(script), *places],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(root)},
    ) as process:
        assert process.stdin
        assert process.stdout
        status = -1

        def work(most: int, first: int) -> int:
            nonlocal status
            print(most, first, file=process.stdin, flush=True)
            status = int(process.stdout.readline().split()[0])  # type: ignore[union-attr]
            return status

        for most in itertools.count():
            yield partial(work, most)
            if not status:
                break
        process.stdin.close()


def test_a_commit_without_an_answer_counts_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each first commit of a part is applied and its answer lost: rows, rejected rows and counts are there
    once."""
    request, source = week(days=3)
    first, second, third = request.parts
    source |= {first: [*range(200), -1], second: PartError("odd", "it is odd")}
    del source[third]
    job, _ = Jobs(books).start("acme", request)
    commit, lost = psycopg.Connection.commit, set[str]()

    def lose(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        changed = connection.execute(
            "SELECT string_agg(concat(day, state), ',' ORDER BY day) FROM ingest_part"
            " WHERE state <> 'waiting'"
        ).fetchone()
        commit(connection)
        if changed and changed[0] and changed[0] not in lost:
            lost.add(str(changed[0]))
            raise psycopg.OperationalError("the connection went while the COMMIT was under way")

    monkeypatch.setattr(psycopg.Connection, "commit", lose)
    worker(books, Shelf(source)).once()
    monkeypatch.undo()
    assert len(lost) == 3
    counts = {"rows": 201, "loaded": 200, "rejected": 1, "parts": 3}
    assert Jobs(books).find("acme", job.job_id).records == {"page_view": counts}
    assert rows(books, "acme", "SELECT count(*) FROM ingest_rejected") == [(1,)]
    assert held(books, "acme") == {first.day: list(range(200))}
