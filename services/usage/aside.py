"""What is set aside, row by row; an operator forgets a row that nobody will bill.

A row that cannot be read goes away: if it still stands in Redis, the next flush sets it aside again. A late
part stays as a row that is hidden, with what was forgotten of it: it may come again, and must not be admitted
then. What it gains later is late anew.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast

from services.usage import statements
from services.usage.books import LOCK, add_run
from shared.errors import Invalid
from shared.postgres import Cursor, Postgres

LEAST = 8
"""The fewest characters that name a row: the first ones of its id."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of Redis that is on no bill."""

    id: str
    key: str
    field: str
    raw: str
    """What stood there."""
    reason: str
    due: int
    """The usage that `libra usage admit` would book."""
    last_seen: datetime


def rows(postgres: Postgres, most: int) -> list[Row]:
    """What is set aside, the newest first."""
    found = postgres.transaction(lambda it: it.execute(statements.ROWS, (most,)).fetchall())
    return [Row(*cast("Any", row)) for row in found]


def forget(postgres: Postgres, names: Sequence[str], because: str) -> list[Row]:
    """Forget rows; they are kept in a record of the runs, with the reason.

    Args:
        postgres: the books.
        names: of each row the first characters of its id, eight at least.
        because: why nobody will bill them.

    Raises:
        Invalid: a name is of no row, or of several. Nothing was forgotten.
    """

    def work(cursor: Cursor) -> list[Row]:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        forgotten = [_forget(cursor, name) for name in names]
        report = {"because": because, "records": len(forgotten), "rows": [asdict(it) for it in forgotten]}
        add_run(cursor, "forget", datetime.now(UTC), report)
        return forgotten

    return postgres.transaction(work, repeatable=False)


def _forget(cursor: Cursor, name: str) -> Row:
    found = cursor.execute(statements.NAMED, (name,)).fetchall() if len(name) >= LEAST else []
    if len(found) != 1:
        which = f"several rows: {found[0][0]} and {found[1][0]} among them" if found else "no row"
        raise Invalid(
            f"{name!r} names {which}; the first characters of one row's id are allowed, {LEAST} at least: "
            "libra usage aside. Nothing was forgotten"
        )
    row = Row(*cast("Any", found[0]))
    cursor.execute(statements.FORGET, (row.due, row.id))
    cursor.execute(statements.DROP, (row.id,))
    return row
