"""GA4 from the BigQuery emulator into PostgreSQL: sums, late days, intraday, and what can be wrong."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from local.bigquery import BigQuery as Emulator
from local.databases import PostgresServer
from local.ga4 import DATASET, TYPES, Export, row
from services.ingestion import ga4
from services.ingestion.bigquery import BigQuery, EventReading, Events
from services.ingestion.books import Books
from services.ingestion.errors import PartError, Unavailable
from services.ingestion.jobs import Job, Jobs
from services.ingestion.refusals import Dataset
from services.ingestion.requests import EVENTS, Part, Request
from services.ingestion.rows import Ceilings, Target
from services.ingestion.worker import Worker
from tests.support.databases import fresh
from tests.support.ingesting import add_tenant, rows

FIRST = date(2026, 1, 1)
TODAY = date(2026, 1, 21)
ROWS = 130
MISSING = date(2026, 1, 9)
READERS: list[BigQuery] = []


DEFECTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("page_view", {"event_date": "19990101"}),
    ("page_view", {"event_timestamp": None}),
    ("add_to_cart", {"event_timestamp": 0}),
    ("view_item", {"event_params": [{"key": "a"}, {"key": "a"}]}),
    ("view_search_results", {"event_params": [{"key": "", "value": {"int_value": 1}}]}),
    (
        "no_search_results",
        {"event_params": [{"key": "a", "value": {"int_value": 1, "string_value": "1"}}]},
    ),
    ("page_view", {"event_params": [{"key": "ga_session_id", "value": {"string_value": "one"}}]}),
    ("purchase", {"ecommerce": None}),
    ("purchase", {"items": [{"item_id": "x", "quantity": -1}]}),
)
"""What is wrong with a row, by its type: each kind of defect that an export can hold."""


class Source:
    """The export alone."""

    def __init__(self, events: Events, rejected: str = "0.01") -> None:
        self.events = events
        self.ceilings = Ceilings(rejected=Decimal(rejected))

    def close(self) -> None:
        """See `Sources`."""

    def target(self, kind: str) -> Target:
        """See `Sources`."""
        return ga4.target(kind)

    def open(self, part: Part) -> Any:
        """See `Sources`."""
        return self.events.open(part)


def of_day(day: date, number: int = ROWS) -> list[dict[str, Any]]:
    """A day's rows."""
    return [row(day, each) for each in range(number)]


@pytest.fixture
def books(postgres_server: PostgresServer) -> Iterator[Books]:
    """Tables with a tenant."""
    with fresh(postgres_server) as postgres:
        found = Books(postgres)
        found.migrate()
        add_tenant(found, "acme")
        yield found


@pytest.fixture
def export(bigquery: Emulator, project: str) -> Iterator[Export]:
    """An empty export."""
    with Export(bigquery.url, project) as found:
        yield found


def events(bigquery: Emulator, project: str, today: date = TODAY) -> Events:
    """The export of a project."""
    return Events(reader(bigquery.url, bigquery.storage), Dataset(project, DATASET), lambda: today)


def reader(address: str, storage: str) -> BigQuery:
    """A client, closed after the module."""
    READERS.append(BigQuery(None, address=address, storage=storage))
    return READERS[-1]


@pytest.fixture(autouse=True, scope="module")
def closed() -> Iterator[None]:
    """It is closed afterwards."""
    yield
    for each in READERS:
        each.close()


def run(
    books: Books, events: Events, first: date, last: date, kinds: tuple[str, ...] = EVENTS, **own: str
) -> Job:
    """Load a range of days."""
    job, _ = Jobs(books).start("acme", Request(kinds, first, last))
    Worker(books, lambda _: Source(events, **own), name="w", parallel=2, sleep=lambda _: None).once()
    return Jobs(books).find("acme", job.job_id)


def counted(books: Books, kind: str) -> dict[date, int]:
    """What a type's table holds."""
    table = ga4.target(kind).table
    return dict(rows(books, "acme", f"SELECT day, count(*) FROM {table} GROUP BY day"))


def test_three_weeks_add_up(bigquery: Emulator, project: str, export: Export, books: Books) -> None:
    """For each type and day: rows of the source = loaded + rejected, by an independent count, with every
    defect, a missing day and an intraday table."""
    source = events(bigquery, project)
    days = [FIRST + timedelta(number) for number in range(21)]
    written: dict[tuple[str, date], int] = {}
    bad = Counter(kind for kind, _ in DEFECTS)
    for day in days:
        if day == MISSING:
            continue
        listed = of_day(day)
        listed += [row(day, 1_000, kind) for kind in TYPES]
        listed += [row(day, 2_000 + it, kind) | wrong for it, (kind, wrong) in enumerate(DEFECTS)]
        export.write(f"events_{'intraday_' if day == TODAY else ''}{day:%Y%m%d}", listed)
        for each in listed:
            key = each["event_name"], day
            written[key] = written.get(key, 0) + 1
    job = run(books, source, FIRST, TODAY, rejected="0.9")
    assert (job.state, job.error_message) == ("completed", None)
    found = rows(
        books,
        "acme",
        "SELECT kind, day, source_rows, loaded, rejected, provisional, source FROM ingest_book",
    )
    assert {(kind, day): number for kind, day, number, *_ in found} == written
    tables = {kind: counted(books, kind) for kind in EVENTS}
    for kind, day, number, loaded, rejected, provisional, name in found:
        assert (loaded, rejected) == (number - bad[kind], bad[kind])
        assert provisional == (TODAY - day <= timedelta(3))
        assert ("intraday" in name) == (day == TODAY)
        assert tables[kind][day] == loaded
    assert rows(books, "acme", "SELECT count(*) FROM ingest_rejected") == [(20 * len(DEFECTS),)]
    assert {it["state"] for it in Jobs(books).parts("acme", job.job_id) if it["day"] == MISSING} == {"absent"}
    one = rows(
        books,
        "acme",
        "SELECT event_at, value, quantity, params ->> 'currency', items -> 0 ->> 'item_name', city"
        " FROM ga4_purchase WHERE quantity > 0 LIMIT 1",
    )[0]
    assert one[0].tzinfo
    assert (float(one[1]), one[3], one[4]) == (12.25, "CHF", "Kettle Chips")


def test_a_day_that_changed_is_replaced(
    bigquery: Emulator, project: str, export: Export, books: Books
) -> None:
    """Late rows come in, dropped rows go, the final table takes the place of the intraday one."""
    day = TODAY - timedelta(1)
    export.write(f"events_intraday_{day:%Y%m%d}", of_day(day, 30))
    run(books, events(bigquery, project), day, day, ("page_view",))
    before = counted(books, "page_view")[day]
    export.write(f"events_{day:%Y%m%d}", of_day(day, 20))
    export.add(f"events_{day:%Y%m%d}", [row(day, 5_000 + each, "page_view") for each in range(3)])
    run(books, events(bigquery, project, TODAY + timedelta(7)), day, day, ("page_view",))
    after = counted(books, "page_view")[day]
    expected = sum(each["event_name"] == "page_view" for each in of_day(day, 20)) + 3
    assert (before, after) == (sum(each["event_name"] == "page_view" for each in of_day(day, 30)), expected)
    assert rows(books, "acme", "SELECT source, provisional FROM ingest_book") == [
        (f"events_{day:%Y%m%d}", False)
    ]


def test_a_row_that_the_stream_does_not_send_is_missed(
    bigquery: Emulator, project: str, export: Export, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BigQuery counts by a query what it sends by another way: the day stays as it was. One query counts all
    types of a day."""
    source = events(bigquery, project)
    asked: list[str] = []
    count = BigQuery.count

    def counting(self: BigQuery, where: Dataset, name: str) -> dict[str, int]:
        asked.append(name)
        return count(self, where, name)

    monkeypatch.setattr(BigQuery, "count", counting)
    export.write(f"events_{FIRST:%Y%m%d}", [row(FIRST, number, "page_view") for number in range(100)])
    assert run(books, source, FIRST, FIRST).state == "completed"
    assert asked == [f"events_{FIRST:%Y%m%d}"]
    sent = EventReading._rows
    monkeypatch.setattr(EventReading, "_rows", lambda self: (each[1:] for each in sent(self)))
    job = run(books, source, FIRST, FIRST, ("page_view",))
    assert (job.state, job.error_code) == ("failed", "sums")
    assert "has 100 rows, 99 were read" in str(job.error_message)
    assert counted(books, "page_view") == {FIRST: 100}


@pytest.mark.parametrize(("bad", "state"), [(1, "completed"), (2, "failed")])
def test_bad_rows_are_kept_with_their_reason(
    bigquery: Emulator, project: str, export: Export, books: Books, *, bad: int, state: str
) -> None:
    """One in a hundred is set aside; two fail the part, and the day stays as it was."""
    listed = [row(FIRST, number, "page_view") | {"event_date": "19990101"} for number in range(bad)]
    listed += [row(FIRST, number, "page_view") for number in range(bad, 100)]
    export.write(f"events_{FIRST:%Y%m%d}", listed)
    job = run(books, events(bigquery, project), FIRST, FIRST, ("page_view",))
    assert job.state == state
    reasons = rows(books, "acme", "SELECT DISTINCT reason FROM ingest_rejected")
    assert reasons == [("event_date: found '19990101', allowed is 20260101, the day of its table",)]
    assert counted(books, "page_view") == ({FIRST: 99} if bad == 1 else {})


def test_what_is_wrong_has_a_code_and_says_what_to_do(bigquery: Emulator, project: str) -> None:
    """A missing dataset, a missing table, nobody who answers."""
    with pytest.raises(PartError, match=r"no dataset .*link the GA4 property") as found:
        events(bigquery, project).open(Part("page_view", FIRST))
    assert found.value.code == "missing_dataset"
    with Export(bigquery.url, project):
        pass
    assert events(bigquery, project).open(Part("page_view", FIRST)) == "absent"
    gone = Events(reader("http://127.0.0.1:1", "127.0.0.1:1"), Dataset(project, DATASET), lambda: TODAY)
    with pytest.raises(Unavailable, match="look at the network") as found:
        gone.open(Part("page_view", FIRST))
    assert found.value.code == "network"


def test_the_time_of_an_event_is_exact_to_the_microsecond(books: Books) -> None:
    """A generated column counts from 1970 without losing any."""
    numbers = [1_767_225_600_000_001, 1, 4_102_444_799_999_999, 1_767_225_599_999_999]
    found = rows(
        books, "acme", "SELECT to_timestamp(it / 1000000.0) FROM unnest(%s::bigint[]) AS it", numbers
    )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert [at for (at,) in found] == [epoch + timedelta(microseconds=number) for number in numbers]
