"""Ingestion: rows a second from the sources to committed, beside the common way, and the peak memory.

The common way reads the result of a query row by row, in pages of JSON as Google's client does, or a file by
`csv.DictReader`, and writes `INSERT … ON CONFLICT` in batches of 1,000. It counts, compares, rejects and
marks nothing. The next day one user in a hundred has another name. Below both is what PostgreSQL takes for a
file that nobody looks at. Emulator, SFTP server, PostgreSQL and worker share the cores of this machine: the
figures are lower bounds, and their ratio is what they are for. Each load is a process of its own, so that its
peak memory is its own.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from local.bigquery import BigQuery as Emulator
from local.databases import PostgresServer
from local.ga4 import DATASET, Export, row
from local.sftp import PASSWORD, USER, SftpServer
from services.ingestion import files, ga4
from services.ingestion.bigquery import BigQuery, Events
from services.ingestion.books import Books
from services.ingestion.files import Format
from services.ingestion.jobs import Jobs
from services.ingestion.refusals import Dataset
from services.ingestion.requests import FILES, Part, Request
from services.ingestion.rows import Ceilings, Target
from services.ingestion.sftp import Files, Server
from services.ingestion.worker import Worker
from shared.postgres import Postgres
from tests.bench import common_ingestion as common
from tests.bench.bench_recompute import ROOT, STORED
from tests.bench.common_ingestion import PROJECT
from tests.support.ingesting import add_tenant

DAY = date(2026, 1, 5)
WRITTEN, DOUBLED = 2_000, 4
"""Rows that are generated, and how often their table is then doubled: 32,000 rows, the table of a day. The
other days are copies. The emulator sends a table in one message of at most 11 MB, where BigQuery sends many
small ones."""
A_DAY = WRITTEN * 2**DOUBLED
PARALLEL = 4
"""Parts at once, a worker's default. Each takes two connections."""
SMALL, REPEATED = 100, 20
"""Rows of a small part, and how often it is read each way."""
NAMES = {"page_view": "BigQuery", "users": "SFTP", "common page_view": "BigQuery, the common way"}
NAMES |= {"users again": "SFTP, the next day", "common users": "SFTP, the common way"}
NAMES |= {"common users again": "SFTP, the next day, the common way"}
NAMES |= {"users, COPY alone": "SFTP, the file as it is by COPY into an empty table"}
CHANGED = 100
"""Of so many rows of a file one is another the next day."""


class Source:
    """Both sources, as a job's worker has them."""

    ceilings = Ceilings()

    def __init__(self, places: dict[str, Any]) -> None:
        self._bigquery = BigQuery(None, address=places["bigquery"], storage=places["storage"])
        self._events = Events(self._bigquery, Dataset(PROJECT, DATASET), lambda: DAY)
        self._files = Files(_server(places), Format(), lambda _: None, lambda: DAY, settle_seconds=0)

    def target(self, kind: str) -> Target:
        """See `Sources`."""
        return files.target(kind) if kind in FILES else ga4.target(kind)

    def open(self, part: Part) -> Any:
        """See `Sources`."""
        return self._files.open(part) if part.kind in FILES else self._events.open(part)

    def close(self) -> None:
        """See `Sources`."""
        self._bigquery.close()


def _server(places: dict[str, Any]) -> Server:
    return Server("127.0.0.1", places["port"], USER, places["host_key"], PASSWORD)


@dataclass(frozen=True, slots=True)
class Measured:
    """One load.

    Attributes:
        waited: seconds of the common way until the emulator had answered.
    """

    what: str
    rows: int
    seconds: float
    peak: float
    waited: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds

    def __str__(self) -> str:
        """A line of the table."""
        return f"| {self.rows:,} | {NAMES[self.what]} | {self.rate:,.0f} | {self.peak:.0f} |"


def main(*, quick: bool) -> None:
    """Measure, print, and store unless it is a quick look."""
    days, sizes = ((1, 2), (20_000, 40_000)) if quick else ((1, 4, 12, 32), (100_000, 1_000_000))
    load = os.getloadavg()[0]
    begun = time.monotonic()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as name, _stack(Path(name), max(days)) as stack:
        _say(begun, f"{max(days) * A_DAY:,} events are in the emulator")
        small = _small(stack)
        _say(begun, small)
        for what, amount in (
            *(("page_view", each) for each in days),
            ("common page_view", 1),
            *((kind, each) for each in sizes for kind in ("users", "users again")),
            *((kind, sizes[0]) for kind in ("common users", "common users again", "users, COPY alone")),
        ):
            found.append(stack.load(what, amount))
            _say(begun, str(found[-1]))
    lines = ["| rows | what | rows a second | peak MB |", "|---|---|---|---|", *map(str, found), ""]
    by_name = {(each.what, each.rows): each for each in found}
    for kind, size in (("page_view", A_DAY), ("users", sizes[0]), ("users again", sizes[0])):
        usual = by_name[f"common {kind}", size]
        ratio = by_name[kind, size].rate / usual.rate
        lines.append(f"- {NAMES[kind]}: {ratio:.1f} times the common way, at {size:,} rows.")
        if usual.waited:
            lines[-1] += f" Of its {usual.seconds:.0f} s it waited {usual.waited:.0f} s for the emulator."
    machine = f"{os.cpu_count()} cores; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    lines += [f"- {small}", f"- {machine}; {time.monotonic() - begun:.0f} seconds in all."]
    print("\n".join(lines))
    if not quick:
        doc = " ".join((__doc__ or "").split())
        said = ["# Ingestion", "", f"`make bench NAME=ingestion`. {doc}", "", *lines, "", BOUNDED, ""]
        (STORED / "ingestion.md").write_text("\n".join(said))


BOUNDED = (
    f"Memory does not grow with the rows. A worker holds {PARALLEL} parts at once "
    "(`LIBRA_INGESTION_PARALLEL`). Of events each part holds the messages that wait in its queue, four at "
    "most, and a batch of 1,000 rows. A file is copied to disk, and read in batches of 5,000 rows or 4 MiB "
    "of text. A line of more than 1 MiB is not held. PostgreSQL holds what is staged on its disk."
    "\n\n"
    "Five times the common way, which is the aim, leaves no time to look at the rows of a file: PostgreSQL "
    "itself is hardly quicker when nobody does (the last line of the table). Of a row's 11 microseconds, "
    "reading and checking it takes 3, COPY into the staging table 2, the look for doubled keys 1, and the "
    "merge 5, or 2 where the row is as it was."
)


def _say(begun: float, what: str) -> None:
    print(f"{time.monotonic() - begun:4.0f} s  {what}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Stack:
    """The servers, filled."""

    emulator: Emulator
    url: str
    sftp: SftpServer

    @property
    def places(self) -> dict[str, Any]:
        """Where the sources are."""
        return {
            "bigquery": self.emulator.url,
            "storage": self.emulator.storage,
            "port": self.sftp.port,
            "host_key": self.sftp.host_key,
        }

    def load(self, what: str, amount: int) -> Measured:
        """Load so many days, or rows of a file, in a process of its own."""
        size = amount * A_DAY
        if "users" in what:
            size, name = amount, "Other" if what.endswith("again") else "Name"
            with (self.sftp.folder / f"users_{DAY}.csv").open("w") as file:
                file.write("user_id,email,name,location_id,created_on\n")
                file.writelines(
                    f"u{it},u{it}@shop.example,{'Name' if it % CHANGED else name},l1,2026-01-01\n"
                    for it in range(size)
                )
        command = [sys.executable, "-m", __name__, what, str(amount), self.url, json.dumps(self.places)]
        ended = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        rows, seconds, peak, waited = json.loads(ended.stdout)
        assert rows == size, (what, rows, size)
        return Measured(what, rows, seconds, peak, waited)


@contextmanager
def _stack(folder: Path, days: int) -> Iterator[Stack]:
    with (
        Emulator.prepare(os.environ, folder / "bigquery.txt") as emulator,
        PostgresServer(folder) as server,
        SftpServer(folder / "files") as sftp,
        Export(emulator.url, PROJECT) as export,
    ):
        first = f"`{PROJECT}.{DATASET}.events_{DAY:%Y%m%d}`"
        export.write(f"events_{DAY:%Y%m%d}", (row(DAY, number, "page_view") for number in range(WRITTEN)))
        for _ in range(DOUBLED):
            common.query(emulator.url, f"INSERT INTO {first} SELECT * FROM {first}")
        for number in range(1, days):
            day = f"{DAY + timedelta(number):%Y%m%d}"
            export.write(f"events_{day}", ())
            copied = f"SELECT * REPLACE ('{day}' AS event_date) FROM {first}"
            common.query(emulator.url, f"INSERT INTO `{PROJECT}.{DATASET}.events_{day}` {copied}")
        small = DAY - timedelta(1)
        export.write(f"events_{small:%Y%m%d}", (row(small, number, "page_view") for number in range(SMALL)))
        with Postgres.connect(server.url()) as postgres:
            books = Books(postgres)
            books.migrate()
            add_tenant(books, "acme")
        yield Stack(emulator, server.url(), sftp)


def _small(stack: Stack) -> str:
    """How long a small part takes to be read, by a session and by a query."""
    day = DAY - timedelta(1)
    with closing(Source(stack.places)) as source:

        def session() -> int:
            return sum(len(batch.rows) for batch in source.open(Part("page_view", day)).batches())

        def query() -> int:
            source.open(Part("page_view", day))
            return sum(
                bool(ga4.flatten("page_view", day, each)) for each in common.rows_of(stack.emulator.url, day)
            )

        taken = {"the Storage Read API": session, "a query": query}
        said = [f"{_median(read) * 1_000:.0f} ms by {name}" for name, read in taken.items()]
    return f"A part of {SMALL} rows is counted and read in {', in '.join(said)} (median of {REPEATED})."


def _median(read: Callable[[], int]) -> float:
    times = []
    for _ in range(REPEATED):
        begun = time.monotonic()
        assert read() == SMALL
        times.append(time.monotonic() - begun)
    return statistics.median(times)


def _child(what: str, amount: int, url: str, places: dict[str, Any]) -> None:
    begun = time.monotonic()
    if what == "common page_view":
        rows = common.events(url, places["bigquery"], DAY)
    elif what == "users, COPY alone":
        rows = common.copied(url, _server(places), DAY)
    elif what.startswith("common users"):
        rows = common.users(url, _server(places), DAY, again=what.endswith("again"))
    else:
        rows = _job(what.removesuffix(" again"), amount, url, places)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    print(json.dumps([rows, time.monotonic() - begun, peak, sum(common.waits)]))


def _job(kind: str, days: int, url: str, places: dict[str, Any]) -> int:
    most = 2 * PARALLEL + 2
    with (
        Postgres.connect(url, most=most, statement_seconds=900) as postgres,
        closing(Source(places)) as source,
    ):
        books = Books(postgres)
        last = DAY + timedelta(days - 1)
        request = Request((kind,), None, None) if kind in FILES else Request((kind,), DAY, last)
        job, _ = Jobs(books).start("acme", request)
        Worker(books, lambda _: source, name="bench", parallel=PARALLEL).once()
        ended = Jobs(books).find("acme", job.job_id)
        assert ended.state == "completed", ended.error_message
        return ended.records[kind]["loaded"]


if __name__ == "__main__":
    _child(sys.argv[1], int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
