"""What readers ask of usage: a merchant's windows by hour, day, week or month; who uses most."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, cast

from psycopg import sql

from shared.postgres import Cursor, Postgres

Grain = Literal["hour", "day", "week", "month"]
GRAINS: tuple[Grain, ...] = ("hour", "day", "week", "month")
MOST = 10_000
"""Rows of an answer."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a merchant has used of a metric in one window."""

    begin: date | datetime
    """The first date, or the instant at which the hour begins."""
    metric: str
    value: int
    sealed: bool
    """Whether every hour of it that has usage is sealed."""


@dataclass(frozen=True, slots=True)
class Read:
    """An answer, of one instant."""

    exact_through: datetime | None
    """Hours that ended by then are sealed; None: none is."""
    windows: list[Window]


@dataclass(frozen=True, slots=True)
class Top:
    """What a merchant has used of a metric in all."""

    merchant: str
    metric: str
    value: int


def windows(
    postgres: Postgres, merchant: str, grain: Grain, *, first: date | None = None, last: date | None = None
) -> Read:
    """A merchant's windows, the newest first, at most 10,000.

    Args:
        postgres: the books.
        merchant: whose.
        grain: the length of a window.
        first: leave out what was used before this date.
        last: and after this one. Windows of weeks and months are whole where the dates allow.
    """
    begins = {"hour": "hour", "day": "date", "week": "date_trunc('week', date)::date"}
    begin = sql.SQL(cast("Any", begins.get(grain, "date_trunc('month', date)::date")))
    statement = sql.SQL(
        "SELECT {}, metric_type, sum(metric_value)::bigint, bool_and(sealed) FROM merchant_usage_hours"
        " WHERE merchant_id = %s"
        " AND date BETWEEN coalesce(%s::date, '-infinity') AND coalesce(%s::date, 'infinity')"
        " GROUP BY 1, 2 ORDER BY 1 DESC, 2 LIMIT %s"
    ).format(begin)

    def work(cursor: Cursor) -> Read:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        (through,) = cast("Any", cursor.execute("SELECT sealed_through FROM usage_state").fetchone())
        rows = cursor.execute(statement, (merchant, first, last, MOST)).fetchall()
        return Read(through, [Window(*cast("Any", row)) for row in rows])

    return postgres.transaction(work)


def top(postgres: Postgres, most: int, *, first: date | None = None, last: date | None = None) -> list[Top]:
    """The merchants that use most of each metric, the largest first."""
    statement = (
        "SELECT merchant_id, metric_type, used FROM ("
        " SELECT merchant_id, metric_type, sum(metric_value)::bigint AS used,"
        "  row_number() OVER (PARTITION BY metric_type ORDER BY sum(metric_value) DESC, merchant_id) AS place"
        " FROM merchant_usage"
        " WHERE date BETWEEN coalesce(%s::date, '-infinity') AND coalesce(%s::date, 'infinity')"
        " GROUP BY 1, 2) ranked WHERE place <= %s ORDER BY metric_type, place"
    )
    found = postgres.transaction(lambda it: it.execute(statement, (first, last, most)).fetchall())
    return [Top(*cast("Any", row)) for row in found]
