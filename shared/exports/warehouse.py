"""Exports to BigQuery: tables loaded beside, then one transaction that replaces all rows and the manifest."""

import secrets
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.errors import ExportError, Transient
from shared.exports.formats import JsonWriter
from shared.exports.manifest import Held, Manifest, unpacked
from shared.exports.rest import BigQuery, quoted
from shared.exports.snapshot import Snapshot, Tally
from shared.exports.tables import Kind, Row, Table, Value, What
from shared.log import logger

MANIFESTS = "libra_exports"
"""The table of manifests: a row for each source and what was exported of it."""
LABEL = {"libra": "export"}
"""What marks a table as an export's own: no other is written to."""
EXPIRES_HOURS = 24
"""BigQuery removes what a killed export has loaded beside, after so long."""

_TYPES: dict[Kind, str] = {
    "text": "STRING",
    "integer": "INTEGER",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMP",
    "json": "JSON",
}
_MANIFEST_FIELDS = [{"name": name, "type": "STRING"} for name in ("source", "what", "snapshot", "manifest")]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Warehouse:
    """A dataset of BigQuery.

    Rows are loaded into tables that no reader knows. One transaction then replaces the rows of every table
    and the manifest. A query reads as of one instant, so it finds the snapshot before or the new one, and
    never a part. Views on the tables and grants stay.
    """

    def __init__(self, bigquery: BigQuery) -> None:
        self._bigquery = bigquery
        self.place = f"bigquery:{bigquery.project}.{bigquery.dataset}"

    def save(self, snapshot: Snapshot) -> Manifest:
        """See `Target.save`."""
        snapshot.step("begun")
        self._bigquery.ensure_dataset()
        mark = secrets.token_hex(4)
        beside = {table.name: f"{table.name}_loading_{mark}" for table in snapshot.tables}
        try:
            tables = tuple(self._load(snapshot, table, beside[table.name]) for table in snapshot.tables)
            manifest = snapshot.manifest(tables)
            for table in snapshot.tables:
                self._prepare(table.name, [_field(each.name, each.kind) for each in table.columns])
            self._prepare(MANIFESTS, _MANIFEST_FIELDS)
            snapshot.step("publish begun")
            self._swap(manifest, beside)
            snapshot.step("published")
        finally:
            for name in beside.values():
                self._drop(name)
        return manifest

    def manifest(self, source: str, what: What) -> Manifest | None:
        """See `Target.manifest`."""
        if self._bigquery.table(MANIFESTS) is None:
            return None
        path = self._bigquery.path(MANIFESTS)
        found = self._bigquery.query(
            f"SELECT manifest FROM {path} AS m WHERE m.source = {quoted(source)} AND m.what = {quoted(what)}"  # noqa: S608
        )
        texts = [str(text) for (text,) in found]
        return unpacked(texts[0], f"{self.place}.{MANIFESTS}") if texts else None

    def rows(self, manifest: Manifest, held: Held) -> Iterator[Row]:  # noqa: ARG002 - a table is its last snapshot
        """See `Target.rows`."""
        columns = ", ".join(_selected(each.name, each.kind) for each in held.table.columns)
        path = self._bigquery.path(held.table.name)
        kinds = [each.kind for each in held.table.columns]
        for row in self._bigquery.query(f"SELECT {columns} FROM {path} AS t ORDER BY t.id"):  # noqa: S608 - names
            yield tuple(_value(cell, kind) for cell, kind in zip(row, kinds, strict=True))

    def _drop(self, name: str) -> None:
        """Remove a table beside. One that stays makes no export fail, and hides no failure."""
        try:
            self._bigquery.drop(name)
        except (ExportError, Transient) as error:
            logger.warning(f"{self.place}.{name} was not removed: it expires in {EXPIRES_HOURS} h: {error}")

    def _load(self, snapshot: Snapshot, table: Table, beside: str) -> Held:
        snapshot.step("table begun")
        tally = Tally()
        fields = [_field(each.name, "text" if each.kind == "json" else each.kind) for each in table.columns]
        expires = int((time.time() + EXPIRES_HOURS * 3_600) * 1_000)
        self._bigquery.create(beside, fields, expirationTime=str(expires), labels=LABEL)
        with tempfile.TemporaryDirectory(prefix="libra-export-") as folder:
            path = Path(folder) / "rows.jsonl"
            try:
                with path.open("wb") as file:
                    out = JsonWriter(file, table, as_text=True)
                    for rows in snapshot.pages(table, tally):
                        out.write(rows)
            except OSError as error:
                raise ExportError(
                    f"{self.place}.{table.name}: its rows cannot be written to {folder} ({error.strerror}): "
                    "make more room there"
                ) from error
            if tally.rows and (loaded := self._bigquery.load(beside, fields, path)) != tally.rows:
                raise ExportError(f"{self.place}.{beside}: {loaded:,} rows were loaded of {tally.rows:,}")
        snapshot.step("table written")
        return snapshot.held(table, tally)

    def _prepare(self, name: str, fields: list[dict[str, Any]]) -> None:
        """Make a table, or add the columns that it lacks: both change nothing that a reader finds."""
        found = self._bigquery.table(name)
        if found is None:
            self._bigquery.create(name, fields, labels=LABEL)
            return
        if found.get("labels", {}).get("libra") != LABEL["libra"]:
            raise ExportError(
                f"{self.place}.{name}: it is there and no export made it (a {found.get('type', 'TABLE')} "
                "without the label libra=export): name another dataset"
            )
        there = {each["name"]: each for each in found["schema"]["fields"]}
        for field in fields:
            other = there.get(field["name"], field)["type"]
            if _ALIASES.get(other, other) != field["type"]:
                raise ExportError(
                    f"{self.place}.{name}: the column {field['name']} is {other} and would be "
                    f"{field['type']}: drop the table, and export again"
                )
        if missing := [field for field in fields if field["name"] not in there]:
            self._bigquery.widen(name, missing)

    def _swap(self, manifest: Manifest, beside: dict[str, str]) -> None:
        statements = []
        for held in manifest.tables:
            table, loaded = self._bigquery.path(held.table.name), self._bigquery.path(beside[held.table.name])
            columns = ", ".join(f"`{each.name}`" for each in held.table.columns)
            values = ", ".join(
                f"PARSE_JSON(`{each.name}`, {_ROUND})" if each.kind == "json" else f"`{each.name}`"
                for each in held.table.columns
            )
            statements += [
                f"DELETE FROM {table} WHERE TRUE",  # noqa: S608 - names of declarations
                f"INSERT INTO {table} ({columns}) SELECT {values} FROM {loaded}",  # noqa: S608 - the same
            ]
        said = (manifest.source, manifest.what, manifest.snapshot, manifest.packed())
        source, what, name, text = map(quoted, said)
        manifests, columns = self._bigquery.path(MANIFESTS), "source, what, snapshot, manifest"
        statements += [
            f"DELETE FROM {manifests} AS m WHERE m.source = {source} AND m.what = {what}",  # noqa: S608 - quoted
            f"INSERT INTO {manifests} ({columns}) VALUES ({source}, {what}, {name}, {text})",  # noqa: S608 - quoted
        ]
        self._bigquery.run("BEGIN TRANSACTION;\n" + ";\n".join(statements) + ";\nCOMMIT TRANSACTION;")


_ROUND = "wide_number_mode=>'round'"
"""Take the nearest double for a number with a fraction: that is the one which Firestore holds. By default
BigQuery refuses about one in a thousand of them, such as 0.915908, whose text it would write in another way
(https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions, 'PARSE_JSON', 2026-11)."""

_ALIASES = {"INT64": "INTEGER", "BOOL": "BOOLEAN"}


def _field(name: str, kind: Kind) -> dict[str, Any]:
    return {"name": name, "type": _TYPES[kind]}


def _selected(name: str, kind: Kind) -> str:
    if kind == "time":
        return f"UNIX_MICROS(t.`{name}`)"
    return f"TO_JSON_STRING(t.`{name}`)" if kind == "json" else f"t.`{name}`"


def _value(cell: str | None, kind: Kind) -> Value:
    if cell is None or kind in ("text", "json"):
        return cell
    if kind == "boolean":
        return cell == "true"
    return int(cell) if kind == "integer" else _EPOCH + timedelta(microseconds=int(cell))
