"""`functions.yaml`, `deploy.sh`, `firebase.json`, the rules, the indexes and the code say the same."""

import ast
import inspect
import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import indexes, parameters, stage
from deploy.arguments import options_of
from deploy.google import RULES
from deploy.steps import NAMES
from deploy.steps.base import TRIGGERS
from shared.catalog import LIBRA_HOME, libra, sources
from shared.events import Map
from shared.schemas import SCHEMAS
from shared.settings import Settings
from tests.deploy.conftest import ROOT, WHERE

MANIFEST: dict[str, Any] = yaml.safe_load((ROOT / "functions" / "functions.yaml").read_text(encoding="utf-8"))
FIREBASE: dict[str, Any] = json.loads((ROOT / "firebase.json").read_text(encoding="utf-8"))
ENDPOINTS: dict[str, Any] = MANIFEST["endpoints"]


class Asked(Mapping[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@pytest.fixture(scope="module")
def planned() -> dict[str, dict[str, str]]:
    """The flags of each command of `deploy.sh plan`, by the command's first words."""
    done = subprocess.run(
        [ROOT / "deploy.sh", "plan", *WHERE, "--env-file=none.env"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin"},
    )
    commands = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("gcloud")]
    return {
        " ".join(word for word in words if not word.startswith("--")): dict(
            word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--")
        )
        for words in commands
    }


def function(planned: dict[str, dict[str, str]], name: str) -> dict[str, str]:
    """The flags with which gcloud deploys a function."""
    return planned[f"gcloud functions deploy {name}"]


def test_the_manifest_names_the_entry_points_of_the_code() -> None:
    """Every function that is deployed is in main.py, and every entry point there is deployed."""
    tree = ast.parse((ROOT / "functions" / "main.py").read_text(encoding="utf-8"))
    decorated = {
        it.name
        for it in tree.body
        if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef) and it.decorator_list
    }
    assert {it["entryPoint"] for it in ENDPOINTS.values()} == decorated
    assert stage.entry_points() == [it["entryPoint"] for it in ENDPOINTS.values()]


@pytest.mark.parametrize("name", ENDPOINTS)
def test_gcloud_deploys_what_firebase_would(planned: dict[str, dict[str, str]], name: str) -> None:
    """Entry point, time, memory, concurrency, instances, ingress and account are the same in both."""
    flags, endpoint = function(planned, name), ENDPOINTS[name]
    values = parameters.read({}, {}, ROOT / "none.env")
    given = {it.variable: it.for_firebase(values[it.variable]) for it in parameters.PARAMETERS}
    given["PROJECT_ID"] = "kitchen-1"

    def resolved(value: object) -> str:
        return re.sub(r"\{\{ params\.(\w+) \}\}", lambda match: given[match[1]], str(value))

    megabytes = {"512Mi": "512", "1Gi": "1024"}
    assert flags["entry-point"] == endpoint["entryPoint"]
    assert flags["timeout"] == f"{endpoint['timeoutSeconds']}s"
    assert megabytes[flags["memory"]] == resolved(endpoint["availableMemoryMb"])
    assert flags["cpu"] == resolved(endpoint["cpu"])
    assert flags["concurrency"] == resolved(endpoint["concurrency"])
    assert flags["min-instances"] == resolved(endpoint["minInstances"])
    assert flags["max-instances"] == resolved(endpoint["maxInstances"])
    assert (flags["ingress-settings"], endpoint["ingressSettings"]) == (
        "internal-only",
        "ALLOW_INTERNAL_ONLY",
    )
    assert flags["service-account"] == resolved(endpoint["serviceAccount"])
    assert flags["runtime"] == FIREBASE["functions"][0]["runtime"]


@pytest.mark.parametrize("name", TRIGGERS)
def test_both_tools_set_the_same_trigger(planned: dict[str, dict[str, str]], name: str) -> None:
    """Event type, filters, retry, account and place; and the path is that of the source's own collection."""
    flags = function(planned, name)
    trigger = ENDPOINTS[name]["eventTrigger"]
    assert trigger["eventType"] == f"google.cloud.firestore.document.v1.{TRIGGERS[name]}"
    filters = dict(it.split("=") for it in flags["trigger-event-filters"].split(","))
    assert filters.pop("type") == trigger["eventType"]
    assert filters.keys() == trigger["eventFilters"].keys()
    pattern = trigger["eventFilterPathPatterns"]["document"]
    assert flags["trigger-event-filters-path-pattern"] == f"document={pattern}"
    assert pattern == f"{LIBRA_HOME.entries}/{{entryId}}"
    assert "retry" in flags
    assert trigger["retry"] is True
    assert trigger["region"] == "{{ params.LIBRA_LOCATION }}"


def test_both_tools_set_the_same_schedule(planned: dict[str, dict[str, str]]) -> None:
    """The same time in the same zone, with the same patience."""
    flags = planned["gcloud scheduler jobs create http libra-recompute"]
    trigger = ENDPOINTS["libra-recompute"]["scheduleTrigger"]
    assert trigger["schedule"] == "{{ params.LIBRA_SCHEDULE }}"
    assert trigger["timeZone"] == "{{ params.LIBRA_TIME_ZONE }}"
    retries = trigger["retryConfig"]
    assert flags["max-retry-attempts"] == str(retries["retryCount"])
    assert flags["min-backoff"] == f"{retries['minBackoffSeconds']}s"
    assert flags["max-backoff"] == f"{retries['maxBackoffSeconds']}s"
    assert flags["max-doublings"] == str(retries["maxDoublings"])


def test_the_threads_and_the_concurrency_are_one_parameter(planned: dict[str, dict[str, str]]) -> None:
    """Whichever tool deploys, they cannot differ."""
    flags = function(planned, "libra-on-created")
    assert f"THREADS={flags['concurrency']}" in flags["set-env-vars"].split("@@")
    assert ENDPOINTS["libra-on-created"]["concurrency"] == "{{ params.THREADS }}"
    assert "THREADS" in {it["name"] for it in MANIFEST["params"]}


def test_every_setting_that_the_code_reads_is_deployed() -> None:
    """What `Settings` asks the environment for, `deploy.sh` and Firebase give; the emulator's host aside."""
    asked = Asked()
    Settings.from_environment(asked)
    runtime = {it.variable for it in parameters.PARAMETERS if it.runtime}
    assert asked.names - {"FIRESTORE_EMULATOR_HOST"} == runtime
    assert runtime - {it["name"] for it in MANIFEST["params"]} == {"GOOGLE_CLOUD_PROJECT"}  # Firebase's own


def test_defaults_are_the_settings_own() -> None:
    """A deployment that says nothing runs as the code would by itself."""
    values = parameters.read({}, {}, ROOT / "none.env")
    assert Settings.from_environment(parameters.runtime(values)) == Settings.from_environment({})
    declared = {it["name"]: str(it["default"]) for it in MANIFEST["params"] if "default" in it}
    known = {it.variable: it for it in parameters.PARAMETERS}
    assert declared == {name: known[name].for_firebase(values[name]) for name in declared}


def test_firebase_ignores_no_parameter_in_silence() -> None:
    """What a function or the schedule reads is a parameter of the manifest too, or a note says what to do."""
    names = {it["name"] for it in MANIFEST["params"]} | {"GOOGLE_CLOUD_PROJECT"}
    components = {"trigger", "recompute", "schedule"}
    for it in parameters.PARAMETERS:
        if components & set(it.read_by):
            assert (it.variable in names) != bool(it.not_by_firebase), it.variable
        else:
            assert it.variable not in names, it.variable
    used = set(re.findall(r"params\.(\w+)", str(ENDPOINTS))) - {"PROJECT_ID"}
    runtime = {it.variable for it in parameters.PARAMETERS if it.runtime}
    assert names == used | runtime


def test_every_parameter_names_what_reads_it() -> None:
    """Each component is a function of the manifest or a step of the deployment."""
    components = {"trigger", "recompute", "every step", *NAMES}
    for it in parameters.PARAMETERS:
        assert it.read_by, it.variable
        assert set(it.read_by) <= components, it.variable


def test_what_firebase_reads_is_converted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Memory is MiB there; a value that it cannot take is named, and what to do in its place."""
    monkeypatch.setattr(stage, "CONFIG", tmp_path)
    flags = ("--memory=2Gi", "--recompute-memory=512Mi", "--cpu=2", "--secrets=KEY=key:latest")
    values = options_of(("stage", *WHERE, *flags), {}).values
    notes = stage.build(values).splitlines()[1:]
    written = (tmp_path / ".env").read_text(encoding="utf-8").splitlines()
    assert {'LIBRA_MEMORY="2048"', 'LIBRA_RECOMPUTE_MEMORY="512"', 'LIBRA_CPU="2"'} <= set(written)
    assert [note for note in notes if "--secrets" in note] == notes
    assert notes


def test_firebase_takes_the_staged_folder() -> None:
    """One artefact: gcloud, `firebase deploy` and the emulator suite point at the same folder."""
    codebase = FIREBASE["functions"][0]
    assert ROOT / codebase["source"] == stage.STAGED
    assert ROOT / codebase["configDir"] == stage.CONFIG
    assert codebase["predeploy"] == ["./deploy.sh stage"]
    assert "venv" in codebase["ignore"]
    assert inspect.getsource(stage).count("venv") > 0
    assert FIREBASE["emulators"]["ui"]["enabled"] is False


def exempted() -> set[tuple[str, str]]:
    """What is not indexed: what each commit changes in a total, what is long, and what nobody asks for."""
    fields = {(LIBRA_HOME.seen, "expires_at"), (LIBRA_HOME.archives, "deltas")}
    for source, home in sources(Settings()).values():
        changing = ("updated_at",) if home.self_written else ("recent", "updated_at")
        fields |= {(home.collection(it.name), field) for it in source.aggregations for field in changing}
        if home.self_written:
            long = [it.name for it in SCHEMAS[source.name].fields if isinstance(it.kind, Map)]
            fields |= {(home.entries, name) for name in long} | {(home.rejected, "content")}
    return fields


def test_indexes_follow_the_declarations() -> None:
    """A new aggregation brings its exemptions. What queries need, tests/deploy/test_indexes.py says."""
    assert ROOT / FIREBASE["firestore"]["indexes"] == indexes.FILE
    declared = set(indexes.wanted(indexes.declared()))
    exempt = {(it.collection, it.fields[0]) for it in declared if it.kind == "exempt"}
    assert exempt == exempted()
    assert {it for it in declared if it.kind == "ttl"} == {
        indexes.Declared("ttl", LIBRA_HOME.seen, ("expires_at",)),
    }


def test_rules_name_every_collection() -> None:
    """A collection that the rules do not name would be closed to those who are to read it."""
    source, written = libra(Settings()), set()
    for other, home in list(sources(Settings()).values())[1:]:
        assert home.self_written
        written |= {each.name for each in other.aggregations} | {home.entries, home.rejected, home.runs}
    named = set(re.findall(r"match /(\w+)/\{\w+\} \{", RULES.read_text(encoding="utf-8")))
    book_keeping = {LIBRA_HOME.seen, LIBRA_HOME.rejected, LIBRA_HOME.runs, LIBRA_HOME.archives}
    book_keeping.add(LIBRA_HOME.state.partition("/")[0])
    assert named == {it.name for it in source.aggregations} | book_keeping | {LIBRA_HOME.entries} | written
    assert ROOT / FIREBASE["firestore"]["rules"] == RULES
