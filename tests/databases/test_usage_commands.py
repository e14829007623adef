"""`libra usage` and `python -m services.usage`, on a real Valkey and a real PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from local.databases import ValkeyServer
from services.api.application import application
from services.api.settings import ApiSettings
from services.usage.booking import Result as Flushed
from services.usage.counters import Counters, Raise
from services.usage.running import Scheduler
from services.usage.settings import UsageSettings
from shared.errors import SettingError, Transient
from shared.parts import hour_of
from tests.support.api import ENVIRONMENT, PROJECT, Api

ROOT = Path(__file__).resolve().parents[2]


def libra(environment: dict[str, str], *arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, ["usage", *arguments], env=environment)


def told(result: Result, status: int = 0) -> dict[str, Any]:
    """The JSON it printed."""
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_from_a_count_to_a_bill(environment: dict[str, str]) -> None:
    """Track, flush, status, verify, admit, as an operator runs them."""
    assert "Counted 5 requests for acme" in libra(environment, "track", "acme", "requests", "5").output
    assert libra(environment, "track", "", "requests").exit_code == 1
    assert told(libra(environment, "flush", "--merchant", "b", "--json"))["records"] == 0
    assert told(libra(environment, "flush", "--date", "yesterday", "--json"))["records"] == 0
    assert told(libra(environment, "flush", "--json"))["gained"] == 5
    assert told(libra(environment, "flush", "--retry", "--json"))["records"] == 0
    found = told(libra(environment, "status", "--json"))
    assert [it["kind"] for it in found["runs"]] == ["flush"] * 3
    assert found["sealed_through"]
    assert told(libra(environment, "verify", "--json")) == {"agree": True, "repaired": False, "drifts": []}
    assert told(libra(environment, "admit", "--json")) == {"admitted": 0}
    assert "5 booked" not in libra(environment, "status").output
    assert "Every total is the sum of its parts" in libra(environment, "verify").output


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Pacific/Kiritimati"])
def test_a_count_by_hand_is_of_the_date_of_the_bills(environment: dict[str, str], zone: str) -> None:
    """`LIBRA_TIME_ZONE` has it, as for `admit`: in one of these it is another date than in UTC."""
    environment |= {"LIBRA_TIME_ZONE": zone}
    days = {datetime.now(ZoneInfo(zone)).date().isoformat()}
    libra(environment, "track", "acme", "requests")
    days.add(datetime.now(ZoneInfo(zone)).date().isoformat())
    libra(environment, "flush")
    (window,) = told(libra(environment, "totals", "acme", "--json"))["windows"]
    assert window["begin"] in days


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Pacific/Kiritimati"])
def test_yesterday_is_the_day_before_in_the_time_zone_of_the_bills(
    environment: dict[str, str], valkey_server: ValkeyServer, zone: str
) -> None:
    """A job that books yesterday books the day that the bill is of."""
    redis = Counters.connect(valkey_server.url)
    hour = hour_of(datetime.now(ZoneInfo(zone)) - timedelta(days=1), ZoneInfo(zone))
    redis.raise_to([Raise("acme", hour, (("requests", "i1", 5),))])
    redis.close()
    found = told(libra(environment | {"LIBRA_TIME_ZONE": zone}, "flush", "--date", "yesterday", "--json"))
    midnight = hour_of(datetime.now(ZoneInfo(zone)) - timedelta(days=1), ZoneInfo(zone)).date != hour.date
    assert found["gained"] == 5 or midnight


def test_windows_and_the_merchants_that_use_most(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hour, day, week and month, with what is sealed; the largest first. The API says the same."""
    rows = (
        ("acme", "2026-10-25", "requests", "2026-10-25T12:00Z", 1),
        ("acme", "2026-10-26", "requests", "2026-10-26T12:00Z", 2),
        ("acme", "2026-10-26", "requests", "2026-10-26T13:00Z", 4),
        ("acme", "2026-10-26", "bytes", "2026-10-26T13:00Z", 100),
        ("b", "2026-10-26", "requests", "2026-10-26T13:00Z", 50),
    )
    libra(environment, "status")
    with psycopg.connect(environment["LIBRA_POSTGRES_URL"]) as connection:
        for row in rows:
            connection.execute("INSERT INTO usage_part VALUES (%s, %s, %s, %s, 'i', %s)", row)
        connection.execute("UPDATE usage_state SET sealed_through = '2026-10-26T13:00Z'")
    libra(environment, "verify", "--repair")

    def windows(*arguments: str) -> list[tuple[str, str, int, bool]]:
        found = told(libra(environment, "totals", "acme", *arguments, "--json"))
        assert found["exact_through"] == "2026-10-26T13:00:00+00:00"
        return [(it["begin"][:16], it["metric"], it["value"], it["sealed"]) for it in found["windows"]]

    assert windows() == [
        ("2026-10-26", "bytes", 100, False),
        ("2026-10-26", "requests", 6, False),
        ("2026-10-25", "requests", 1, True),
    ]
    assert windows("--by", "hour", "--from", "2026-10-26")[1:] == [
        ("2026-10-26T13:00", "requests", 4, False),
        ("2026-10-26T12:00", "requests", 2, True),
    ]
    assert windows("--by", "week", "--to", "2026-10-25") == [("2026-10-19", "requests", 1, True)]
    assert windows("--by", "month")[1] == ("2026-10-01", "requests", 7, False)
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    api = Api(application(ApiSettings.from_environment(ENVIRONMENT | environment)), PROJECT)
    for by in ("hour", "day", "week", "month"):
        answer = api.get(f"/v1/usage/acme?by={by}&from=2026-10-26").json()
        assert answer["exact_through"] == "2026-10-26T13:00:00Z"
        listed = [(it["begin"][:16], it["metric"], it["value"], it["sealed"]) for it in answer["windows"]]
        assert listed == windows("--by", by, "--from", "2026-10-26")
    assert api.get("/v1/usage/nobody").json()["windows"] == []
    api.app.state.usage._opened()[1].close()
    top = told(libra(environment, "totals", "--json", "--top", "1"))["top"]
    assert [(it["metric"], it["merchant"], it["value"]) for it in top] == [
        ("bytes", "acme", 100),
        ("requests", "b", 50),
    ]
    assert "not sealed" in libra(environment, "totals", "acme", "--by", "hour").output
    assert "requests  b  50" in libra(environment, "totals").output


def test_drift_and_what_is_set_aside_have_their_exit_statuses(
    environment: dict[str, str], valkey_server: ValkeyServer
) -> None:
    """1: totals differ; 3: something cannot be read. A repair is in the list of runs."""
    libra(environment, "track", "acme", "requests", "5")
    redis = Counters.connect(valkey_server.url)
    wrong = "usage-parts:{b}:2026-11-25:2026-11-25T12:00Z"
    redis._client.set(wrong, "no hash")
    assert told(libra(environment, "flush", "--json"), 3)["errors"] == 1
    assert "the key is no hash" in libra(environment, "status").output
    (row,) = told(libra(environment, "aside", "--json"))["rows"]
    assert (row["key"], row["due"]) == (wrong, 0)
    assert row["id"][:12] in libra(environment, "aside").output
    assert "names no row" in libra(environment, "forget", "00000000", "--because", "x").output
    assert "names no row" in libra(environment, "forget", row["id"][:7], "--because", "x").output
    assert libra(environment, "forget", row["id"]).exit_code == 2
    redis._client.delete(wrong)
    redis.close()
    assert (
        "Forgotten: 0 of " + wrong
        in libra(environment, "forget", row["id"][:12], "--because", "a test").output
    )
    assert libra(environment, "aside").output == "Nothing is set aside.\n"
    found = told(libra(environment, "status", "--json"))
    assert found["aside"] == []
    assert (found["runs"][0]["kind"], found["runs"][0]["because"]) == ("forget", "a test")
    assert found["runs"][0]["rows"][0]["key"] == wrong
    with psycopg.connect(environment["LIBRA_POSTGRES_URL"]) as connection:
        connection.execute("UPDATE merchant_usage SET metric_value = 4")
    (drift,) = told(libra(environment, "verify", "--json"), 1)["drifts"]
    assert (drift["merchant"], drift["parts"], drift["total"]) == ("acme", 5, 4)
    assert told(libra(environment, "verify", "--repair", "--json"))["repaired"]
    assert told(libra(environment, "verify", "--json"))["agree"]
    assert told(libra(environment, "status", "--json"))["runs"][0]["kind"] == "repair"


def test_a_full_disk_fails_the_run_and_loses_nothing(environment: dict[str, str]) -> None:
    """As PostgreSQL says so (53100): status 1, nothing is sealed, and the next run books all of it."""
    libra(environment, "track", "acme", "requests", "5")
    libra(environment, "status")
    full = """
        CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER no_room BEFORE INSERT ON usage_part EXECUTE FUNCTION no_room();
    """
    with psycopg.connect(environment["LIBRA_POSTGRES_URL"], autocommit=True) as connection:
        connection.execute(full)
        failed = libra(environment, "flush")
        assert (failed.exit_code, "No space left on device" in failed.output) == (1, True), failed.output
        assert told(libra(environment, "status", "--json"))["sealed_through"] is None
        connection.execute("DROP TRIGGER no_room ON usage_part")
    assert told(libra(environment, "flush", "--json"))["gained"] == 5


@pytest.mark.parametrize(
    ("setting", "arguments", "status", "says"),
    [
        ({"LIBRA_REDIS_URL": ""}, ["flush"], 2, "LIBRA_REDIS_URL=''"),
        ({"LIBRA_REDIS_URL": "redis://127.0.0.1:1"}, ["flush"], 1, "Redis 127.0.0.1:1"),
        ({"LIBRA_POSTGRES_URL": "postgresql://127.0.0.1:1/x"}, ["status"], 1, "PostgreSQL 127.0.0.1:1/x"),
        ({"LIBRA_USAGE_CLOSE_SECONDS": "1e9"}, ["flush"], 2, "from 0 to 10800"),
        ({"LIBRA_USAGE_METRICS": "x" * 101}, ["flush"], 2, "101 characters"),
        ({"LIBRA_LOG_LEVEL": "INFO"}, ["flush", "--date", "yesterday", "--to", "yesterday"], 2, "exclude"),
        ({"LIBRA_LOG_LEVEL": "INFO"}, ["flush", "--retry", "--merchant", "x"], 2, "--retry"),
        ({"LIBRA_LOG_LEVEL": "INFO"}, ["flush", "--date", "x"], 2, "is not a date"),
    ],
)
def test_what_cannot_be_used_is_named(
    environment: dict[str, str], setting: dict[str, str], arguments: list[str], status: int, says: str
) -> None:
    """The variable or the option, what was found and what is allowed."""
    result = libra(environment | setting, *arguments)
    assert result.exit_code == status
    assert says in result.output


def test_every_variable_is_read_once() -> None:
    """Into one frozen object."""
    given = {
        "LIBRA_REDIS_URL": "redis://r",
        "LIBRA_POSTGRES_URL": "postgresql://p/d",
        "LIBRA_USAGE_CLOSE_SECONDS": "60",
        "LIBRA_USAGE_EVERY_SECONDS": "30",
        "LIBRA_USAGE_METRICS": "requests, bytes",
    }
    settings = UsageSettings.from_environment(given)
    assert settings.close_after == timedelta(minutes=1)
    assert settings.every == timedelta(seconds=30)
    assert settings.metrics == frozenset({"requests", "bytes"})
    with pytest.raises(SettingError, match="LIBRA_POSTGRES_URL"):
        UsageSettings.from_environment({"LIBRA_REDIS_URL": "redis://r"})


def job(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    """`python -m services.usage`."""
    command = [sys.executable, "-m", "services.usage", *arguments]
    return subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_the_job_logs_lines_of_json_and_ends_with_its_status(environment: dict[str, str]) -> None:
    """As a platform runs it."""
    libra(environment, "track", "acme", "requests", "5")
    with job(environment) as done:
        lines = [json.loads(it) for it in done.communicate(timeout=60)[0].splitlines()]
    assert done.returncode == 0
    assert [(it["message"], it["gained"]) for it in lines] == [("Usage flush completed", 5)]
    for arguments, broken, status in (
        (["what"], {}, 2),
        ([], {"LIBRA_POSTGRES_URL": ""}, 2),
        ([], {"LIBRA_REDIS_URL": "redis://127.0.0.1:1"}, 1),
    ):
        with job(environment | broken, *arguments) as done:
            assert done.wait(60) == status


def test_the_scheduler_flushes_until_it_is_told_to_stop(environment: dict[str, str]) -> None:
    """SIGTERM ends it in good order, after the run that is under way."""
    with job(environment | {"LIBRA_USAGE_EVERY_SECONDS": "1"}, "schedule") as running:
        assert running.stdout
        for _ in range(2):
            assert "Usage flush completed" in running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


def test_runs_do_not_overlap_and_a_failure_ends_none() -> None:
    """A run that takes longer than the interval is followed at once, by one."""
    begun: list[float] = []

    def run() -> Flushed:
        begun.append(time.monotonic())
        if len(begun) == 1:
            raise Transient("Redis is away")
        if len(begun) == 3:
            scheduler.stop()
        time.sleep(0.02)
        return Flushed()

    scheduler = Scheduler(run, every=timedelta(seconds=0.001), spread=lambda: 1.0)
    scheduler.loop()
    assert len(begun) == 3
    assert begun[2] - begun[1] >= 0.02
