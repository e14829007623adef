"""The files of an archive: gzipped lines, each one entry in Firestore's own JSON form.

A line holds everything that Firestore knows of the document: its name, its fields as typed values, its create
and update time. So any tool that reads Firestore's JSON can restore it. The same entries give the same bytes.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.cloud.firestore_v1.types import document as _document
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from shared.errors import ArchiveError
from shared.store import Document, Store
from shared.store.values import decode_fields, encode_fields, instant, raw, set_instant

_Document = raw(_document.Document)


@dataclass(frozen=True, slots=True)
class File:
    """What a page's record says of its file."""

    name: str
    entries: int
    size: int
    """In bytes, as it is stored."""
    sha256: str
    """Of the bytes as they are stored."""


def line_of(store: Store, document: Document) -> bytes:
    """A document as one line, lossless: keys sorted, no spaces."""
    message = _Document(name=store.name(document.path))
    encode_fields(message.fields, document.fields)
    set_instant(message.create_time, document.create_time)
    set_instant(message.update_time, document.update_time)
    text = json.dumps(MessageToDict(message), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def document_of(store: Store, line: bytes) -> Document:
    """The inverse of `line_of`.

    Raises:
        ValueError: the line is no document.
    """
    try:
        message = ParseDict(json.loads(line), _Document())
    except (ParseError, RecursionError) as error:
        raise ValueError(f"no document in Firestore's JSON: {error}") from error
    return Document(
        store.path(message.name),
        decode_fields(message.fields),
        instant(message.create_time),
        instant(message.update_time),
    )


def packed(name: str, lines: Iterable[bytes]) -> tuple[File, bytes]:
    """A file of these lines, and its bytes."""
    every = list(lines)
    data = gzip.compress(b"".join(every), mtime=0)
    return File(name, len(every), len(data), hashlib.sha256(data).hexdigest()), data


def unpacked(file: File, data: bytes | None) -> list[bytes]:
    """The lines of a file as it was found, once it is proven to be the one that was written.

    Raises:
        ArchiveError: it is missing, or it is not what was written.
    """
    if data is None:
        raise ArchiveError(f"{file.name}: the file is missing")
    if (found := hashlib.sha256(data).hexdigest()) != file.sha256:
        raise ArchiveError(
            f"{file.name}: the file is damaged: its SHA-256 is {found}, the page's record says {file.sha256}"
        )
    lines = gzip.decompress(data).split(b"\n")[:-1]
    if len(lines) != file.entries:
        raise ArchiveError(
            f"{file.name}: the file holds {len(lines)} entries, the page's record says {file.entries}"
        )
    return lines


def as_fields(file: File) -> dict[str, object]:
    """What a page's record holds of its file."""
    return {"file": file.name, "entries": file.entries, "bytes": file.size, "sha256": file.sha256}


def file_of(record: Mapping[str, object]) -> File:
    """The file that a page's record names."""
    return File(str(record["file"]), int(record["entries"]), int(record["bytes"]), str(record["sha256"]))  # type: ignore[call-overload]  # as `as_fields` wrote them
