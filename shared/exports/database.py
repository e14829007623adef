"""Exports to PostgreSQL: one transaction deletes the old rows, copies the new ones and writes the manifest.

Every reader finds the rows of before until the commit, and all of the new ones after it: PostgreSQL keeps
both versions meanwhile. So there is nothing to swap, and views, grants and indexes on the tables stay.
"""

import hashlib
import re
from collections.abc import Iterator

from psycopg import sql

from shared.errors import ExportError
from shared.exports.manifest import Held, Manifest, unpacked
from shared.exports.snapshot import Snapshot, Tally
from shared.exports.tables import Kind, Row, Table, Value, What
from shared.postgres import Cursor, Postgres, ServerCursor

MANIFESTS = "libra_exports"
MARK = "An export of Libra. Each export replaces all rows."
"""The comment that marks a table as an export's own: no other is written to."""
NUL, WITHOUT = "\x00", "%00"
"""PostgreSQL's text holds no NUL. In an `id` a % is always followed by something else."""
LOCK = 1_836_019_042
"""The advisory lock of exports, so that two do not delete each other's rows and wait for each other."""
LONGEST = 63
"""Bytes of a name (https://www.postgresql.org/docs/18/sql-syntax-lexical.html, 2026-11)."""
READ_ROWS = 1_000
"""Rows that are in memory while an export is compared. The server sorts a table once, and keeps the rest."""

_TYPES: dict[Kind, str] = {
    "text": "text",
    "integer": "bigint",
    "boolean": "boolean",
    "time": "timestamptz",
    "json": "jsonb",
}
_MANIFEST_COLUMNS = ("source", "what", "snapshot", "manifest")


class Database:
    """A schema of a PostgreSQL database."""

    def __init__(self, postgres: Postgres, schema: str) -> None:
        self._postgres = postgres
        self._schema = schema
        self.place = f"postgres:{schema} at {postgres.server}"

    def save(self, snapshot: Snapshot) -> Manifest:
        """See `Target.save`."""
        snapshot.step("begun")
        self._postgres.transaction(lambda cursor: self._widen(cursor, snapshot.tables))
        manifest = self._postgres.transaction(lambda cursor: self._replace(cursor, snapshot))
        snapshot.step("published")
        return manifest

    def manifest(self, source: str, what: What) -> Manifest | None:
        """See `Target.manifest`."""

        def read(cursor: Cursor) -> str | None:
            if not self._columns(cursor, MANIFESTS):
                return None
            query = sql.SQL("SELECT manifest FROM {} WHERE source = %s AND what = %s")
            cursor.execute(query.format(self._name(MANIFESTS)), (source, what))
            found = cursor.fetchone()
            return str(found[0]) if found else None

        text = self._postgres.transaction(read)
        return unpacked(text, f"{self.place}.{MANIFESTS}") if text else None

    def rows(self, manifest: Manifest, held: Held) -> Iterator[Row]:  # noqa: ARG002 - a table is its last snapshot
        """See `Target.rows`."""
        columns = sql.SQL(", ").join(
            sql.SQL("{}::text").format(_column(each.name)) if each.kind == "json" else _column(each.name)
            for each in held.table.columns
        )
        query = sql.SQL("SELECT {} FROM {} WHERE %s::text IS NULL OR {} > %s ORDER BY {}").format(
            columns, self._name(held.table.name), _ORDER, _ORDER
        )

        def ask(cursor: ServerCursor, last: tuple[object, ...] | None) -> None:
            behind = str(last[0]).replace(WITHOUT, "\x01") if last else None
            cursor.execute(query, (behind, behind))

        for row in self._postgres.rows(ask, READ_ROWS):
            yield (str(row[0]).replace(WITHOUT, NUL), *row[1:])  # type: ignore[arg-type]  # as the columns' types say

    def _widen(self, cursor: Cursor, tables: tuple[Table, ...]) -> None:
        """Add columns that tables of before lack. On its own: it locks readers out, for an instant."""
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        for table in tables:
            there = self._columns(cursor, table.name)
            if not there:
                continue
            self._check(cursor, table, there)
            for column in table.columns:
                if _short(column.name) not in there:
                    add = sql.SQL("ALTER TABLE {} ADD COLUMN {} " + _TYPES[column.kind])
                    cursor.execute(add.format(self._name(table.name), _column(column.name)))

    def _check(self, cursor: Cursor, table: Table, there: dict[str, str]) -> None:
        cursor.execute("SELECT obj_description(to_regclass(%s))", (self._name(table.name).as_string(cursor),))
        (comment,) = cursor.fetchone() or (None,)
        if comment != MARK:
            raise ExportError(
                f"{self.place}.{table.name}: it is there and no export made it (its comment is {comment!r}): "
                "name another schema, postgres:SCHEMA"
            )
        for column in table.columns:
            if (other := there.get(_short(column.name), _SPELT[column.kind])) != _SPELT[column.kind]:
                raise ExportError(
                    f"{self.place}.{table.name}: the column {column.name} is {other} and would be "
                    f"{_SPELT[column.kind]}: drop the table, and export again"
                )

    def _replace(self, cursor: Cursor, snapshot: Snapshot) -> Manifest:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._schema)))
        manifest = snapshot.manifest(tuple(self._copy(cursor, snapshot, table) for table in snapshot.tables))
        name = self._name(MANIFESTS)
        cursor.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (source text, what text, snapshot text NOT NULL, "
                "manifest text NOT NULL, PRIMARY KEY (source, what))"
            ).format(name)
        )
        cursor.execute(
            sql.SQL(
                "INSERT INTO {} (source, what, snapshot, manifest) VALUES (%s, %s, %s, %s) ON CONFLICT "
                "(source, what) DO UPDATE SET snapshot = excluded.snapshot, manifest = excluded.manifest"
            ).format(name),
            (manifest.source, manifest.what, manifest.snapshot, manifest.packed()),
        )
        snapshot.step("publish begun")
        return manifest

    def _copy(self, cursor: Cursor, snapshot: Snapshot, table: Table) -> Held:
        snapshot.step("table begun")
        name, tally = self._name(table.name), Tally()
        if not self._columns(cursor, table.name):
            columns = sql.SQL(", ").join(
                sql.SQL("{} " + _TYPES[each.kind]).format(_column(each.name)) for each in table.columns
            )
            cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(name, columns))
            cursor.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(name, sql.Literal(MARK)))
        cursor.execute(sql.SQL("DELETE FROM {}").format(name))
        names = sql.SQL(", ").join(map(_column, table.names))
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, names)) as copy:
            for rows in snapshot.pages(table, tally):
                for row in rows:
                    copy.write_row([_storable(value) for value in row])
        snapshot.step("table written")
        return snapshot.held(table, tally)

    def _columns(self, cursor: Cursor, table: str) -> dict[str, str]:
        """The columns of a table or a view, and their types; none if it is not there."""
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s",
            (self._schema, _short(table)),
        )
        return {str(name): str(kind) for name, kind in cursor.fetchall()}

    def _name(self, table: str) -> sql.Identifier:
        return sql.Identifier(self._schema, _short(table))


def _short(name: str) -> str:
    """The name of a table or a column as PostgreSQL keeps it. It would cut a longer one without an error, so
    that the next export would not find it, and two of one beginning would be one."""
    if len(name.encode()) <= LONGEST:
        return name
    begin, mark = name.encode()[:46].decode(errors="ignore"), hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{begin}_{mark}"


def _column(name: str) -> sql.Identifier:
    return sql.Identifier(_short(name))


_SPELT: dict[Kind, str] = _TYPES | {"time": "timestamp with time zone"}
"""As the server spells them."""


_ORDER = sql.SQL("replace(id, '%%00', chr(1)) COLLATE \"C\"")
"""That of Firestore, and of every other destination: by the bytes of an id, NUL first."""

_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL in JSON, with the escaped backslashes before it."""


def _storable(value: Value) -> Value:
    """A value without NUL, which JSON escapes."""
    if not isinstance(value, str):
        return value
    return _ESCAPED.sub(lambda found: found[0][: -len("\\u0000")] + WITHOUT, value).replace(NUL, WITHOUT)
