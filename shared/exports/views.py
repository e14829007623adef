"""What the views of the warehouse say and what Firestore says, key by key.

The warehouse holds events, Firestore counts entries, and no clock is common to both. So Firestore is read
twice: a total that moves between the two reads proves nothing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from shared.aggregation import Aggregation, Home, Key, KeyPart, Source, document_id
from shared.errors import ExportError
from shared.exports.comparing import KEPT, Difference
from shared.exports.rest import BigQuery
from shared.exports.snapshot import RETRY
from shared.store import Document, Query, Store
from shared.warehouse.tables import ACCEPTED
from shared.warehouse.views import key_columns
from shared.windows import proof

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GROUP = 200
"""Totals that one request reads again."""


@dataclass(slots=True)
class ViewComparison:
    """What was found. The two agree if there are no ``differences``."""

    read_at: datetime
    """The instant at which Firestore was read first."""
    watermark: datetime | None
    """Up to which Firestore's totals were proven then."""
    newest: datetime | None
    """When the newest event of the warehouse was accepted."""
    totals: int = 0
    """Keys that were compared."""
    moving: int = 0
    """Keys whose total changed between the two reads, and that did not agree: they prove nothing."""
    faults: int = 0
    differences: list[Difference] = field(default_factory=list)
    """The first `KEPT`."""


def compare_views(
    bigquery: BigQuery,
    store: Store,
    source: Source,
    home: Home,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> ViewComparison:
    """Compare every total of a source with the view of its aggregation. Zero and none are the same.

    Each total of an aggregation is in memory once. It costs a read for each total, and one for each that
    does not agree. Extremes are not compared: Firestore has them as of the last run.

    Raises:
        ExportError: BigQuery refuses: the views are not there, for example.
        StoreError: Firestore cannot be read.
    """
    now = RETRY.call(lambda: proof(store, source, home), sleep)
    result = ViewComparison(now.at, now.watermark, _newest(bigquery, source))
    for aggregation in source.aggregations:
        stored = RETRY.call(partial(_stored, store, home, aggregation, now.at), sleep)
        viewed = {
            f"{home.collection(aggregation.name)}/{document_id(key)}": numbers
            for key, numbers in _viewed(bigquery, aggregation).items()
        }
        result.totals += len(stored.keys() | viewed.keys())
        differ = sorted(
            path for path in stored.keys() | viewed.keys() if stored.get(path, {}) != viewed.get(path, {})
        )
        for first in range(0, len(differ), GROUP):
            group = differ[first : first + GROUP]
            for path, again in zip(group, RETRY.call(partial(store.get, group), sleep), strict=True):
                later = _numbers(aggregation, again) if again else {}
                _judge(result, path, viewed.get(path, {}), stored.get(path, {}), later)
    return result


def _judge(
    result: ViewComparison,
    path: str,
    viewed: Mapping[str, int],
    before: Mapping[str, int],
    after: Mapping[str, int],
) -> None:
    if viewed == after:
        return
    if before != after:
        result.moving += 1
        return
    for column in dict.fromkeys((*viewed, *after)):
        if viewed.get(column, 0) != after.get(column, 0):
            result.faults += 1
            if len(result.differences) < KEPT:
                result.differences.append(
                    Difference(path, column, viewed.get(column, 0), after.get(column, 0))
                )


def _stored(
    store: Store, home: Home, aggregation: Aggregation, read_time: datetime
) -> dict[str, dict[str, int]]:
    found = store.query(Query(home.collection(aggregation.name)), read_time=read_time)
    return {document.path: _numbers(aggregation, document) for document in found}


def _numbers(aggregation: Aggregation, document: Document) -> dict[str, int]:
    values = {name: document.fields.get(name, 0) for name in aggregation.columns}
    return {name: value for name, value in values.items() if isinstance(value, int) and value}


def _viewed(bigquery: BigQuery, aggregation: Aggregation) -> dict[Key, dict[str, int]]:
    keys = key_columns(aggregation)
    columns = ", ".join(f"t.`{name}`" for name in (*keys, *aggregation.columns))
    found: dict[Key, dict[str, int]] = {}
    for row in bigquery.query(f"SELECT {columns} FROM {bigquery.path(aggregation.name)} AS t"):  # noqa: S608
        parts = tuple(
            _part(part, cell) for part, cell in zip(aggregation.parts, row[: len(keys)], strict=True)
        )
        numbers = zip(aggregation.columns, row[len(keys) :], strict=True)
        key: Key = parts if len(parts) > 1 else parts[0]
        found[key] = {name: int(cell) for name, cell in numbers if cell and int(cell)}
    return found


def _part(part: KeyPart, cell: str | None) -> str | int:
    try:
        return part.parse(cell or "")
    except ValueError as error:
        raise ExportError(f"a view's key {part.name}: {error}") from error


def _newest(bigquery: BigQuery, source: Source) -> datetime | None:
    path = bigquery.path(source.name)
    ((cell,),) = bigquery.query(f"SELECT UNIX_MICROS(MAX(t.`{ACCEPTED}`)) FROM {path} AS t")  # noqa: S608 - names
    return _EPOCH + timedelta(microseconds=int(cell)) if cell else None
