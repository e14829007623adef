"""GA4's tables in BigQuery: what is there, and its rows as Arrow by the Storage Read API.

The Storage Read API reads a table's columns and rows without a query: nothing is billed for a query, and
the rows come in batches by several streams at once.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Literal

import grpc
import requests
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from services.ingestion import ga4
from services.ingestion.errors import PartError, Unavailable
from services.ingestion.refusals import Dataset, check, translated
from services.ingestion.requests import Part, is_final
from services.ingestion.rows import Batch, Rejected, same_rows
from services.ingestion.streams import Streams

ADDRESS = "https://bigquery.googleapis.com"
SECONDS = 30
"""How long BigQuery may take to say what is there."""
STALL_SECONDS = 60.0
"""How long a stream may be silent."""
STREAMS = 2
"""Streams of one part: what one worker's CPU can take."""
LIMITLESS = (("grpc.max_receive_message_length", -1),)
"""As Google's own channel has it: a message of rows may be larger than gRPC's 4 MB."""
BATCH = 1_000
"""Rows of a batch, at most: as Python's objects a row takes 7 KB, ten times what it takes as Arrow."""


class BigQuery:
    """BigQuery for one tenant. Threads may use it at once."""

    def __init__(
        self, credentials: Credentials | None, *, address: str = ADDRESS, storage: str | None = None
    ) -> None:
        """Nothing is asked yet.

        Args:
            credentials: whose; None: nobody's, for an emulator.
            address: of the API.
            storage: host and port of an emulator's Storage API; None: the real one.
        """
        self._address = address.rstrip("/")
        self._http: requests.Session = AuthorizedSession(credentials) if credentials else requests.Session()  # type: ignore[no-untyped-call]  # as it comes
        if storage:
            transport = BigQueryReadGrpcTransport(channel=grpc.insecure_channel(storage, LIMITLESS))
            self.reads = BigQueryReadClient(transport=transport)  # type: ignore[no-untyped-call]  # as it comes
        else:
            self.reads = BigQueryReadClient(credentials=credentials)  # type: ignore[no-untyped-call]  # as it comes

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self.reads.transport.close()  # type: ignore[no-untyped-call]  # as it comes

    def table(self, where: Dataset, name: str) -> dict[str, Any] | None:
        """What BigQuery says of a table; None: the dataset has none of this name.

        Raises:
            PartError: it cannot be asked, or there is no such dataset.
        """
        path = f"projects/{where.project}/datasets/{where.dataset}"
        found = self._get(where, f"{path}/tables/{name}")
        if found is None and self._get(where, path) is None:
            raise PartError(
                "missing_dataset",
                f"BigQuery has no dataset {where}: link the GA4 property to BigQuery, or mend the tenant's "
                "dataset (analytics_ and the property's number)",
            )
        return found

    def count(self, where: Dataset, name: str) -> dict[str, int]:
        """How many rows of each event name a table holds, by a query that reads one column.

        A query is billed for 10 MB at least, which a free terabyte a month has a hundred thousand times.
        """
        query = f"SELECT event_name, COUNT(*) AS number FROM `{where}.{name}` GROUP BY event_name"
        url = f"{self._address}/bigquery/v2/projects/{where.project}/queries"
        with translated(where):
            body: dict[str, Any] = {"query": query, "useLegacySql": False, "timeoutMs": SECONDS * 1_000}
            answer = self._http.post(url, json=body, timeout=2 * SECONDS)
            check(where, answer)
        if not answer.json()["jobComplete"]:
            raise Unavailable(
                "slow", f"BigQuery did not count {where}.{name} in {SECONDS} s: start again later"
            )
        return {str(row["f"][0]["v"]): int(row["f"][1]["v"]) for row in answer.json().get("rows", ())}

    def _get(self, where: Dataset, path: str) -> dict[str, Any] | None:
        with translated(where):
            answer = self._http.get(f"{self._address}/bigquery/v2/{path}", timeout=SECONDS)
            if answer.status_code == 404 and "Not found: Project" not in answer.text:
                return None
            check(where, answer)
            found: dict[str, Any] = answer.json()
            return found


class Events:
    """The GA4 export of one tenant: its days and types."""

    def __init__(
        self,
        bigquery: BigQuery,
        where: Dataset,
        today: Callable[[], date],
        *,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """``today``: in the zone of the GA4 property."""
        self._bigquery = bigquery
        self._where = where
        self._today = today
        self._stall = stall_seconds
        self._counted: dict[tuple[str, str], dict[str, int]] = {}
        self._counting = threading.Lock()

    def open(self, part: Part) -> "EventReading | Literal['absent']":
        """A type of a day. Where the day's table is not there yet the intraday one is read, provisionally."""
        assert part.day  # noqa: S101 - a part of events has one
        whole, intraday = _tables(part.day)
        for name, provisional in ((whole, not is_final(part.day, self._today())), (intraday, True)):
            if found := self._bigquery.table(self._where, name):
                modified = datetime.fromtimestamp(int(found["lastModifiedTime"]) / 1_000, UTC)
                return EventReading(
                    part.kind,
                    part.day,
                    self._where,
                    name,
                    modified,
                    provisional,
                    self._bigquery.reads,
                    self._stall,
                    before=self._count(name, found["lastModifiedTime"]).get(part.kind, 0),
                    again=partial(self._bigquery.count, self._where, name),
                )
        return "absent"

    def _count(self, name: str, modified: str) -> dict[str, int]:
        """Counted once for all types, as long as the table is the same."""
        with self._counting:
            if (name, modified) not in self._counted:
                self._counted[name, modified] = self._bigquery.count(self._where, name)
            return self._counted[name, modified]

    def close(self) -> None:
        """Close the connections."""
        self._bigquery.close()

    def count(self, day: date) -> dict[str, int] | None:
        """How many events of each name a day holds; None: there is no table. Raises PartError."""
        for name in _tables(day):
            if self._bigquery.table(self._where, name):
                return self._bigquery.count(self._where, name)
        return None


def _tables(day: date) -> tuple[str, str]:
    """The tables of a day: the one that stays, and the one that it has while the day is under way."""
    return f"events_{day:%Y%m%d}", f"events_intraday_{day:%Y%m%d}"


@dataclass(slots=True)
class EventReading:
    """One type of a table."""

    kind: str
    day: date
    where: Dataset
    source: str
    modified_at: datetime | None
    provisional: bool
    reads: BigQueryReadClient
    stall: float
    sha256: str | None = None
    before: int = 0
    """How many rows BigQuery counted before they were read."""
    again: Callable[[], Mapping[str, int]] = dict
    """Counts the table's rows again, by event name."""

    def batches(self) -> Iterator[Batch]:
        """The rows as they come, flattened."""
        line = 0
        for rows in self._rows():
            good: list[tuple[object, ...]] = []
            bad: list[Rejected] = []
            for row in rows:
                line += 1
                try:
                    good.append(ga4.flatten(self.kind, self.day, row))
                except ga4.RowError as error:
                    bad.append(Rejected(line, str(error), json.dumps(row, default=str)))
            yield Batch(good, bad)

    def check(self, rows: int) -> None:
        """By BigQuery's own count. A table that grew or shrank meanwhile has a number between both counts."""
        if rows != self.before:
            after = self.again().get(self.kind, 0)
            if not min(self.before, after) <= rows <= max(self.before, after):
                same_rows(self.source, after, rows)

    def close(self) -> None:
        """Nothing is open but while batches are taken."""

    def _rows(self) -> Iterator[Sequence[ga4.Row]]:
        session = self._session()
        streams = Streams(self.reads, session)
        try:
            with translated(self.where):
                for record in streams.records(self.stall):
                    for begin in range(0, record.num_rows, BATCH):
                        yield record.slice(begin, BATCH).to_pylist()
        finally:
            streams.close()

    def _session(self) -> types.ReadSession:
        table = f"projects/{self.where.project}/datasets/{self.where.dataset}/tables/{self.source}"
        wanted = types.ReadSession(
            table=table,
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(
                row_restriction=f"event_name = '{self.kind}'", selected_fields=ga4.fields(self.kind)
            ),
        )
        with translated(self.where):
            return self.reads.create_read_session(
                parent=f"projects/{self.where.project}",
                read_session=wanted,
                max_stream_count=STREAMS,
                timeout=SECONDS,
                retry=None,  # the worker tries again; Google's own tries go on for ten minutes
            )
