"""Files of users on an SFTP server, and jobs that load them."""

from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from local.sftp import PASSWORD, USER, SftpServer
from services.ingestion import files
from services.ingestion.books import Books
from services.ingestion.files import Format
from services.ingestion.jobs import Job, Jobs
from services.ingestion.requests import Part, Request
from services.ingestion.rows import Ceilings, Target
from services.ingestion.sftp import Files
from services.ingestion.sftp import Server as Known
from services.ingestion.worker import Worker
from tests.support.ingesting import rows

TODAY = date(2026, 1, 5)
HEAD = "user_id,email,name,location_id,created_on,plan\n"


def users(count: int, start: int = 0) -> str:
    """A file of users."""
    return HEAD + "".join(
        f"u{it},u{it}@shop.example,Name {it},l1,2026-01-01,free\n" for it in range(start, count)
    )


def write(sftp: SftpServer, name: str, text: str, encoding: str = "utf-8") -> Path:
    """Put a file there."""
    path = sftp.folder / name
    path.write_bytes(text.encode(encoding))
    return path


class Server(NamedTuple):
    """An SFTP server of another process."""

    port: int
    host_key: str


class Source:
    """The files alone."""

    ceilings = Ceilings()

    def __init__(
        self,
        books: Books,
        sftp: SftpServer | Server,
        form: Format = Format(),  # noqa: B008
        **changed: Any,
    ) -> None:
        where: dict[str, Any] = {"host": "127.0.0.1", "port": sftp.port, "user": USER, "password": PASSWORD}
        stall = changed.pop("stall", 30)
        server = Known(**(where | {"host_key": sftp.host_key} | changed))
        self.files = Files(
            server,
            form,
            self.loaded,
            lambda: TODAY,
            settle_seconds=changed.pop("settle", 0),
            stall_seconds=stall,
        )
        self.books = books

    def loaded(self, kind: str) -> tuple[date, str] | None:
        """The latest of the books."""
        found = rows(
            self.books,
            "acme",
            "SELECT day, sha256 FROM ingest_book WHERE kind = %s ORDER BY day DESC LIMIT 1",
            kind,
        )
        return found[0] if found else None

    def close(self) -> None:
        """See `Sources`."""

    def target(self, kind: str) -> Target:
        """See `Sources`."""
        return files.target(kind)

    def open(self, part: Part) -> Any:
        """See `Sources`."""
        return self.files.open(part)


def run(books: Books, source: Source, kind: str = "users") -> Job:
    """Load a kind."""
    job, _ = Jobs(books).start("acme", Request((kind,), None, None))
    Worker(books, lambda _: source, name="w", sleep=lambda _: None).once()
    return Jobs(books).find("acme", job.job_id)


def held(books: Books) -> dict[str, date | None]:
    """The users, and when each left."""
    return dict(rows(books, "acme", "SELECT user_id, left_on FROM ingest_user"))


def named(books: Books) -> dict[str, tuple[str, date | None]]:
    """The users, what each is called and when each left."""
    found = rows(books, "acme", "SELECT user_id, name, left_on FROM ingest_user")
    return {user: (name, left) for user, name, left in found}


GOOD = users(200)
BAD_QUOTE = GOOD.replace("Name 7,", '"Na"me 7,').replace("Name 9,", '"Name 9,')
