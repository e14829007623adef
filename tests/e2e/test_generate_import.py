"""`libra generate` and `libra import` into a real Firestore emulator."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import writing
from cli.main import main
from local.emulator import Emulator
from shared.errors import Transient
from shared.settings import Settings
from shared.store import Query, Write
from shared.store.client import FirestoreStore

ENTRY = {"ingredient": "Rice", "dataAction": "Served", "timestamp": "2025-09-04T18:57:29Z", "amount": 12.5}


@pytest.fixture
def environment(emulator: Emulator, project: str) -> dict[str, str]:
    """Names the emulator and this test's project."""
    return {"FIRESTORE_EMULATOR_HOST": emulator.address, "GOOGLE_CLOUD_PROJECT": project}


@pytest.fixture
def store(environment: dict[str, str]) -> Iterator[FirestoreStore]:
    """The same, as a store."""
    store = FirestoreStore.connect(Settings.from_environment(environment))
    yield store
    store.close()


def libra(environment: dict[str, str], *arguments: str) -> Result:
    """Run a command."""
    result = CliRunner().invoke(main, list(arguments), env=environment)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def entries(store: FirestoreStore) -> dict[str, dict[str, Any]]:
    """What is in Firestore, by id."""
    return {document.path.split("/")[1]: dict(document.fields) for document in store.query(Query("libra"))}


def test_generate_writes_so_many_entries_once(environment: dict[str, str], store: FirestoreStore) -> None:
    """The same seed again finds them there; another seed adds its own."""
    assert (
        "450 entries written, 0 were there already."
        in libra(environment, "generate", "--entries", "450").output
    )
    assert "0 entries written, 450 were there" in libra(environment, "generate", "--entries", "450").output
    assert libra(environment, "generate", "--entries", "10", "--seed", "2").exit_code == 0
    assert len(entries(store)) == 460


def test_generate_edits_and_deletes_a_share(environment: dict[str, str], store: FirestoreStore) -> None:
    """Once all are written; a second run writes the deleted ones again and deletes them again."""
    words = ("generate", "--entries", "200", "--edits", "5%", "--deletions", "0.02")
    assert "14 entries edited or deleted" in libra(environment, *words).output
    assert store.count(Query("libra")) == 196
    again = libra(environment, *words).output
    assert "4 entries written, 196 were there" in again
    assert store.count(Query("libra")) == 196


def test_a_share_is_a_number_or_per_cent(environment: dict[str, str]) -> None:
    """Anything else ends the command with what is allowed."""
    for wrong in ("2", "-1%", "much"):
        result = libra(environment, "generate", "--edits", wrong)
        assert result.exit_code == 2
        assert "is no share such as 0.05 or 5%, from 0 to 1" in result.output


def test_generate_keeps_to_a_rate(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between batches it waits as long as the rate asks for, and not after the last one is due."""
    now, slept = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(seconds, 3))
        now += seconds

    monkeypatch.setattr("cli.writing.time.sleep", sleep)
    monkeypatch.setattr("cli.writing.time.monotonic", lambda: now)
    assert libra(environment, "generate", "--entries", "25", "--rate", "50").exit_code == 0
    assert slept == [0.2, 0.2, 0.1]


@pytest.fixture
def credentials(tmp_path: Path) -> str:
    """Credentials that reach nothing, but can be loaded."""
    file = tmp_path / "credentials.json"
    found = {"type": "authorized_user", "client_id": "x", "client_secret": "x", "refresh_token": "x"}
    file.write_text(json.dumps(found))
    return str(file)


@pytest.mark.parametrize("flag", [[], ["--real-project", "another"]])
def test_a_real_project_is_not_written_to_by_mistake(
    credentials: str, tmp_path: Path, flag: list[str]
) -> None:
    """Without an emulator in the environment it has to be named, by its own name."""
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": credentials, "GOOGLE_CLOUD_PROJECT": "restaurants"}
    file = tmp_path / "entries.jsonl"
    file.write_text(json.dumps(ENTRY))
    for command in (["generate"], ["import", str(file)]):
        result = libra(environment, *command, *flag)
        assert result.exit_code == 1
        assert "this would write to the real project 'restaurants'" in result.output
        assert "say so with --real-project restaurants" in result.output


@pytest.mark.parametrize(
    ("variable", "command"),
    [
        ("FIRESTORE_EMULATOR_HOST", ("keys", "create", "shop", "--source", "user_events")),
        ("FIRESTORE_EMULATOR_HOST", ("generate",)),
        ("PUBSUB_EMULATOR_HOST", ("replay", "--source", "user_events")),
    ],
)
def test_an_emulator_is_not_written_to_by_mistake(
    credentials: str, variable: str, command: tuple[str, ...]
) -> None:
    """A shell that still has the variables of `libra up`: a key would be made where no sender looks."""
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": credentials, "GOOGLE_CLOUD_PROJECT": "restaurants"}
    result = libra(environment | {variable: "127.0.0.1:9"}, *command, "--real-project", "restaurants")
    assert result.exit_code == 1
    assert f"write to the emulator at 127.0.0.1:9, which {variable} names: unset {variable}" in result.output


def test_without_credentials_it_says_what_to_set(tmp_path: Path) -> None:
    """One line, not the traceback of a library."""
    missing = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "no.json"), "GOOGLE_CLOUD_PROJECT": "x"}
    result = libra(missing, "generate")
    assert result.exit_code == 1
    assert result.output.startswith("libra: no credentials for Firestore: ")
    assert "set FIRESTORE_EMULATOR_HOST" in result.output


def test_import_writes_the_good_lines_and_names_the_others(
    environment: dict[str, str], store: FirestoreStore, tmp_path: Path
) -> None:
    """Each wrong line with its number and reason, status 1; the good ones are there, with their ids."""
    file = tmp_path / "entries.jsonl"
    naive = ENTRY | {"timestamp": "2025-09-04T18:57:29"}
    written = [ENTRY | {"id": "mine"}, naive, ENTRY, ENTRY, ENTRY | {"location": "x" * 1_100_000}]
    file.write_text("\n".join(map(json.dumps, written)))
    result = libra(environment, "import", str(file))
    assert result.exit_code == 1
    assert f"{file}:2: timestamp='2025-09-04T18:57:29': no time zone" in result.output
    assert f"{file}:5: Firestore refuses it: " in result.output
    assert "3 entries written, 0 were there already, 2 wrong lines." in result.output
    found = entries(store)
    assert len(found) == 3
    assert found["mine"]["amount"] == 12.5


def test_import_again_changes_nothing(
    environment: dict[str, str], store: FirestoreStore, tmp_path: Path
) -> None:
    """With and without ids, from either kind of file; existing entries are never overwritten."""
    lines = tmp_path / "entries.jsonl"
    lines.write_text("\n".join(map(json.dumps, [ENTRY | {"id": "mine"}, ENTRY, ENTRY])))
    table = tmp_path / "entries.csv"
    table.write_text("ingredient,dataAction,timestamp,id\nSoup,Served,2025-09-04T18:57:29Z,mine\n")
    assert (
        "3 entries written, 0 were there already, 0 wrong lines."
        in libra(environment, "import", str(lines)).output
    )
    result = libra(environment, "import", str(lines))
    assert (result.exit_code, "0 entries written, 3 were there" in result.output) == (0, True)
    assert "0 entries written, 1 were there" in libra(environment, "import", str(table)).output
    assert entries(store)["mine"]["ingredient"] == "Rice"


def test_a_lost_answer_writes_nothing_twice(
    environment: dict[str, str], store: FirestoreStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit whose reply is lost is asked for again, and finds its entries there."""
    commit = FirestoreStore.commit
    lost: list[object] = []

    def losing(self: FirestoreStore, writes: list[Write], **options: Any) -> object:
        answer = commit(self, writes, **options)
        if not lost:
            lost.append(answer)
            raise Transient("the answer is lost")
        return answer

    monkeypatch.setattr(FirestoreStore, "commit", losing)
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0)
    result = libra(environment, "generate", "--entries", "30")
    assert "0 entries written, 30 were there already." in result.output
    assert len(entries(store)) == 30
