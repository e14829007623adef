"""The manifest of a destination: what was archived there, for people and for other tools."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime

from shared.archive.files import file_of
from shared.store import Document

NAME = "manifest.json"


def manifest(place: str, records: Iterator[Document]) -> bytes | None:
    """The manifest of all pages that were written to a place; None if there are none."""
    files = [_file(record) for record in records if record.fields.get("to") == place]
    if not files:
        return None
    whole = {
        "to": place,
        "entries": sum(int(str(each["entries"])) for each in files),
        "bytes": sum(int(str(each["bytes"])) for each in files),
        "first": min(str(each["first"]) for each in files),
        "last": max(str(each["last"]) for each in files),
        "files": files,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False).encode() + b"\n"


def _file(record: Document) -> Mapping[str, object]:
    file, fields = file_of(record.fields), record.fields
    return {
        "file": file.name,
        "page": fields["page"],
        "archive": fields["archive"],
        "by": fields["by"],
        "first": _iso(fields["first"]),
        "last": _iso(fields["last"]),
        "entries": file.entries,
        "bytes": file.size,
        "sha256": file.sha256,
        "committed_at": _iso(record.create_time),
    }


def _iso(instant: object) -> str | None:
    return instant.isoformat() if isinstance(instant, datetime) else None
