"""A request's body as events: unpacked within bounds, then read as JSON or as NDJSON."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic_core import from_json

from shared.http.problems import Problem, shown

MAX_EVENTS = 1_000
MAX_BYTES = 1_048_576
"""Bytes of a body, as it comes and unpacked."""
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
JSON = ("application/json", "application/cloudevents+json")
GZIP = ("gzip", "x-gzip")
_WITH_HEADER = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no JSON."""

    why: str


def read(body: bytes, media_type: str, encoding: str) -> list[object]:
    """The events of a body, each as JSON has it; a line that is no JSON is `Unreadable`.

    Args:
        body: the bytes, `MAX_BYTES` at most.
        media_type: the header Content-Type.
        encoding: the header Content-Encoding.

    Raises:
        Problem: 400, it cannot be read; 413, it has too many bytes or events; 415, it is of another kind;
            422, it holds no event.
    """
    kind = media_type.partition(";")[0].strip().lower()
    if kind not in JSON + NDJSON:
        detail = f"Content-Type: {shown(kind)}: expected {JSON[0]}, or {NDJSON[0]} with an event a line"
        raise Problem(415, detail, headers={"Accept-Post": f"{JSON[0]}, {NDJSON[0]}"})
    unpacked = _unpacked(body, encoding.strip().lower())
    events = list(_lines(_text(unpacked))) if kind in NDJSON else _events(unpacked)
    if not events:
        raise Problem(422, f"the body holds no event: expected 1 to {MAX_EVENTS}")
    if len(events) > MAX_EVENTS:
        raise Problem(413, f"the body holds more than {MAX_EVENTS} events: send them in several requests")
    return events


def _unpacked(body: bytes, encoding: str) -> bytes:
    """What a packed body says, never more than `MAX_BYTES` of it: a bomb is cut off, not unpacked."""
    if encoding in ("", "identity"):
        return body
    if encoding not in GZIP:
        raise Problem(415, f"Content-Encoding: {shown(encoding)}: expected gzip, or none")
    stream = zlib.decompressobj(_WITH_HEADER)
    try:
        found = stream.decompress(body, MAX_BYTES + 1)
    except zlib.error:
        raise Problem(400, "Content-Encoding: gzip: the body is no gzip data") from None
    if len(found) > MAX_BYTES:
        raise Problem(413, f"the body has more than {MAX_BYTES} bytes when it is unpacked: send less")
    if not stream.eof:
        raise Problem(400, "Content-Encoding: gzip: the body ends before its gzip data does")
    if stream.unused_data:
        raise Problem(400, "Content-Encoding: gzip: the body goes on behind the end of its gzip data")
    return found


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8: byte {error.start} is not") from None


def _events(body: bytes) -> list[object]:
    try:
        found = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except (
        ValueError
    ):  # it reads what is ordinary, in two thirds of the time: of the rest Python's own judges
        found = _json(_text(body))
    if isinstance(found, Unreadable):
        raise Problem(400, f"the body is no JSON: {found.why}")
    return found if isinstance(found, list) else [found]


def _lines(text: str) -> Iterator[object]:
    """One more than `MAX_EVENTS` at most. Only a line feed ends a line: JSON may hold other line ends."""
    number = 0
    for line in text.split("\n"):
        if line.strip():
            number += 1
            if number > MAX_EVENTS + 1:
                return
            yield _json(line)


def _json(text: str) -> object:
    """A JSON value; `Unreadable` with the reason, which holds nothing of the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return Unreadable(f"{error.msg}, at character {error.pos}")
    except RecursionError:
        return Unreadable("it is nested too deeply")
    except ValueError:
        return Unreadable("it has a number of thousands of digits")
