"""What a question names: an aggregation, a key, an id. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from shared.aggregation import MAX_ID_BYTES, Aggregation, Key, Part, Source, decode_id
from shared.errors import NotFound, Unanswerable


def named(source: Source, aggregation: str) -> Aggregation:
    """The aggregation of that name.

    Raises:
        NotFound: saying which there are.
    """
    try:
        return source.aggregation(aggregation)
    except KeyError:
        there = ", ".join(each.name for each in source.aggregations)
        raise NotFound(f"no aggregation is called {aggregation!r:.80}: expected one of {there}") from None


def parse_key(aggregation: Aggregation, key: str | Mapping[str, str]) -> Key:
    """A key from text.

    A simple key is the raw value as text: ``Mac/Cheese``, ``18``, ``true``, or nothing at all. A composite
    key is the document id of its total, ``Caldo%7COffice|2025-09-04``, or a text for each part by its name.

    Raises:
        Unanswerable: saying which parts there are and what was found.
    """
    parts = {part.name: part for part in aggregation.parts}
    if isinstance(key, str) and len(parts) > 1:
        _check_text(aggregation, key)
        try:
            return decode_id(key, aggregation.parts)
        except ValueError as error:
            raise Unanswerable(f"{aggregation.name}: {error}; {_expected(aggregation)}") from None
    texts = {next(iter(parts)): key} if isinstance(key, str) else dict(key)
    if texts.keys() != parts.keys():
        raise Unanswerable(f"{aggregation.name}: found {sorted(texts)}; {_expected(aggregation)}")
    values: list[Part] = []
    for name, part in parts.items():
        _check_text(aggregation, texts[name])
        try:
            values.append(part.parse(texts[name]))
        except ValueError as error:
            raise Unanswerable(f"{aggregation.name}: {name}: {error}") from None
    return tuple(values) if len(parts) > 1 else values[0]


def _expected(aggregation: Aggregation) -> str:
    parts = aggregation.parts
    if len(parts) == 1:
        return f"expected a text for its {parts[0].name}"
    names = " and ".join(part.name for part in parts)
    return f"expected a text for each of {names}, or the id of a total's document"


def _check_text(aggregation: Aggregation, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unanswerable(f"{aggregation.name}: the key {text!r:.80} is not valid Unicode") from None


def in_utc(what: str, time: datetime) -> datetime:
    """The same time in UTC.

    Raises:
        Unanswerable: naming ``what``; the time has no zone, or lies outside of the years 1 to 9999.
    """
    if time.tzinfo is not None:
        try:
            return time.astimezone(UTC)
        except OverflowError:
            pass
    raise Unanswerable(
        f"{what} {time.isoformat()}: expected one with a zone, in the years 1 to 9999 of UTC, such as "
        "2025-09-04T18:00Z"
    )


def check_id(what: str, document_id: str) -> None:
    """Refuse what no document can be called.

    Raises:
        Unanswerable: naming ``what`` and saying what is allowed.
    """
    try:
        size = len(document_id.encode())
    except UnicodeEncodeError:
        size = 0
    reserved = re.fullmatch(r"\.{1,2}|__.*__", document_id, re.DOTALL)
    if not 1 <= size <= MAX_ID_BYTES or "/" in document_id or reserved:
        raise Unanswerable(
            f"{what} {document_id!r:.80}: expected the id of a document: 1 to {MAX_ID_BYTES:,} bytes, no /, "
            "and neither . nor .. nor __x__"
        )
