"""What `firestore.indexes.json` declares, and what of it a database has.

The file is Firebase's own, and the only place where an index, an exemption or a time-to-live policy is
declared: `firebase deploy` reads it as it is.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "firestore.indexes.json"

Json = dict[str, Any]


@dataclass(frozen=True)
class Declared:
    """One thing to declare: `composite`, `exempt` or `ttl`, a collection, and its field or fields."""

    kind: str
    collection: str
    fields: tuple[str, ...]


def declared() -> Json:
    """The file's content."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def wanted(file: Json) -> Iterator[Declared]:
    """Everything that the file declares.

    Raises:
        ValueError: it declares something that is never deployed.
    """
    for index in file["indexes"]:
        if index["queryScope"] != "COLLECTION":
            raise ValueError(f"{FILE.name}: queryScope {index['queryScope']!r}: only COLLECTION is deployed")
        yield Declared("composite", index["collectionGroup"], _fields(index))
    for override in file["fieldOverrides"]:
        if override["indexes"]:
            raise ValueError(f"{FILE.name}: {override['fieldPath']}: only exemptions (no index) are deployed")
        yield Declared("exempt", override["collectionGroup"], (override["fieldPath"],))
        if override.get("ttl"):
            yield Declared("ttl", override["collectionGroup"], (override["fieldPath"],))


def present(
    composites: Iterable[Json], exempt: Iterable[Json], expiring: Iterable[Json]
) -> Iterator[Declared]:
    """What a database has, from gcloud's lists of indexes, of field settings and of policies."""
    for index in composites:
        if index["queryScope"] == "COLLECTION":
            yield Declared("composite", _part(index["name"], "collectionGroups"), _fields(index))
    for field in exempt:
        if not field.get("indexConfig", {}).get("indexes"):
            yield Declared("exempt", *_field(field["name"]))
    for field in expiring:
        if field.get("ttlConfig", {}).get("state") in {"ACTIVE", "CREATING"}:
            yield Declared("ttl", *_field(field["name"]))


def _fields(index: Json) -> tuple[str, ...]:
    """The name comes last in every index, declared or not."""
    ordered = [
        (it["fieldPath"], it["order"].lower()) for it in index["fields"] if it["fieldPath"] != "__name__"
    ]
    return tuple(f"{path}:{order}" for path, order in ordered)


def _part(name: str, after: str) -> str:
    parts = name.split("/")
    return parts[parts.index(after) + 1]


def _field(name: str) -> tuple[str, tuple[str, ...]]:
    return _part(name, "collectionGroups"), (_part(name, "fields"),)


def declared_composites(composites: Iterable[Json], file: Json) -> Iterator[str]:
    """The ids of those indexes of a database that the file declares, and of no others."""
    ours = set(wanted(file))
    for index in composites:
        if ours.intersection(present([index], [], [])):
            yield index["name"].rpartition("/")[2]
