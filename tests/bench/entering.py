"""Three ways of a batch of parts into PostgreSQL, side by side: why `statements.py` has binary arrays."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from local.databases import PostgresServer
from services.usage import statements
from services.usage.books import Books, _columns
from shared.parts import Name, Part
from shared.postgres import Cursor, Postgres

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
COLUMNS = "merchant_id text, date date, metric_type text, hour timestamptz, incarnation text, value bigint"
TYPES = ("text", "date", "text", "timestamptz", "text", "int8")


@dataclass(frozen=True)
class Entered:
    """What one way costs."""

    way: str
    batch: int
    """Parts in one transaction."""
    micros: float
    """Of a part, in all."""
    client_cpu: float
    """Microseconds of a part."""
    server_cpu: float


def enter(folder: Path, *, quick: bool) -> list[Entered]:
    """Measure each way with batches of several sizes, from empty tables each time."""
    count, sizes = (10_000, (1_000, 10_000)) if quick else (100_000, (1_000, 10_000, 100_000))
    parts = [
        Part(Name(f"m{n // 10}", NOON.date(), f"metric{n % 10}", NOON, "0123456789abcdef"), n + 1)
        for n in range(count)
    ]
    found = []
    with PostgresServer(folder) as server:
        for size in sizes:
            for way, join in WAYS.items():
                with _empty(server) as connection:
                    wall, cpu, server_cpu = time.perf_counter(), time.process_time(), _used(connection)
                    for begin in range(0, count, size):
                        with connection.transaction(), connection.cursor() as cursor:
                            join(cursor, parts[begin : begin + size])
                    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                    server_cpu = _used(connection) - server_cpu
                each = 1e6 / count
                found.append(Entered(way, size, each * wall, each * cpu, each * server_cpu))
    return found


def _used(connection: psycopg.Connection[Any]) -> float:
    """The seconds of CPU that the server's process of a connection has used (Linux)."""
    stat = Path(f"/proc/{connection.info.backend_pid}/stat").read_text("ascii")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _empty(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS entering WITH (FORCE)")
        admin.execute("CREATE DATABASE entering")
    with Postgres.connect(server.url("entering")) as postgres:
        Books(postgres).migrate()
    with psycopg.connect(server.url("entering"), options="-c TimeZone=UTC") as connection:
        yield connection


def _binary(cursor: Cursor, parts: Sequence[Part]) -> None:
    cursor.execute(statements.JOIN, _columns(parts))


def _text(cursor: Cursor, parts: Sequence[Part]) -> None:
    cursor.execute(statements.JOIN.replace("%b", "%s"), _columns(parts))


def _copy(cursor: Cursor, parts: Sequence[Part]) -> None:
    cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS staged ({COLUMNS}) ON COMMIT DELETE ROWS")
    with cursor.copy("COPY staged FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(TYPES)
        for name, value in parts:
            copy.write_row((*name, value))
    cursor.execute(statements.JOIN.replace(f"unnest({statements._PARTS})", "staged"))


WAYS: dict[str, Callable[[Cursor, Sequence[Part]], None]] = {
    "text": _text,
    "binary": _binary,
    "COPY": _copy,
}
