"""The books of usage metering in PostgreSQL: parts, totals, what is set aside, the watermark, the runs.

**Who may write what.** Any flush raises a part's row, in the statement that adds the gain to the total, while
its transaction holds the watermark for share. The seal moves the watermark, and so waits for them. Behind it
no part is raised: what comes later is set aside. Repairs and admissions hold one lock, one at a time.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString, NamedTuple, cast

from services.usage import statements
from services.usage.migrations import COMPONENT, MIGRATIONS
from shared.errors import MassLoss, SettingError
from shared.parts import Hour, Name, Part, Unreadable, part_field, parts_key, sealed
from shared.postgres import VARIABLE, Cursor, Postgres

VERSION = 180_000
"""`RETURNING old` and `new` came with PostgreSQL 18."""
LOSS_FLOOR = 1_000
"""A repair may always take away less than this."""
LOCK = int("usage", 36)
"""The advisory lock of repairs and admissions, and of what an operator forgets."""


class Booked(NamedTuple):
    """What a batch of parts came to."""

    raised: int
    """Rows that are new or larger."""
    gained: int
    late: int
    """Parts of sealed hours that were set aside, or whose set-aside value rose."""


class Drift(NamedTuple):
    """A total that is not the sum of its parts."""

    merchant: str
    date: date
    metric: str
    parts: int
    total: int


@dataclass(frozen=True, slots=True)
class Aside:
    """How many rows are set aside for a reason, and what of them may be admitted."""

    reason: str
    rows: int
    due: int
    """The usage that `libra usage admit` would book."""


def aside_id(key: str, field: str) -> str:
    """The name of a set-aside row; a key may be too long for an index."""
    return hashlib.sha256(f"{key}\0{field}".encode()).hexdigest()


class Books:
    """The books. Threads and processes may use them at once."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def migrate(self) -> list[int]:
        """Bring the tables up to date; the numbers of the steps that were applied.

        Raises:
            SettingError: the server is too old.
            MigrationError: a table that is there cannot be taken over; nothing was changed.
        """

        def version(cursor: Cursor) -> int:
            return cursor.connection.info.server_version

        found = self._postgres.transaction(version)
        if found < VERSION:
            allowed = f"PostgreSQL {VERSION // 10_000} or later; the server is {found // 10_000}"
            raise SettingError(VARIABLE, self._postgres.server, allowed)
        return self._postgres.migrate(COMPONENT, MIGRATIONS)

    def sealed_through(self) -> datetime | None:
        """The instant through which hours are sealed; None: none is."""
        return self._postgres.transaction(lambda it: _through(it, "SELECT sealed_through FROM usage_state"))

    def join(self, parts: Sequence[Part]) -> Booked:
        """Raise the rows of parts to their values and add the gains to the totals; each name at most once.

        Parts of sealed hours are set aside, where they are larger than their rows.
        """

        def work(cursor: Cursor) -> Booked:
            through = _through(cursor, "SELECT sealed_through FROM usage_state FOR SHARE")
            open_ = [it for it in parts if not sealed(it.name.hour, through)]
            late = [it for it in parts if sealed(it.name.hour, through)]
            raised, gained = _one(cursor, statements.JOIN, _columns(open_)) if open_ else (0, 0)
            late = _chosen(cursor, statements.RISING, late)  # most are those that were booked in time
            aside = cursor.execute(statements.LATE, (*_columns(late), *_places(late))).rowcount if late else 0
            _resolve(cursor, parts)
            return Booked(raised, gained, aside)

        return self._postgres.transaction(work)

    def set_aside(self, rows: Iterable[Unreadable]) -> None:
        """Keep what cannot be read, with its reason; the same row again is the same row."""
        given = {aside_id(it.key, it.field): it for it in rows}
        if not given:
            return
        columns: list[list[str]] = [list(given)]
        columns += [[_text(it[n]) for it in given.values()] for n in (0, 1, 3, 2)]
        self._postgres.transaction(lambda it: it.execute(statements.ASIDE, columns))

    def seal(self, through: datetime) -> datetime:
        """Seal the hours that are over at an instant; the instant through which hours are sealed now.

        None is sealed that is not over by the clock of PostgreSQL: the clock of a flush may be wrong.
        """
        statement: LiteralString = (
            "UPDATE usage_state SET sealed_through ="
            " greatest(sealed_through, least(%s, date_trunc('hour', now()))) RETURNING sealed_through"
        )
        return cast("datetime", self._postgres.transaction(lambda it: _through(it, statement, through)))

    def read_back(self, parts: Sequence[Part]) -> list[Part]:
        """Those of parts whose values are in the books, in their rows or set aside."""

        def work(cursor: Cursor) -> list[Part]:
            booked = _chosen(cursor, statements.READ_BACK, parts)
            found = set(booked)
            rest = [it for it in parts if it not in found]
            return booked + (_aside_of(cursor, rest) if rest else [])

        return self._postgres.transaction(work)

    def admit(self, hour: Hour) -> int:
        """Book what is late and not yet admitted as parts of an hour that runs; how much.

        Raises:
            SettingError: the hour is sealed already: a clock is wrong.
        """

        def work(cursor: Cursor) -> int:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            through = _through(cursor, "SELECT sealed_through FROM usage_state FOR SHARE")
            if sealed(hour.begin, through):
                raise SettingError(
                    "the clock", hour.begin.isoformat(), f"an hour after {through}: it is sealed"
                )
            cursor.execute(statements.DUE)
            due = cast("list[tuple[str, str, str, int]]", cursor.fetchall())
            parts = [
                Part(Name(merchant, hour.date, metric, hour.begin, f"late-{key}"), gain)
                for key, merchant, metric, gain in due
            ]
            given = ([it[0] for it in due], [it[3] for it in due])
            (admitted,) = _one(cursor, statements.ADMIT, (*_columns(parts), *given))
            return cast("int", admitted)

        return self._postgres.transaction(work, repeatable=False)

    def verify(self) -> list[Drift]:
        """Every total that is not the sum of its parts, in one snapshot."""
        return self._postgres.transaction(_drifts)

    def repair(self, max_loss: float = 1.0) -> list[Drift]:
        """Add to each total what it lacks, or take away what it has too much; what was found.

        Flushes may run meanwhile: each changes a total and its parts by the same, so the difference holds.

        Raises:
            MassLoss: it would take away more than that share of all usage, and 1,000 or more. Nothing was.
        """

        def work(cursor: Cursor) -> list[Drift]:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            found = _drifts(cursor)
            loss = sum(max(it.total - it.parts, 0) for it in found)
            (total,) = _one(cursor, "SELECT coalesce(sum(metric_value), 0)::bigint FROM merchant_usage", ())
            if loss >= LOSS_FLOOR and loss > max_loss * cast("int", total):
                raise MassLoss(
                    f"merchant_usage: the repair would take away {loss:,} of {total:,}, more than "
                    f"LIBRA_MAX_LOSS={max_loss} allows: rows of usage_part are gone, or somebody else writes "
                    "merchant_usage. Nothing was corrected; --accept-loss goes on"
                )
            gains = [it.parts - it.total for it in found]
            names = ([it.merchant for it in found], [it.date for it in found], [it.metric for it in found])
            cursor.execute(statements.REPAIR, (*names, gains))
            return found

        return self._postgres.transaction(work)

    def aside(self) -> list[Aside]:
        """What is set aside, by reason."""
        found = self._postgres.transaction(lambda it: it.execute(statements.STANDING).fetchall())
        return [Aside(*cast("tuple[str, int, int]", row)) for row in found]

    def aside_keys(self) -> list[str]:
        """The keys of Redis that hold what could not be read."""
        statement = "SELECT DISTINCT key FROM usage_aside WHERE value IS NULL ORDER BY 1"
        found = self._postgres.transaction(lambda it: it.execute(statement).fetchall())
        return [cast("str", key) for (key,) in found]

    def record(self, kind: str, started: datetime, figures: dict[str, Any]) -> None:
        """Keep what a run came to."""
        self._postgres.transaction(lambda it: add_run(it, kind, started, figures))

    def runs(self, most: int) -> list[dict[str, Any]]:
        """What the last runs came to, the newest first."""
        statement = "SELECT id, kind, started_at, report FROM usage_run ORDER BY id DESC LIMIT %s"
        found = self._postgres.transaction(lambda it: it.execute(statement, (most,)).fetchall())
        return [dict(zip(("id", "kind", "started", "report"), row, strict=True)) for row in found]


def add_run(cursor: Cursor, kind: str, started: datetime, figures: dict[str, Any]) -> None:
    """Keep what a run came to, in a transaction that is open."""
    values = (kind, started, *(figures.get(it, 0) for it in ("seconds", "records", "gained", "errors")))
    cursor.execute(statements.RECORD, (*values, json.dumps(figures, default=str)))


def _drifts(cursor: Cursor) -> list[Drift]:
    found = cursor.execute(statements.DRIFT).fetchall()
    return [Drift(*cast("tuple[str, date, str, int, int]", row)) for row in found]


def _resolve(cursor: Cursor, parts: Sequence[Part]) -> None:
    """What could not be read once and was read now is set aside no more."""
    found = cursor.execute("SELECT EXISTS (SELECT FROM usage_aside WHERE value IS NULL)").fetchone()
    if found and found[0]:
        keys = [aside_id(parts_key(it.name.merchant, Hour(it.name.hour, it.name.date)), "") for it in parts]
        ids = list(dict.fromkeys(keys)) + _places(parts)[0]
        cursor.execute("DELETE FROM usage_aside WHERE id = ANY (%s::text[]) AND value IS NULL", (ids,))


def _chosen(cursor: Cursor, statement: LiteralString, parts: Sequence[Part]) -> list[Part]:
    """Those of parts whose numbers a statement gives."""
    found = cursor.execute(statement, _columns(parts)).fetchall() if parts else []
    return [parts[cast("int", number) - 1] for (number,) in found]


def _aside_of(cursor: Cursor, parts: Sequence[Part]) -> list[Part]:
    """Those of parts whose values are set aside."""
    given = (_places(parts)[0], [it.value for it in parts])
    found = cursor.execute(statements.READ_ASIDE, given).fetchall()
    return [parts[cast("int", number) - 1] for (number,) in found]


def _columns(parts: Sequence[Part]) -> tuple[list[Any], ...]:
    rows = [(*it.name[:5], it.value) for it in parts]
    return tuple(list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 6


def _places(parts: Sequence[Part]) -> tuple[list[str], list[str], list[str]]:
    keys = [parts_key(it.name.merchant, Hour(it.name.hour, it.name.date)) for it in parts]
    fields = [part_field(it.name.metric, it.name.incarnation) for it in parts]
    return [aside_id(*it) for it in zip(keys, fields, strict=True)], keys, fields


def _text(value: str) -> str:
    return value.replace("\0", "\\0")


def _one(cursor: Cursor, statement: LiteralString, values: Sequence[Any]) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", cursor.execute(statement, values).fetchone())


def _through(cursor: Cursor, statement: LiteralString, *values: Any) -> datetime | None:
    return cast("datetime | None", _one(cursor, statement, values)[0])
