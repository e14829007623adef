"""`firestore.rules` in the emulator's own rules engine: who may do what in every collection."""

import base64
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from deploy.google import RULES
from local.emulator import Emulator

TOTALS = (
    "aggregates_categories",
    "aggregates_actions",
    "aggregates_time_hours",
    "aggregates_time_dates",
    "analytics_aggregates",
    "analytics_aggregates_hours",
    "analytics_aggregates_dates",
    "signals_aggregates",
    "signals_aggregates_flags",
    "signals_aggregates_platforms",
)
BOOKS = (
    "aggregates",
    "aggregates_seen",
    "aggregates_rejected",
    "aggregates_runs",
    "aggregates_archives",
    "analytics_aggregates_users",
    *("user_events", "user_events_rejected", "user_events_runs"),
    *("signals", "signals_rejected", "signals_runs"),
)
"""What operators alone read: totals by user tell what a person did, and so do the entries."""
CALLERS: dict[str, dict[str, Any] | None] = {
    "nobody": None,
    "user": {},
    "device": {"libra": "device"},
    "operator": {"libra": "operator"},
}

Json = dict[str, Any]


def text(value: str) -> Json:
    """A string in Firestore's JSON."""
    return {"stringValue": value}


ENTRY: Json = {
    "device": {"mapValue": {"fields": {"model": text("LibraV0"), "serialNumber": text("Lib298190")}}},
    "location": text("Caldo Office"),
    "ingredient": text("Kettle Chips"),
    "dataAction": text("Served"),
    "amount": {"doubleValue": 12.5},
    "timestamp": {"timestampValue": "2025-09-04T18:57:29Z"},
}


def with_device(fields: Json) -> Json:
    """An entry whose device is that map."""
    return ENTRY | {"device": {"mapValue": {"fields": fields}}}


@dataclass
class Client:
    """A database as one caller sees it; requests answer with their HTTP status."""

    documents: str
    claims: Json | None
    http: httpx.Client = field(repr=False)

    def _headers(self) -> dict[str, str]:
        if self.claims is None:
            return {}
        payload = {"sub": "someone", "user_id": "someone", "iat": 0, **self.claims}
        parts = [
            base64.urlsafe_b64encode(json.dumps(it).encode()).decode().rstrip("=")
            for it in ({"alg": "none"}, payload)
        ]
        return {"Authorization": f"Bearer {'.'.join(parts)}."}

    def create(self, collection: str, fields: Json, name: str | None = None) -> int:
        """Create a document."""
        parameters = {"documentId": name or uuid.uuid4().hex}
        url = f"{self.documents}/{collection}"
        return self.http.post(
            url, params=parameters, json={"fields": fields}, headers=self._headers()
        ).status_code

    def get(self, path: str) -> int:
        """Read a document."""
        return self.http.get(f"{self.documents}/{path}", headers=self._headers()).status_code

    def list(self, collection: str) -> int:
        """List a collection."""
        return self.http.get(f"{self.documents}/{collection}", headers=self._headers()).status_code

    def update(self, path: str, fields: Json) -> int:
        """Overwrite a document."""
        url = f"{self.documents}/{path}"
        return self.http.patch(url, json={"fields": fields}, headers=self._headers()).status_code

    def delete(self, path: str) -> int:
        """Delete a document."""
        return self.http.delete(f"{self.documents}/{path}", headers=self._headers()).status_code


@dataclass
class Database:
    """A project's database that knows the rules, with one document in each collection."""

    documents: str
    http: httpx.Client

    def as_(self, claims: Json | None) -> Client:
        """The database as a caller with those claims sees it; None: nobody is signed in."""
        return Client(self.documents, claims, self.http)

    def seed(self) -> None:
        """Put one document into each collection, past the rules, as the functions do."""
        for collection in (*TOTALS, *BOOKS, "libra"):
            answer = self.http.post(
                f"{self.documents}/{collection}",
                params={"documentId": "one"},
                json={"fields": {"count": {"integerValue": "1"}}},
                headers={"Authorization": "Bearer owner"},
            )
            answer.raise_for_status()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """An emulator of this module's own, started with the rules that are deployed."""
    log = tmp_path_factory.mktemp("rules") / "emulator.txt"
    with Emulator.prepare(os.environ, log, rules=RULES) as emulator, httpx.Client(timeout=30) as http:
        made = Database(f"{emulator.url}/v1/projects/demo-rules/databases/(default)/documents", http)
        made.seed()
        yield made


ALLOWED = 200
DENIED = 403


def expected(*, allowed: bool) -> int:
    """The HTTP status."""
    return ALLOWED if allowed else DENIED


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("collection", TOTALS)
def test_whoever_is_signed_in_reads_totals(database: Database, collection: str, caller: str) -> None:
    """An app shows the totals to its users, and to nobody else."""
    client = database.as_(CALLERS[caller])
    allowed = expected(allowed=caller != "nobody")
    assert client.get(f"{collection}/one") == allowed
    assert client.list(collection) == allowed


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("collection", BOOKS)
def test_only_the_operator_reads_the_book_keeping(database: Database, collection: str, caller: str) -> None:
    """Watermark, markers, rejections and runs are the operator's to read."""
    client = database.as_(CALLERS[caller])
    allowed = expected(allowed=caller == "operator")
    assert client.get(f"{collection}/one") == allowed
    assert client.list(collection) == allowed


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("collection", [*TOTALS, *BOOKS])
def test_nobody_writes_what_libra_keeps(database: Database, collection: str, caller: str) -> None:
    """Not even the operator: what is counted moves by the functions alone."""
    client = database.as_(CALLERS[caller])
    count = {"count": {"integerValue": "1000"}}
    assert client.create(collection, count) == DENIED
    assert client.update(f"{collection}/one", count) == DENIED
    assert client.delete(f"{collection}/one") == DENIED


@pytest.mark.parametrize("caller", CALLERS)
def test_devices_create_entries_and_operators_read_them(database: Database, caller: str) -> None:
    """Who creates an entry is a device; who reads one is the operator."""
    client = database.as_(CALLERS[caller])
    assert client.create("libra", ENTRY) == expected(allowed=caller == "device")
    assert client.get("libra/one") == expected(allowed=caller == "operator")
    assert client.list("libra") == expected(allowed=caller == "operator")


@pytest.mark.parametrize("caller", CALLERS)
def test_nobody_edits_or_deletes_an_entry(database: Database, caller: str) -> None:
    """What was counted stays counted."""
    client = database.as_(CALLERS[caller])
    assert client.update("libra/one", ENTRY) == DENIED
    assert client.delete("libra/one") == DENIED


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY | {"amount": {"integerValue": "12"}},
        ENTRY | {"ingredient": text("")},
        ENTRY | {"dataAction": text("SomethingNew")},
        ENTRY | {"ingredient": text("x" * 375)},
    ],
    ids=["whole grams", "no ingredient", "another action", "a long ingredient"],
)
def test_every_shape_that_is_counted_is_accepted(database: Database, entry: Json) -> None:
    """The rules are no narrower than what Libra counts."""
    assert database.as_({"libra": "device"}).create("libra", entry) == ALLOWED


@pytest.mark.parametrize(
    "entry",
    [
        *({key: value for key, value in ENTRY.items() if key != missing} for missing in ENTRY),
        ENTRY | {"timestamp": text("2025-09-04T18:57:29Z")},
        ENTRY | {"amount": text("12.5")},
        ENTRY | {"dataAction": text("")},
        ENTRY | {"location": {"integerValue": "1"}},
        ENTRY | {"ingredient": text("x" * 376)},
        ENTRY | {"count": {"integerValue": "1"}},
        ENTRY | {"device": text("Lib298190")},
        with_device({"model": text("LibraV0")}),
        with_device({"model": text("LibraV0"), "serialNumber": text("")}),
        with_device({"model": text("LibraV0"), "serialNumber": text("a"), "owner": text("b")}),
        {},
    ],
)
def test_another_shape_is_refused(database: Database, entry: Json) -> None:
    """A field too few, too many, or of another type does not get in."""
    assert database.as_({"libra": "device"}).create("libra", entry) == DENIED


def test_a_device_with_a_serial_number_writes_only_as_itself(database: Database) -> None:
    """A stolen token of one scale cannot speak for another."""
    mine = {"libra": "device", "serialNumber": "Lib298190"}
    other = {"libra": "device", "serialNumber": "Lib000001"}
    assert database.as_(mine).create("libra", ENTRY) == ALLOWED
    assert database.as_(other).create("libra", ENTRY) == DENIED


def test_a_device_can_not_overwrite_by_creating(database: Database) -> None:
    """Writing to an id that is taken is an edit, and refused as one."""
    device = database.as_({"libra": "device"})
    name = uuid.uuid4().hex
    assert device.update(f"libra/{name}", ENTRY) == ALLOWED
    assert device.update(f"libra/{name}", ENTRY) == DENIED


@pytest.mark.parametrize("path", ["customers/one", "libra/one/notes/one", "collector_keys/one"])
def test_what_is_not_named_is_closed(database: Database, path: str) -> None:
    """A collection that the rules do not name belongs to nobody."""
    assert database.as_({"libra": "operator"}).get(path) == DENIED
