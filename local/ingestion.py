"""Ingestion in the local stack: a shop in BigQuery and on an SFTP server, PostgreSQL, a worker, the API."""

import base64
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

from local.bigquery import BigQuery
from local.databases import PostgresServer
from local.errors import StackError
from local.ga4 import DATASET, Export
from local.process import Child, free_port, wait_until
from local.served import START_SECONDS, Served
from local.sftp import PASSWORD, USER, SftpServer
from local.shop import DAYS, Shop
from local.stack import LocalStack
from services.ingestion import secrets
from services.ingestion.books import Books
from services.ingestion.jobs import OPEN, Job, Jobs
from services.ingestion.requests import KINDS, asked
from services.ingestion.settings import IngestionSettings
from services.ingestion.tenants import Tenants
from shared import postgres
from shared.postgres import Postgres

TENANT = "shop"
USUAL_PORT = 8002
LOOKS = '"message": "The worker looks for jobs"'
JOB_SECONDS = 300


class Ingestion:
    """A shop's sources, a worker and the API. A context manager: up inside, gone after.

    Attributes:
        shop: what is in the sources.
        environment: what the worker and the API are given, with every address.
        token: the tenant's, once it is up.
        worker: the process of the worker, once it is up.
        api: the process of the API.
        export: writes into BigQuery, once it is up.
    """

    token: str
    worker: Child
    export: Export

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] = os.environ,
        *,
        shared: Mapping[str, str] | None = None,
        load: bool = False,
        days: int = DAYS,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: where logs and files go.
            environment: the variables that processes are given.
            shared: addresses of a PostgreSQL and of a BigQuery emulator that run already; what is not there
                is started.
            load: whether everything is loaded at the start, and the sources changed after that.
            days: days of the export.
            say: called with what takes a while.

        Raises:
            StackError: PostgreSQL or the emulator is not there and cannot be installed.
        """
        there = shared or {}
        self._folder, self._load, self._say = folder, load, say
        self._postgres = None if postgres.VARIABLE in there else PostgresServer(folder)
        self._bigquery = (
            None
            if BigQuery.storage_variable in there
            else BigQuery.prepare(environment, folder / "bigquery-ingestion.txt", say=say)
        )
        addresses = {
            name: there[name]
            for name in (postgres.VARIABLE, BigQuery.variable, BigQuery.storage_variable)
            if name in there
        }
        if self._postgres:
            addresses[postgres.VARIABLE] = self._postgres.url()
        if self._bigquery:
            addresses |= self._bigquery.exports
        self._addresses = addresses | {secrets.VARIABLE: base64.b64encode(os.urandom(32)).decode()}
        self.environment = {"GOOGLE_CLOUD_PROJECT": "demo-libra"} | dict(environment) | self._addresses
        self.environment["LIBRA_INGESTION_LOG_DIR"] = ""  # what the worker says is read from its output
        self._sftp = SftpServer(folder / "sftp")
        self.shop = Shop(self._sftp.folder, datetime.now(UTC).date(), days)
        self.api = Served.ingestion(folder / "ingestion-api.txt", self.environment, free_port(USUAL_PORT))
        self._workers = 0
        self._stop = ExitStack()

    @classmethod
    def of(cls, stack: LocalStack, exported: Mapping[str, str]) -> Self:
        """For the stack that is up, beside what `exported` has the addresses of; raises StackError."""
        return cls(stack.folder, stack.environment, shared=exported, load=True, say=stack.say)

    @property
    def where(self) -> dict[str, str]:
        """What there is, and its address."""
        first = self.shop.first
        return {
            "ingestion": f"http://{self.api.address}   tenant {TENANT}; read it: /docs",
            "PostgreSQL": f"{self._addresses[postgres.VARIABLE]}   events since {first}",
            "GA4": f"{self._addresses[BigQuery.variable]}   dataset {DATASET}, some rows late: "
            f"libra ingest verify {TENANT}",
            "SFTP": f"sftp://{USER}@127.0.0.1:{self._sftp.port}   password {PASSWORD}; {self._sftp.folder}",
        }

    @property
    def exports(self) -> dict[str, str]:
        """What another terminal needs."""
        own = {"LIBRA_INGESTION_URL": f"http://{self.api.address}", "LIBRA_INGESTION_TOKEN": self.token}
        return self._addresses | own

    def __enter__(self) -> Self:
        """Start everything, and fill the sources; raises StackError."""
        with ExitStack() as started:
            if self._postgres:
                started.enter_context(self._postgres)
            if self._bigquery:
                started.enter_context(self._bigquery)
            started.enter_context(self._sftp)
            url, project = self._addresses[BigQuery.variable], self.environment["GOOGLE_CLOUD_PROJECT"]
            self.export = started.enter_context(Export(url, project))
            self._say(f"Writing {self.shop.days} days of a shop's events into BigQuery …")
            self.shop.write(self.export)
            self.token = self._add_tenant(project)
            self.start_worker()
            started.callback(self._end_worker)
            self.api.start()
            started.callback(self.api.stop)
            if self._load:
                self._say("Loading them into PostgreSQL …")
                self.finish(self.begin(self.shop.first))
                self.shop.change(self.export)
            self._stop = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the API and the worker, then the servers. What is in them is gone."""
        self._stop.close()

    def ended(self) -> str | None:
        """What to say if a process ended by itself."""
        servers = (each.ended for each in (self._postgres, self._bigquery) if each)
        return next(filter(None, (*servers, self.worker.ended, self.api.ended)), None)

    def start_worker(self) -> None:
        """Start a worker; raises StackError."""
        self._workers += 1
        log = self._folder / f"ingestion-worker-{self._workers}.txt"
        command = [sys.executable, "-m", "services.ingestion"]
        self.worker = Child("the worker of ingestion", command, log, self.environment)
        self.worker.wait_healthy(lambda: LOOKS in log.read_text("utf-8"), seconds=START_SECONDS)

    def kill_worker(self) -> None:
        """End the worker as a crash would, and start another one in its place; raises StackError."""
        self.worker.kill()
        self.start_worker()

    @contextmanager
    def books(self) -> Iterator[Books]:
        """The tables."""
        with Postgres.connect(self._addresses[postgres.VARIABLE]) as opened:
            yield Books(opened)

    def begin(self, first: date | None = None) -> str:
        """Start a job of everything; its id. ``first``: the first day; None: the usual four days."""
        with self.books() as books:
            job, _ = Jobs(books).start(TENANT, asked(KINDS, first, self.shop.last, self.shop.last))
        return job.job_id

    def finish(self, job_id: str) -> Job:
        """Wait until a job has ended.

        Raises:
            StackError: it did not complete.
        """
        with self.books() as books:
            jobs = Jobs(books)
            wait_until(
                lambda: jobs.find(TENANT, job_id).state not in OPEN,
                seconds=JOB_SECONDS,
                what=f"job {job_id} ended",
            )
            job = jobs.find(TENANT, job_id)
        if job.state != "completed":
            raise StackError(f"job {job_id} is {job.state}: {job.error_code}: {job.error_message}")
        return job

    def _end_worker(self) -> None:
        self.worker.stop()

    def _add_tenant(self, project: str) -> str:
        sftp = {"host": "127.0.0.1", "port": self._sftp.port, "user": USER, "host_key": self._sftp.host_key}
        vault = IngestionSettings.from_environment(self.environment).vault
        with self.books() as books:
            books.migrate()
            tenants = Tenants(books)
            token = tenants.add(TENANT, {"project": project, "dataset": DATASET, "sftp": sftp})
            tenants.set_secret(TENANT, "sftp", vault.seal(TENANT, "sftp", PASSWORD))
        return token
