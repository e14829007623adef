"""What a run does that a schedule starts. The metrics of ingestion count the lines of the real code."""

import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from deploy.steps.ingestion import JOB
from services.ingestion import scheduled
from services.ingestion.books import Books
from services.ingestion.errors import PartError
from services.ingestion.jobs import Jobs
from services.ingestion.requests import EVENTS, FILES, KINDS, Request
from services.ingestion.tenants import Tenants
from tests.deploy.test_metrics import METRICS
from tests.support.ingesting import DAY, Shelf, expire, week, worker
from tests.support.log_filter import counting

NOW = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
GA4: dict[str, Any] = {"project": "shop-analytics", "dataset": "analytics_1"}
SFTP: dict[str, Any] = {"sftp": {"host": "h", "user": "u", "host_key": "k"}}


@pytest.mark.parametrize(
    ("settings", "kinds", "last"),
    [
        (GA4, EVENTS, DAY),
        (SFTP, FILES, None),
        (GA4 | SFTP, KINDS, DAY),
        (GA4 | {"time_zone": "Europe/Zurich"}, EVENTS, date(2026, 1, 6)),
    ],
)
def test_a_load_of_the_day_is_started_once(
    books: Books, settings: dict[str, Any], kinds: tuple[str, ...], last: date | None
) -> None:
    """Of what the tenant has a source for, in its own zone, however often a schedule calls."""
    Tenants(books).change("acme", settings)
    for _ in range(3):
        scheduled.begin(books, NOW)
    (job,) = Jobs(books).history("acme", most=9)
    assert (job.kinds, job.last) == (kinds, last)
    assert job.first == (last - timedelta(days=4) if last else None)
    assert Jobs(books).history("other", most=9) == []  # it has no source
    worker(books, Shelf()).run(until_idle=True)
    scheduled.begin(books, NOW + timedelta(minutes=20))
    scheduled.begin(books, NOW + timedelta(days=1))
    assert len(Jobs(books).history("acme", most=9)) == 2


def test_a_tenant_that_has_an_open_job_holds_up_no_other(books: Books, output: io.StringIO) -> None:
    """Its load of the day is started by a later call; nor do other settings start a second one."""
    Tenants(books).change("acme", GA4)
    Tenants(books).change("other", GA4)
    own, _ = Jobs(books).start("acme", Request(("page_view",), DAY, DAY))
    scheduled.begin(books, NOW)
    assert [it.job_id for it in Jobs(books).history("acme", most=9)] == [own.job_id]
    assert len(Jobs(books).history("other", most=9)) == 1
    assert f"job {own.job_id} works on page_view of 2026-01-05" in output.getvalue()
    Jobs(books).cancel("acme", own.job_id)
    scheduled.begin(books, NOW)
    Tenants(books).change("acme", GA4 | SFTP)
    scheduled.begin(books, NOW)
    assert len(Jobs(books).history("acme", most=9)) == 2


Happening = Callable[[Books], None]
LOOKED, FAILED = "libra-ingestion-looked", "libra-ingestion-failed"


def works(books: Books, shelf: Shelf | None = None) -> None:
    """A worker works until there is nothing to do."""
    worker(books, shelf or Shelf()).run(until_idle=True)


def idle(books: Books) -> None:
    """There is no job."""
    works(books)


def completed(books: Books) -> None:
    """A job is loaded."""
    request, held = week()
    Jobs(books).start("acme", request)
    works(books, Shelf(held))


def denied(books: Books) -> None:
    """The source may not be read."""
    request, held = week()
    Jobs(books).start("acme", request)
    works(books, Shelf(dict.fromkeys(held, PartError("permission", "grant it"))))


def rejected(books: Books) -> None:
    """One row in seven cannot be loaded."""
    request, held = week(days=1)
    Jobs(books).start("acme", request)
    works(books, Shelf({part: [1, 2, 3, -4, 5, 6, 7] for part in held}))


def cancelled(books: Books) -> None:
    """Somebody cancels a job."""
    request, _ = week()
    job, _ = Jobs(books).start("acme", request)
    Jobs(books).cancel("acme", job.job_id)
    works(books)


def took_long(books: Books) -> None:
    """A job is out of time while a worker has it."""
    request, held = week()
    Jobs(books).start("acme", request, timeout=timedelta(0))
    works(books, Shelf(held))


def orphaned(books: Books) -> None:
    """Five workers ended while they had the job: no worker ends it, and the next one finds it."""
    request, held = week()
    Jobs(books).start("acme", request)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            worker(books, Shelf(held, between=_killed)).once()
        expire(books)
    works(books)


def _killed() -> None:
    raise KeyboardInterrupt


def waits(books: Books) -> None:
    """No worker claims a job."""
    Jobs(books).start("acme", week()[0])
    books.of_all(lambda it: it.execute("UPDATE ingest_job SET requested_at = now() - interval '31 minutes'"))
    scheduled.begin(books, NOW)


def queued(books: Books) -> None:
    """A job was started just now."""
    Jobs(books).start("acme", week()[0])
    scheduled.begin(books, NOW)


def nothing_loaded(books: Books) -> None:
    """A tenant has a source, and nothing of it is loaded."""
    Tenants(books).change("acme", GA4)
    scheduled.report(books, NOW)


def old(books: Books) -> None:
    """The latest page views of a tenant are four days old."""
    loaded_until(books, NOW + timedelta(days=4))


def in_time(books: Books) -> None:
    """All that a tenant has a source for is three days old."""
    loaded_until(books, NOW + timedelta(days=3))


def loaded_until(books: Books, now: datetime) -> None:
    """All types of a day are loaded, and a schedule calls later."""
    Tenants(books).change("acme", GA4)
    request = Request(EVENTS, DAY, DAY)
    Jobs(books).start("acme", request)
    works(books, Shelf({it: [] for it in request.parts}))
    scheduled.report(books, now)


MATCHED: dict[Happening, set[str]] = {
    idle: {LOOKED},
    completed: {LOOKED, "libra-ingestion-completed"},
    cancelled: {LOOKED},
    denied: {LOOKED, FAILED},
    rejected: {LOOKED, FAILED, "libra-ingestion-refused"},
    took_long: {LOOKED, FAILED},
    orphaned: {LOOKED, FAILED},
    waits: {"libra-ingestion-waits"},
    queued: set(),
    nothing_loaded: {"libra-ingestion-late"},
    old: {LOOKED, "libra-ingestion-completed", "libra-ingestion-late"},
    in_time: {LOOKED, "libra-ingestion-completed"},
}
"""What happens, and the metrics that count its lines."""


@pytest.mark.parametrize("happening", MATCHED, ids=lambda it: it.__name__)
def test_a_metric_counts_the_lines_of_ingestion_that_it_is_for_and_no_others(
    happening: Happening, books: Books, output: io.StringIO
) -> None:
    """The real code logs what happens, and exactly these metrics count it."""
    happening(books)
    assert counting(METRICS, output.getvalue(), JOB, kind="job") == MATCHED[happening], output.getvalue()
