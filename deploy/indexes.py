"""What `firestore.indexes.json` asks for, as steps for gcloud; only those that a database still lacks.

The file is Firebase's own, and the only place where an index, an exemption or a time-to-live policy is
declared: `firebase deploy` reads it as it is.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "firestore.indexes.json"

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One thing to declare: `composite`, `exempt` or `ttl`, a collection, and its field or fields."""

    kind: str
    collection: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        """As `deploy.sh` reads it: words on a line."""
        return " ".join((self.kind, self.collection, *self.fields))


def wanted(declared: Json) -> Iterator[Step]:
    """Every step that the file asks for.

    Raises:
        ValueError: it asks for something that there is no step for.
    """
    for index in declared["indexes"]:
        if index["queryScope"] != "COLLECTION":
            raise ValueError(f"{FILE.name}: queryScope {index['queryScope']!r}: only COLLECTION is deployed")
        yield Step("composite", index["collectionGroup"], _fields(index))
    for override in declared["fieldOverrides"]:
        if override["indexes"]:
            raise ValueError(f"{FILE.name}: {override['fieldPath']}: only exemptions (no index) are deployed")
        yield Step("exempt", override["collectionGroup"], (override["fieldPath"],))
        if override.get("ttl"):
            yield Step("ttl", override["collectionGroup"], (override["fieldPath"],))


def present(composites: Iterable[Json], exempt: Iterable[Json], expiring: Iterable[Json]) -> Iterator[Step]:
    """What a database has, from gcloud's lists of indexes, of field settings and of policies."""
    for index in composites:
        if index["queryScope"] == "COLLECTION":
            yield Step("composite", _part(index["name"], "collectionGroups"), _fields(index))
    for field in exempt:
        if not field.get("indexConfig", {}).get("indexes"):
            yield Step("exempt", *_field(field["name"]))
    for field in expiring:
        if field.get("ttlConfig", {}).get("state") in {"ACTIVE", "CREATING"}:
            yield Step("ttl", *_field(field["name"]))


def _fields(index: Json) -> tuple[str, ...]:
    """The name comes last in every index, said or not."""
    ordered = [
        (it["fieldPath"], it["order"].lower()) for it in index["fields"] if it["fieldPath"] != "__name__"
    ]
    return tuple(f"{path}:{order}" for path, order in ordered)


def _part(name: str, after: str) -> str:
    parts = name.split("/")
    return parts[parts.index(after) + 1]


def _field(name: str) -> tuple[str, tuple[str, ...]]:
    return _part(name, "collectionGroups"), (_part(name, "fields"),)


def declared_composites(composites: Iterable[Json], declared: Json) -> Iterator[str]:
    """The ids of those indexes of a database that the file declares, and of no others."""
    ours = set(wanted(declared))
    for index in composites:
        if ours.intersection(present([index], [], [])):
            yield index["name"].rpartition("/")[2]


def main() -> None:
    """Print the steps that are missing, or with `--ids` the ids of the declared indexes that are there."""
    parser = argparse.ArgumentParser(prog="deploy.indexes")
    parser.add_argument("--ids", action="store_true")
    parser.add_argument("lists", nargs="*", help="gcloud's three lists, as JSON; none: a new database")
    said = parser.parse_args()
    lists = [json.loads(text or "[]") for text in said.lists] + [[], [], []]
    declared = json.loads(FILE.read_text(encoding="utf-8"))
    there = set(present(*lists[:3]))
    missing = (step for step in wanted(declared) if step not in there)
    for line in declared_composites(lists[0], declared) if said.ids else missing:
        print(line)  # noqa: T201 - what deploy.sh reads


if __name__ == "__main__":
    main()
