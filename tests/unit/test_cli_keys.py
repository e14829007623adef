"""What `libra keys` prints and takes, over the in-memory store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result

from cli.commands import keys
from cli.main import main
from shared import api_keys
from shared.settings import Settings
from shared.store import Merge
from tests.support.memory_store import MemoryStore


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The store that the environment names."""
    memory = MemoryStore(lambda: datetime.now(UTC))

    @contextmanager
    def connected(*_: object) -> Iterator[tuple[MemoryStore, Settings]]:
        yield memory, Settings()

    monkeypatch.setattr(keys, "connected", connected)
    monkeypatch.setattr(keys, "named_store", connected)
    return memory


def libra(*arguments: str) -> Result:
    """Run `libra keys`."""
    return CliRunner().invoke(main, ["keys", *arguments])


def test_a_key_is_printed_alone_and_once(store: MemoryStore) -> None:
    """Standard output is the key, for a pipe into a secret manager; no list ever shows it."""
    made = libra("create", "web shop", "--source", "user_events", "--source", "signals", "--rate", "50")
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    found = api_keys.find(store, api_keys.key_id(key) or "")
    assert found.is_of(key)
    assert (found.name, found.sources, found.rate) == ("web shop", ("user_events", "signals"), 50)
    assert f"libra keys revoke {found.id}" in made.stderr
    for listed in (libra("list"), libra("list", "--json")):
        assert found.id in listed.stdout
        assert "web shop" in listed.stdout
        assert key.rpartition("_")[2] not in listed.output
        assert found.sha256 not in listed.output


def test_json_tells_the_same_in_plain_values(store: MemoryStore) -> None:
    """The key in `create` alone."""
    made = json.loads(libra("create", "a", "--source", "signals", "--json").stdout)
    stored = api_keys.find(store, made["id"])
    assert stored.is_of(made.pop("key"))
    assert json.loads(libra("list", "--json").stdout) == {"keys": [made]}
    assert made["created_at"] == stored.created_at.isoformat()
    assert (made["name"], made["sources"], made["rate"], made["revoked_at"]) == ("a", ["signals"], None, None)
    revoked = json.loads(libra("revoke", made["id"], "--json").stdout)
    assert revoked == made | {"revoked_at": revoked["revoked_at"]}
    assert datetime.fromisoformat(revoked["revoked_at"]).tzinfo


@pytest.mark.usefixtures("store")
def test_a_revoked_key_is_listed_as_revoked() -> None:
    """With the day, and how long it still works."""
    key = libra("create", "a", "--source", "signals").stdout.strip()
    said = " ".join(libra("revoke", api_keys.key_id(key) or "").stdout.split())
    assert "refuses it within a minute" in said
    assert "revoked 2" in libra("list").stdout


@pytest.mark.usefixtures("store")
def test_no_keys_is_no_error() -> None:
    """And says how to make one."""
    assert "libra keys create" in libra("list").stdout
    assert json.loads(libra("list", "--json").stdout) == {"keys": []}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("create", "a", "--source", "libra"), 2, "libra: expected one or more of user_events, signals"),
        (("create", "a"), 2, "Missing option '--source'"),
        (("create", "", "--source", "signals"), 2, "name ''"),
        (("create", "a", "--source", "signals", "--rate", "0"), 2, "rate 0: expected 1 to 100000"),
        (("revoke", "0123456789ab"), 1, "there is no API key '0123456789ab': libra keys list"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_what_is_allowed(
    arguments: tuple[str, ...], status: int, message: str
) -> None:
    """In one line, with the status of a mistake."""
    done = libra(*arguments)
    assert (done.exit_code, message in done.stderr) == (status, True), done.output


def test_a_name_cannot_steer_the_terminal(store: MemoryStore) -> None:
    """Somebody else may have written the document."""
    made, _ = api_keys.create(store, "a", ["signals"], ["signals"])
    store.commit([Merge(f"{api_keys.COLLECTION}/{made.id}", {("name",): "\x1b[2J"})], timeout=10)
    assert "\x1b" not in libra("list").stdout
