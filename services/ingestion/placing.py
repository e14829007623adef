"""From the staged rows into the table: a day is replaced, a file is merged. Both compare what the table holds
afterwards with what was read."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import LiteralString, cast

from services.ingestion.errors import PartError
from services.ingestion.rows import LONGEST_RAW, Reading, Rejected, Tally, Target
from shared.postgres import Cursor

FEW = 10
"""Rows that may leave a table with one file, whatever their share."""


def replace_day(cursor: Cursor, tenant: str, target: Target, reading: Reading, tally: Tally) -> None:
    """Put the staged rows in the place of the day's. Raises PartError."""
    columns: LiteralString = ", ".join(target.columns)
    own = (tenant, reading.day)
    cursor.execute(f"DELETE FROM {target.table} WHERE tenant = %s AND day = %s", own)
    cursor.execute(
        f"INSERT INTO {target.table} (tenant, day, {columns}) SELECT %s, %s, {columns} FROM staged", own
    )
    sums: LiteralString = "".join(f", coalesce(sum({name}), 0)" for name in target.sums)
    cursor.execute(f"SELECT count(*){sums} FROM {target.table} WHERE tenant = %s AND day = %s", own)
    expected = (tally.loaded, *(tally.sums.get(name, 0) for name in target.sums))
    _compare(target, reading, cursor.fetchone(), expected)


def note_present(cursor: Cursor, rejected: Sequence[Rejected]) -> None:
    """Note the keys of a file's rejected rows: whoever has one has not left."""
    if keys := [it.key for it in rejected if it.key]:
        cursor.execute("INSERT INTO present SELECT unnest(%s::text[])", (keys,))


def reject_twice(cursor: Cursor, target: Target, tally: Tally) -> list[Rejected]:
    """Take out of the staged rows those whose key an earlier line has, and count them as rejected."""
    cursor.execute(
        "WITH numbered AS (SELECT ctid AS place,"
        f"  row_number() OVER (PARTITION BY {target.key} ORDER BY line) AS number FROM staged)"
        " DELETE FROM staged WHERE ctid IN (SELECT place FROM numbered WHERE number > 1)"
        f" RETURNING line, {target.key}, left(raw, %s)",
        (LONGEST_RAW,),
    )
    found = cast("list[tuple[int, str, str]]", cursor.fetchall())
    tally.loaded -= len(found)
    tally.rejected += len(found)
    return [
        Rejected(line, f"{target.key}: {key[:60]!r} is there twice", raw) for line, key, raw in sorted(found)
    ]


def merge_file(
    cursor: Cursor, tenant: str, target: Target, reading: Reading, tally: Tally, *, most: Decimal
) -> None:
    """Merge the staged rows by the key, and mark those that the latest file had and this one lacks.

    A row that was rejected stays as it was. Where one does not say whose it is, nobody is marked.

    Raises:
        PartError: this one lacks more than the share ``most``.
    """
    key, own = target.key, {"tenant": tenant, "day": reading.day}
    cursor.execute(
        f"SELECT count(*), count(*) FILTER (WHERE staged.{key} IS NULL),"
        f" count(*) FILTER (WHERE staged.{key} IS NULL AND bad.key IS NULL)"
        f" FROM {target.table} AS own LEFT JOIN staged USING ({key})"
        f" LEFT JOIN (SELECT DISTINCT key FROM present) AS bad ON bad.key = own.{key}"
        " WHERE tenant = %(tenant)s AND left_on IS NULL",
        own,
    )
    present, missing, leaving = cast("tuple[int, int, int]", cursor.fetchone())
    if leaving > max(Decimal(FEW), most * present):
        raise PartError(
            "too_many_left",
            f"{reading.source} lacks {leaving} of {present} rows that the file before it had, and"
            f" {most:.0%} may leave at once: have it sent again, or raise ceilings.left for one load",
        )
    _upsert(cursor, target, own)
    marked = 0
    if not tally.unknown:
        cursor.execute(
            f"UPDATE {target.table} AS own SET left_on = %(day)s"
            " WHERE tenant = %(tenant)s AND left_on IS NULL"
            f" AND NOT EXISTS (SELECT 1 FROM staged WHERE staged.{key} = own.{key})"
            f" AND NOT EXISTS (SELECT 1 FROM present WHERE present.key = own.{key})",
            own,
        )
        marked = leaving
    cursor.execute(f"SELECT count(*) FROM {target.table} WHERE tenant = %(tenant)s AND left_on IS NULL", own)
    _compare(target, reading, cursor.fetchone(), (tally.loaded + missing - marked,))


def _upsert(cursor: Cursor, target: Target, own: Mapping[str, object]) -> None:
    """Write the rows that are new, that changed, or that are back; a row that is as it was is not written."""
    columns: LiteralString = ", ".join(target.columns)
    theirs: LiteralString = ", ".join(f"staged.{name}" for name in target.columns)
    ours: LiteralString = ", ".join(f"own.{name}" for name in target.columns)
    same: LiteralString = f"own.tenant = %(tenant)s AND own.{target.key} = staged.{target.key}"
    becomes: LiteralString = f"SET ({columns}, file_day, left_on) ="
    cursor.execute(
        f"UPDATE {target.table} AS own {becomes} ({theirs}, %(day)s, NULL) FROM staged"
        f" WHERE {same} AND (own.left_on IS NOT NULL OR ({ours}) IS DISTINCT FROM ({theirs}))",
        own,
    )
    excluded: LiteralString = ", ".join(f"excluded.{name}" for name in target.columns)
    cursor.execute(
        f"INSERT INTO {target.table} (tenant, {columns}, file_day)"
        f" SELECT %(tenant)s, {columns}, %(day)s FROM staged"
        f" WHERE NOT EXISTS (SELECT 1 FROM {target.table} AS own WHERE {same})"
        f" ON CONFLICT (tenant, {target.key}) DO UPDATE {becomes} ({excluded}, excluded.file_day, NULL)",
        own,
    )


def _compare(target: Target, reading: Reading, found: object, expected: object) -> None:
    if found != expected:
        raise PartError("sums", f"{reading.source}: {target.table} holds {found}, {expected} were read")
