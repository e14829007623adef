"""Jobs of ingestion on a real PostgreSQL: what is asked for, what is loaded, what is rejected."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from services.ingestion.books import Books
from services.ingestion.errors import JobOpen, KeyTaken, NoJob, PartError, Unavailable
from services.ingestion.jobs import Jobs
from services.ingestion.leases import Lease
from services.ingestion.requests import Part, Request, asked
from services.ingestion.rows import Target
from services.ingestion.settings import IngestionSettings
from services.ingestion.sources import TenantSources
from services.ingestion.tenants import Tenants
from services.ingestion.worker import Worker
from tests.support.ingesting import DAY, TARGET, Memory, Shelf, held, rows, week, worker

NO_DATABASE = {"LIBRA_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none"}
OF_JOBS = "SELECT job_id, count(*) FROM ingest_rejected GROUP BY 1"


def test_a_job_loads_its_parts_and_says_how_many_rows(books: Books) -> None:
    """By kind; the books hold each part, and rows of the source = loaded + rejected."""
    request, source = week(days=3)
    source[Part("page_view", DAY)] = [*range(200), -1]
    job, new = Jobs(books).start("acme", request)
    assert (new, job.state) == (True, "queued")
    shelf = Shelf(source)
    assert worker(books, shelf, parallel=3).once()
    ended = Jobs(books).find("acme", job.job_id)
    assert (ended.state, ended.attempt, ended.error_code) == ("completed", 1, None)
    assert ended.records == {"page_view": {"rows": 215, "loaded": 214, "rejected": 1, "parts": 3}}
    expected = {part.day: [it for it in source[part] if it >= 0] for part in request.parts}  # type: ignore[union-attr]
    assert held(books, "acme") == expected
    assert held(books, "other") == {}
    found = rows(
        books, "acme", "SELECT day, source_rows, loaded, rejected, sums FROM ingest_book ORDER BY day"
    )
    assert found[0] == (DAY, 201, 200, 1, {"event_timestamp": sum(range(200))})
    assert rows(books, "acme", "SELECT line, reason, raw FROM ingest_rejected") == [
        (201, "it is negative", "-1")
    ]
    assert not worker(books, shelf).once()


def test_rejected_rows_of_old_jobs_are_deleted_and_their_counts_stay(books: Books) -> None:
    """Of every tenant, also of one that has started no job since; those of a job that ended within the time
    stay."""
    request = Request(("page_view",), DAY, DAY)
    shelf = Shelf({Part("page_view", DAY): [*range(200), -1]})
    jobs = Jobs(books)
    old = jobs.start("acme", request)[0].job_id
    worker(books, shelf).once()
    jobs.start("other", request)
    worker(books, shelf).once()
    for tenant in ("acme", "other"):
        books.of(tenant, lambda it: it.execute("UPDATE ingest_job SET ended_at = now() - interval '91 days'"))
    recent = jobs.start("acme", request)[0].job_id
    worker(books, shelf).run(until_idle=True)
    assert [rows(books, tenant, OF_JOBS) for tenant in ("acme", "other")] == [[(UUID(recent), 1)], []]
    assert jobs.find("acme", old).records["page_view"]["rejected"] == 1
    assert rows(books, "acme", "SELECT source_rows, loaded, rejected FROM ingest_book") == [(201, 200, 1)]


def test_a_part_is_in_one_open_job(books: Books) -> None:
    """The second request learns the first one's id; another tenant, kind or day is none of its affair."""
    jobs = Jobs(books)
    first, _ = jobs.start("acme", Request(("page_view",), DAY, DAY))
    with pytest.raises(JobOpen, match=f"{first.job_id} works on page_view of 2026-01-05") as found:
        jobs.start("acme", Request(("page_view", "purchase"), DAY - timedelta(3), DAY))
    assert found.value.job_id == first.job_id
    assert len(jobs.history("acme", most=10)) == 1
    jobs.start("other", Request(("page_view",), DAY, DAY))
    jobs.start("acme", Request(("purchase",), DAY, DAY))
    users, _ = jobs.start("acme", Request(("users",), None, None))
    with pytest.raises(JobOpen, match="works on users"):
        jobs.start("acme", Request(("users",), None, None))
    assert jobs.cancel("acme", users.job_id).state == "cancelled"
    jobs.start("acme", Request(("users",), None, None))


def test_of_requests_at_once_one_is_met(books: Books) -> None:
    """Eight at once, in ranges that overlap: one job, and the others name it."""
    start = threading.Barrier(8)

    def ask(number: int) -> str:
        start.wait(60)
        try:
            request = Request(("page_view",), DAY - timedelta(number), DAY)
            return Jobs(books).start("acme", request)[0].job_id
        except JobOpen as error:
            return error.job_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_an_idempotency_key_is_one_job(books: Books) -> None:
    """Also at once, and after it ended; with another request it is refused."""
    jobs, request = Jobs(books), Request(("page_view",), DAY, DAY)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: jobs.start("acme", request, key="k"), range(4)))
    assert len({job.job_id for job, _ in found}) == 1
    assert [new for _, new in found].count(True) == 1
    jobs.cancel("acme", found[0][0].job_id)
    assert jobs.start("acme", request, key="k")[1] is False
    with pytest.raises(KeyTaken, match="send another key"):
        jobs.start("acme", Request(("purchase",), DAY, DAY), key="k")
    assert jobs.start("other", request, key="k")[1] is True


def test_an_idempotency_key_holds_over_midnight(books: Books) -> None:
    """A request that names no day is the same one tomorrow, and gets today's job. Naming its days is
    another."""
    jobs = Jobs(books)

    def ask(today: date, first: date | None = None, last: date | None = None) -> Request:
        return asked(["page_view"], first, last, today)

    job, _ = jobs.start("acme", ask(DAY), key="k")
    again, new = jobs.start("acme", ask(DAY + timedelta(1)), key="k")
    assert (again.job_id, again.last, new) == (job.job_id, DAY, False)
    with pytest.raises(KeyTaken, match="send another key"):
        jobs.start("acme", ask(DAY, job.first, job.last), key="k")
    since, _ = jobs.start("other", ask(DAY, DAY), key="k")
    assert jobs.start("other", ask(DAY + timedelta(2), DAY), key="k")[0].job_id == since.job_id
    with pytest.raises(KeyTaken):
        jobs.start("other", ask(DAY, DAY - timedelta(1)), key="k")
    books.of("acme", lambda it: it.execute("UPDATE ingest_job SET asked = NULL"))
    assert jobs.start("acme", ask(DAY), key="k")[0].job_id == job.job_id, "of a job from before migration 6"


def test_what_is_not_a_job_or_another_tenants_is_the_same(books: Books) -> None:
    """Nobody learns from the answer that another tenant's job is there."""
    job, _ = Jobs(books).start("acme", Request(("page_view",), DAY, DAY))
    for job_id in (job.job_id, "00000000-0000-0000-0000-000000000000"):
        for call in (Jobs(books).find, Jobs(books).cancel, Jobs(books).parts):
            with pytest.raises(NoJob, match=f"^there is no job {job_id}$"):
                call("other", job_id)
    with pytest.raises(NoJob, match="'x' is no id of a job"):
        Jobs(books).find("acme", "x")
    assert Jobs(books).find("acme", job.job_id).state == "queued"


def test_history_goes_page_by_page(books: Books) -> None:
    """The latest first; by state."""
    jobs = Jobs(books)
    made = [jobs.start("acme", Request(("page_view",), day, day))[0] for day in (DAY, date(2026, 1, 6))]
    jobs.cancel("acme", made[0].job_id)
    first = jobs.history("acme", most=1)
    assert [it.job_id for it in first] == [made[1].job_id]
    second = jobs.history("acme", most=5, before=(first[0].requested_at, first[0].job_id))
    assert [it.job_id for it in second] == [made[0].job_id]
    assert [it.job_id for it in jobs.history("acme", most=5, state="cancelled")] == [made[0].job_id]


def test_workers_share_the_jobs(books: Books) -> None:
    """Four workers at once, twelve jobs: each is worked on once."""
    days = [DAY + timedelta(number) for number in range(12)]
    source = {Part("page_view", day): [1, 2] for day in days}
    for day in days:
        Jobs(books).start("acme", Request(("page_view",), day, day))
    shelf = Shelf(dict(source))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: worker(books, shelf).run(until_idle=True), range(4)))
    assert held(books, "acme") == {day: [1, 2] for day in days}
    assert rows(books, "acme", "SELECT DISTINCT state, attempt FROM ingest_job") == [("completed", 1)]
    assert len(shelf.opened) == 12


def test_a_part_that_fails_leaves_the_others_and_what_was_there(books: Books) -> None:
    """Its code is the job's. What may go better is tried three times."""
    request, source = week(days=2)
    Jobs(books).start("acme", request)
    worker(books, Shelf(source)).once()
    before = held(books, "acme")
    changed: dict[Part, list[int] | PartError] = {part: [9] for part in source}
    first, second = request.parts
    changed[first] = Unavailable("unreachable", "nothing answers")
    shelf = Shelf(changed)
    job, _ = Jobs(books).start("acme", request)
    worker(books, shelf).once()
    ended = Jobs(books).find("acme", job.job_id)
    assert (ended.state, ended.error_code) == ("failed", "unreachable")
    assert ended.error_message == "1 of 2 parts failed; the first: nothing answers"
    assert held(books, "acme") == before | {second.day: [9]}
    assert shelf.opened.count(first) == 3
    assert [it["state"] for it in Jobs(books).parts("acme", job.job_id)] == ["failed", "loaded"]


@pytest.mark.parametrize(("bad", "state"), [(1, "completed"), (2, "failed")])
def test_too_many_rejected_rows_fail_the_part(books: Books, bad: int, state: str) -> None:
    """One in a hundred may be rejected, two may not; they can be looked at either way."""
    numbers = [-1] * bad + list(range(100 - bad))
    part = Part("page_view", DAY)
    job, _ = Jobs(books).start("acme", Request(("page_view",), DAY, DAY))
    worker(books, Shelf({part: numbers})).once()
    ended = Jobs(books).find("acme", job.job_id)
    assert (ended.state, ended.error_code) == (state, "too_many_rejected" if bad == 2 else None)
    assert rows(books, "acme", "SELECT count(*) FROM ingest_rejected") == [(bad,)]
    assert held(books, "acme") == ({DAY: list(range(99))} if bad == 1 else {})


def test_a_tenants_own_ceiling_is_applied_to_its_parts_alone(books: Books) -> None:
    """A claimed job reads the settings: a fifth may be rejected of one tenant, not of the other."""
    Tenants(books).change("acme", {"ceilings": {"rejected": 0.2}})
    part, settings = Part("page_view", DAY), IngestionSettings.from_environment(NO_DATABASE)

    class Sources(TenantSources):
        def open(self, part: Part) -> Memory:  # noqa: ARG002 - a protocol's
            return Memory("events", DAY, [-1, -1, *range(8)], 3, lambda: None)

        def target(self, kind: str) -> Target:  # noqa: ARG002 - likewise
            return TARGET

    def sources(lease: Lease) -> Sources:
        tenant = Tenants(books).find(lease.tenant)
        return Sources(tenant, books, settings.vault, settings.places, lambda: datetime.now(UTC))

    states = {}
    for tenant in ("acme", "other"):
        job, _ = Jobs(books).start(tenant, Request((part.kind,), DAY, DAY))
        Worker(books, sources, name="w").once()
        states[tenant] = Jobs(books).find(tenant, job.job_id).state
    assert states == {"acme": "completed", "other": "failed"}


def test_a_row_that_the_source_dropped_is_gone_after_the_reload(books: Books) -> None:
    """A day is replaced; a day without a source keeps what it has; a job without any source fails."""
    request, source = week(days=2)
    first, second = request.parts
    for shelf in (Shelf(source), Shelf({first: [1]})):
        Jobs(books).start("acme", request)
        worker(books, shelf).once()
    assert held(books, "acme") == {first.day: [1], second.day: source[second]}
    job, _ = Jobs(books).start("acme", request)
    worker(books, Shelf()).once()
    assert Jobs(books).find("acme", job.job_id).error_code == "missing_table"
    assert held(books, "acme") == {first.day: [1], second.day: source[second]}


def test_a_reader_never_sees_half_a_day(books: Books) -> None:
    """A day that is loaded again and again while somebody counts it."""
    part, request = Part("page_view", DAY), Request(("page_view",), DAY, DAY)
    seen: set[int] = set()
    over = threading.Event()

    def count() -> None:
        while not over.is_set():
            seen.update(it[0] for it in rows(books, "acme", "SELECT count(*) FROM ga4_page_view"))

    reader = threading.Thread(target=count)
    reader.start()
    for number in (500, 300) * 4:
        Jobs(books).start("acme", request)
        worker(books, Shelf({part: list(range(number))}, size=50)).once()
    over.set()
    reader.join(60)
    assert seen <= {0, 300, 500}
    assert len(seen) > 1


def test_what_the_database_refuses_is_said_without_where_the_database_is(books: Books) -> None:
    """The message is an answer to the tenant: what is wrong with the rows, and no host, port or database."""
    Jobs(books).start("acme", Request(("page_view",), DAY, DAY))
    worker(books, Shelf({Part("page_view", DAY): [2**63]})).once()
    (job,) = Jobs(books).history("acme", most=1)
    assert (job.state, job.error_code) == ("failed", "not_taken")
    assert "page_view of 2026-01-05" in str(job.error_message)
    assert "out of range for type bigint" in str(job.error_message)
    said = f"{job.error_message} {Jobs(books).parts('acme', job.job_id)}"
    assert not [it for it in books._postgres.server.replace("/", ":").split(":") if it in said], said


def test_rows_are_compared_with_a_count_that_the_reader_did_not_make(books: Books) -> None:
    """Of a source that counts one row more than were read nothing is loaded."""
    request, source = week(days=1)
    job, _ = Jobs(books).start("acme", request)
    worker(books, Shelf(source, more=1)).once()
    ended = Jobs(books).find("acme", job.job_id)
    assert (ended.state, ended.error_code) == ("failed", "sums")
    assert "8 rows" in str(ended.error_message)
    assert "7 were read" in str(ended.error_message)
    assert held(books, "acme") == {}


def test_sums_are_exact_beyond_what_a_bigint_holds(books: Books) -> None:
    """Some thousand times of events, in microseconds, are more than that."""
    numbers = [2**62 + number for number in range(4)]
    Jobs(books).start("acme", Request(("page_view",), DAY, DAY))
    worker(books, Shelf({Part("page_view", DAY): numbers})).once()
    assert held(books, "acme") == {DAY: numbers}
    assert rows(books, "acme", "SELECT sums FROM ingest_book") == [({"event_timestamp": 2**64 + 6},)]
