"""The one door to PostgreSQL: a pool, transactions that are tried again by class of error, migrations.

**What may be tried again.** A transaction that failed before its COMMIT was sent was not applied, whatever
the reason: it is tried again where another try may go better. When the COMMIT itself got no answer, nobody
knows. Then only work that may be applied twice is tried again: a join, as every part enters by one. The
caller says so (``repeatable``).

Every error of the driver becomes one of `shared.errors`, and names the server without its password.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString, Self, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

import psycopg
from psycopg import errors as sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.errors import (
    AlreadyExists,
    Contention,
    Denied,
    Invalid,
    MigrationError,
    SettingError,
    StoreError,
    Transient,
)
from shared.retry import Retry

T = TypeVar("T")
Row: TypeAlias = tuple[object, ...]
Connection: TypeAlias = psycopg.Connection[Row]
Cursor: TypeAlias = psycopg.Cursor[Row]
ServerCursor: TypeAlias = psycopg.ServerCursor[Row]

VARIABLE = "LIBRA_POSTGRES_URL"
CONNECT_SECONDS = 10
"""How long a connection may take."""
STATEMENT_SECONDS = 60
"""How long a statement may take before the server ends it; a caller may ask for more."""
RETRY = Retry(attempts=6, first=0.05, longest=5.0)
"""How often a transaction is tried, and the pauses in seconds."""
_LOCK = 36_126_982
"""The advisory lock of migrations: `int("libra", 36)`. One for all components."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a component's tables: applied once, in the order of the numbers, and never changed."""

    number: int
    name: str
    sql: LiteralString

    @property
    def digest(self) -> str:
        """What tells whether a migration that was applied is this one."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Postgres:
    """One database. Threads may use it at once; close it once. Made by `connect`.

    After a fork a child makes its own: connections cannot be shared.
    """

    def __init__(
        self, pool: ConnectionPool[Connection], server: str, retry: Retry, sleep: Callable[[float], None]
    ) -> None:
        self._pool = pool
        self._retry = retry
        self._sleep = sleep
        self.server = server
        """Host, port and database, for messages."""

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        most: int = 4,
        connect_seconds: float = CONNECT_SECONDS,
        statement_seconds: float = STATEMENT_SECONDS,
        retry: Retry = RETRY,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        """Connect, and fail at once where nothing answers.

        Args:
            url: `postgresql://user:password@host:port/database`.
            most: connections at once.
            connect_seconds: how long a caller waits for a connection, in each try.
            statement_seconds: how long a statement may take before the server ends it.
            retry: how often a transaction is tried, and the pauses.
            sleep: what waits between two tries.

        Raises:
            SettingError: the address is none.
            Denied: the server refuses user, password or database.
            Transient: nothing answers there.
        """
        server = _server(url)
        theirs = conninfo_to_dict(url).get("options", "")
        options = f"-c statement_timeout={int(statement_seconds * 1000)} {theirs} -c TimeZone=UTC"
        arguments = {"connect_timeout": CONNECT_SECONDS, "application_name": "libra", "options": options}
        with _translated(server):
            psycopg.connect(url, **arguments).close()  # type: ignore[arg-type]  # libpq's own options
        pool = ConnectionPool(
            url,
            kwargs=arguments,
            min_size=1,
            max_size=most,
            timeout=connect_seconds,
            check=ConnectionPool.check_connection,
            connection_class=cast("type[Connection]", psycopg.Connection),
            open=True,
        )
        return cls(pool, server, retry, sleep)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def transaction(self, work: Callable[[Cursor], T], *, repeatable: bool = True) -> T:
        """Do work in one transaction, and commit it; what it returns.

        Args:
            work: given a cursor; it may be called several times, and only its last call is committed.
            repeatable: whether it may be committed twice, where nobody knows if it was committed once.

        Raises:
            Transient: tried often enough; whether it was applied is unknown.
            Contention: the same, and it was not applied.
            StoreError: another try cannot go better. Nothing was applied.
        """
        for attempt in self._retry.each(self._sleep, retried=Transient if repeatable else Contention):
            with attempt:
                return self._once(work)
        raise AssertionError  # pragma: no cover - the last attempt raises

    def rows(self, ask: Callable[[ServerCursor, Row | None], object], at_once: int) -> Iterator[Row]:
        """The rows of a query, which the server reads once. ``at_once`` of them are in memory here.

        Args:
            ask: given a cursor, executes the query. Where the connection breaks off it is called again, with
                the last row that came, to execute what gives the rows behind it.
            at_once: rows that are fetched together.

        Raises:
            Transient: tried often enough.
            StoreError: another try cannot go better.
        """
        last: Row | None = None
        for attempt in self._retry.each(self._sleep):
            with attempt:
                with (
                    _translated(self.server),
                    self._pool.connection() as connection,
                    connection.cursor("libra") as cursor,
                ):
                    cursor.itersize = at_once
                    ask(cursor, last)
                    for last in cursor:
                        yield last
                return

    def _once(self, work: Callable[[Cursor], T]) -> T:
        with _translated(self.server), self._pool.connection() as connection:
            try:
                with connection.cursor() as cursor:
                    result = work(cursor)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raised = _of(error, self.server)
                if type(raised) is Transient:  # no COMMIT was sent: nothing was applied
                    raised = Contention(str(raised))
                raise raised from error
            connection.commit()
            return result

    def migrate(self, component: str, migrations: Sequence[Migration]) -> list[int]:
        """Apply what was not applied yet, all in one transaction; the numbers of it.

        Whoever comes second waits for the first, and finds nothing to do.

        Raises:
            MigrationError: one that was applied was another one then, or one cannot be applied. Nothing was.
        """
        return self.transaction(lambda cursor: _migrate(cursor, component, migrations))


def _migrate(cursor: Cursor, component: str, migrations: Sequence[Migration]) -> list[int]:
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    cursor.execute("SET LOCAL lock_timeout = '60s'")
    cursor.execute("SET LOCAL statement_timeout = 0")  # a large table may be written anew
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS libra_migration (component text, number integer, name text NOT NULL,"
        " digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),"
        " PRIMARY KEY (component, number))"
    )
    cursor.execute("SELECT number, digest FROM libra_migration WHERE component = %s", (component,))
    applied = dict(cast("list[tuple[int, str]]", cursor.fetchall()))
    for each in migrations:
        if applied.get(each.number, each.digest) != each.digest:
            raise MigrationError(
                f"migration {component}/{each.number} ({each.name}) was another one when it was applied: "
                "a migration never changes; add one with the next number"
            )
    missing = [each for each in sorted(migrations, key=lambda it: it.number) if each.number not in applied]
    for each in missing:
        try:
            cursor.execute(each.sql)
        except (sql.RaiseException, psycopg.ProgrammingError, psycopg.IntegrityError) as error:
            found = error.diag.message_primary or str(error)
            raise MigrationError(
                f"migration {component}/{each.number} ({each.name}): {found}; nothing was changed"
            ) from error
        cursor.execute(
            "INSERT INTO libra_migration (component, number, name, digest) VALUES (%s, %s, %s, %s)",
            (component, each.number, each.name, each.digest),
        )
    return [each.number for each in missing]


_HALF_ESCAPED = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _server(url: str) -> str:
    """Where an address leads. Of one that is not understood a message shows what cannot be a password."""
    allowed = (
        "postgresql://user:password@host:port/database; %, @, / and ? of a password are %25, %40, %2F, %3F"
    )
    try:
        parts = urlsplit(url)
        conninfo_to_dict(url)
        usable = parts.scheme in {"postgresql", "postgres"} and bool(parts.path.strip("/"))
        where = f"{parts.hostname or 'local'}:{parts.port or 5432}{parts.path}"
    except (ValueError, psycopg.ProgrammingError):
        usable, where = False, ""
    if not usable or "@" in where:
        raise SettingError(VARIABLE, f"({len(url)} characters)", allowed)  # any part may be of the password
    return where


def reason(error: StoreError) -> str:
    """What the server said, for people who are not to learn where it is."""
    cause = error.__cause__
    return (cause.diag.message_primary if isinstance(cause, psycopg.Error) else None) or type(error).__name__


@contextmanager
def _translated(server: str) -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise Contention(f"PostgreSQL {server}: no connection: {error}") from error
    except psycopg.Error as error:
        raise _of(error, server) from error


_CLASSES: tuple[tuple[type[psycopg.Error] | tuple[type[psycopg.Error], ...], type[StoreError]], ...] = (
    ((sql.SerializationFailure, sql.DeadlockDetected, sql.LockNotAvailable), Contention),
    (sql.UniqueViolation, AlreadyExists),
    ((sql.ProgramLimitExceeded, sql.StatementTooComplex), Invalid),  # the driver calls them operational
    (
        (
            sql.InsufficientPrivilege,
            sql.InvalidAuthorizationSpecification,
            sql.InvalidCatalogName,
        ),
        Denied,
    ),
    ((psycopg.OperationalError, psycopg.InterfaceError), Transient),
)
"""The class of ours for each class of the driver's, the first that fits; `Invalid` for the rest."""

_DENIED = ("password authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")
"""What a server says that refuses to let somebody in: the driver gives no code for it."""


def _of(error: psycopg.Error, server: str) -> StoreError:
    text = f"PostgreSQL {server}: {error.diag.message_primary or str(error).strip()}"
    if error.sqlstate is None and any(each in text for each in _DENIED):
        return Denied(text)
    kind = next((ours for theirs, ours in _CLASSES if isinstance(error, theirs)), Invalid)
    return kind(text)
