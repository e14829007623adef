"""What BigQuery may answer, and the code and advice that it becomes."""

import json
import threading
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
import requests
from google.api_core import exceptions as api
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud.bigquery_storage_v1.reader import ReadRowsStream

from services.ingestion.bigquery import BigQuery, EventReading, Events
from services.ingestion.errors import PartError, Unavailable
from services.ingestion.refusals import Dataset
from services.ingestion.requests import Part
from services.ingestion.streams import Streams

WHERE = Dataset("shop", "analytics_1")
PART = Part("page_view", date(2026, 1, 5))


class Http:
    """Answers every request with one answer, or one error."""

    def __init__(self, status: int, message: str, error: Exception | None = None, reason: str = "") -> None:
        self.answer = requests.Response()
        self.answer.status_code = status
        said = {"error": {"message": message, "errors": [{"reason": reason}] if reason else []}}
        self.answer._content = json.dumps(said).encode()
        self.error = error

    def post(self, address: str, json: object, timeout: float) -> requests.Response:
        """See `requests.Session`."""
        assert json
        return self.get(address, timeout)

    def get(self, _: str, timeout: float) -> requests.Response:
        """See `requests.Session`."""
        assert timeout
        if self.error:
            raise self.error
        return self.answer


@pytest.mark.parametrize(
    ("http", "code", "advice"),
    [
        (Http(401, "Invalid Credentials"), "credentials", "rotate the tenant's secret"),
        (Http(0, "", DefaultCredentialsError("no")), "credentials", "rotate the tenant's secret"),  # type: ignore[no-untyped-call]
        (Http(403, "Access Denied"), "permission", "grant roles/bigquery.dataViewer"),
        (Http(403, "no", reason="accessDenied"), "permission", "grant roles/bigquery.dataViewer"),
        (Http(403, "Project shop: many", reason="rateLimitExceeded"), "unavailable", "start again later"),
        (Http(403, "Project shop: quota", reason="quotaExceeded"), "unavailable", "start again later"),
        (Http(400, "Project shop: many", reason="jobRateLimitExceeded"), "unavailable", "start again later"),
        (Http(404, "Not found: Project shop"), "wrong_project", "mend the tenant's project"),
        (
            Http(400, "The project shop has not enabled BigQuery."),
            "wrong_project",
            "mend the tenant's project",
        ),
        (Http(404, "Not found: Dataset shop:analytics_1"), "missing_dataset", "link the GA4 property"),
        (Http(503, "backend"), "unavailable", "start again later"),
        (Http(429, "quota"), "unavailable", "start again later"),
        (Http(400, "odd"), "refused", "BigQuery says of shop.analytics_1: odd"),
        (Http(0, "", requests.ConnectTimeout()), "network", "look at the network"),
        (Http(0, "", TransportError("no route")), "network", "look at the network"),  # type: ignore[no-untyped-call]
        (Http(0, "", RefreshError(TransportError("no route"))), "network", "look at the network"),  # type: ignore[no-untyped-call]
        (Http(0, "", RefreshError("busy", retryable=True)), "network", "look at the network"),  # type: ignore[no-untyped-call]
        (Http(0, "", RefreshError("invalid_grant")), "credentials", "rotate the tenant's secret"),  # type: ignore[no-untyped-call]
    ],
)
def test_each_refusal_has_its_code_and_says_what_to_do(http: Http, code: str, advice: str) -> None:
    """What may go better is another class: it is tried again."""
    bigquery = BigQuery(None, storage="127.0.0.1:1")
    bigquery._http.close()
    bigquery._http = http  # type: ignore[assignment]
    with pytest.raises(PartError) as found:
        Events(bigquery, WHERE, lambda: date(2026, 1, 5)).open(PART)
    assert found.value.code == code
    assert advice in str(found.value)
    assert isinstance(found.value, Unavailable) == (code in {"unavailable", "network"})


class Reads:
    """A client whose streams do what is asked."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.over = threading.Event()

    def create_read_session(self, **_: object) -> Any:
        """A session with one stream."""
        return type(
            "Session",
            (),
            {
                "table": "events_20260105",
                "streams": [type("Stream", (), {"name": "one"})],
                "arrow_schema": type("Schema", (), {"serialized_schema": EMPTY}),
            },
        )

    def read_rows(self, _: str) -> Any:
        """Its only stream."""
        return self

    def cancel(self) -> None:
        """End the call, whichever it is by now."""
        self.over.set()

    def __iter__(self) -> Iterator[Any]:
        """What the stream does."""
        return iter(self.stream(self))


def _empty() -> bytes:
    import pyarrow as pa

    return bytes(pa.schema([]).serialize())


EMPTY = _empty()


def _row() -> bytes:
    import pyarrow as pa

    return bytes(pa.RecordBatch.from_pylist([{}], pa.schema([])).serialize())


ROW = _row()


def stream_of(client: Any, name: str) -> ReadRowsStream:
    """As `BigQueryReadClient.read_rows` makes it."""
    stream = ReadRowsStream(client, name, 0, {})  # type: ignore[no-untyped-call]
    stream._reconnect()  # type: ignore[no-untyped-call]
    return stream


def silent(reads: Reads) -> Iterator[Any]:
    """It sends nothing until it is cancelled."""
    assert reads.over.wait(60)
    return iter(())


def refused(_: Reads) -> Iterator[Any]:
    """It is refused in the middle."""
    raise api.PermissionDenied("no more")  # type: ignore[no-untyped-call]


def given_up(_: Reads) -> Iterator[Any]:
    """Google's client has tried long enough."""
    raise api.RetryError("timeout", cause=None)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("stream", "code"), [(silent, "slow"), (refused, "permission"), (given_up, "network")]
)
def test_a_stream_that_stalls_or_breaks_ends_the_part(stream: Any, code: str) -> None:
    """And its call is cancelled: no thread stays behind with it."""
    reads = Reads(stream)
    reading = EventReading(
        *("page_view", PART.day, WHERE, "events_20260105", None, False, reads, 0.05)  # type: ignore[arg-type]
    )
    with pytest.raises(PartError) as found:
        list(reading.batches())
    assert found.value.code == code
    assert reads.over.is_set()


class Call:
    """A call that brings a row as often as it is asked, a thousand times, or is broken off after one."""

    def __init__(self, *, breaks: bool) -> None:
        self.cancelled = False
        self._breaks = breaks

    def cancel(self) -> None:
        """See `grpc.Call`."""
        self.cancelled = True

    def __iter__(self) -> Iterator[Any]:
        """Its messages."""
        batch = type("Batch", (), {"serialized_record_batch": ROW})
        for number in range(1_000):
            if self._breaks and number:
                raise api.ServiceUnavailable("try again")  # type: ignore[no-untyped-call]
            yield type("Message", (), {"row_count": 1, "arrow_record_batch": batch})


@pytest.mark.parametrize("slow", [False, True])
def test_a_stream_that_nobody_takes_is_read_no_further(*, slow: bool) -> None:
    """Also where Google's client has called again, or has not called yet: it would read a day to its end."""
    calls = [Call(breaks=True), Call(breaks=False)]
    coming = iter(calls)
    begun, closed, again, ended = (threading.Event() for _ in range(4))

    def read_rows(*_: object, **__: object) -> Call:
        call = next(coming)
        begun.set()
        if slow:
            assert closed.wait(60)
        if call is calls[1]:
            again.set()
        return call

    client = type("Client", (), {"read_rows": staticmethod(read_rows)})
    reads: Any = type("Reads", (), {"read_rows": lambda _, name: stream_of(client, name)})()
    streams = Streams(reads, Reads(silent).create_read_session())

    def read() -> None:
        streams._read("one")
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert (begun if slow else again).wait(60)
    streams.close()
    closed.set()
    assert ended.wait(60)
    assert calls[0 if slow else 1].cancelled


def test_a_storage_api_that_does_not_answer_ends_the_part() -> None:
    """At once, not after the ten minutes that Google's client tries."""
    bigquery = BigQuery(None, storage="127.0.0.1:1")
    reading = EventReading(
        *("page_view", PART.day, WHERE, "events_20260105", None, False, bigquery.reads, 60)  # type: ignore[arg-type]
    )
    with pytest.raises(Unavailable, match="start again later") as found:
        list(reading.batches())
    assert found.value.code == "unavailable"
    bigquery.close()


@pytest.mark.parametrize(
    ("before", "after", "read", "right"),
    [
        (7, 7, 7, True),
        (7, 9, 8, True),
        (9, 7, 7, True),
        (7, 7, 6, False),
        (7, 7, 8, False),
        (7, 9, 10, False),
    ],
)
def test_rows_that_were_read_are_as_many_as_bigquery_counts(
    before: int, after: int, read: int, *, right: bool
) -> None:
    """A row that the stream lost or sent twice ends the load. In a table that changed meanwhile the number
    lies between both counts."""
    reading = EventReading(
        *("page_view", PART.day, WHERE, "events_20260105", None, False, Reads(silent), 1),  # type: ignore[arg-type]
        before=before,
        again=lambda: {"page_view": after, "purchase": 1},
    )
    if right:
        reading.check(read)
        return
    with pytest.raises(PartError, match=f"events_20260105 has {after} rows, {read} were read") as found:
        reading.check(read)
    assert found.value.code == "sums"


def test_a_table_that_goes_while_it_is_read_is_looked_for_again() -> None:
    """GA4 removes the intraday table once the whole one is there. A project may be called my-project."""
    bigquery = BigQuery(None, storage="127.0.0.1:1")
    bigquery._http.close()
    bigquery._http = Http(404, "Not found: Table my-project:analytics_1.events_intraday_20260105")  # type: ignore[assignment]
    with pytest.raises(Unavailable, match="the table went while it was read") as found:
        bigquery.count(Dataset("my-project", "analytics_1"), "events_intraday_20260105")
    assert found.value.code == "missing_table"


def test_a_count_that_bigquery_has_not_ended_is_none() -> None:
    """An answer without rows is no table without rows."""
    bigquery = BigQuery(None, storage="127.0.0.1:1")
    bigquery._http.close()
    bigquery._http = Http(200, "")  # type: ignore[assignment]
    bigquery._http.answer._content = b'{"jobComplete": false}'  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match=r"did not count shop\.analytics_1\.events_20260105") as found:
        bigquery.count(WHERE, "events_20260105")
    assert found.value.code == "slow"
    bigquery.reads.transport.close()  # type: ignore[no-untyped-call]
