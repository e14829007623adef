"""Workers in processes of their own, each of which kills itself before its n-th exchange with PostgreSQL.

Run as a script with a database's address, and port and host key of an SFTP server if there is one. It reads
lines with n and the first number of the source's rows, forks a worker for each, waits for its end and prints
its exit status and how many exchanges there were.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg

from services.ingestion.books import Books
from services.ingestion.worker import Worker
from shared.postgres import Postgres
from tests.support.ingesting import Shelf, week
from tests.support.user_files import Server, Source

seen = 0


def counted(most: int, exchange: Callable[..., Any]) -> Callable[..., Any]:
    """An exchange that is counted; the one after the last that goes through is never made."""

    def call(*args: Any, **named: Any) -> Any:
        global seen  # noqa: PLW0603 - one for the process
        if seen == most:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1
        return exchange(*args, **named)

    return call


def work(url: str, sftp: Server | None, most: int, first: int) -> None:
    """Claim a job and work on it."""
    with Postgres.connect(url) as postgres:
        psycopg.Cursor.execute = counted(most, psycopg.Cursor.execute)  # type: ignore[method-assign]
        psycopg.Copy.write_row = counted(most, psycopg.Copy.write_row)  # type: ignore[method-assign]
        psycopg.Connection.commit = counted(most, psycopg.Connection.commit)  # type: ignore[method-assign]
        books = Books(postgres)
        source = Source(books, sftp) if sftp else Shelf(week(days=2, rows=3, first=first)[1], size=2)
        length = timedelta(minutes=10)
        Worker(books, lambda _: source, name="killed", parallel=1, length=length).once()


def main(url: str, *sftp: str) -> None:
    """One worker for each line."""
    server = Server(int(sftp[0]), sftp[1]) if sftp else None
    for line in sys.stdin:
        most, first = map(int, line.split())
        child = os.fork()
        if not child:
            work(url, server, most, first)
            print(0, seen, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(os.waitstatus_to_exitcode(status), most, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
