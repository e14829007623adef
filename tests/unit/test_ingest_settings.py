"""Tenants' settings, secrets, the service's environment, and availability."""

import base64
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.ingestion import secrets
from services.ingestion.availability import Booked, available
from services.ingestion.errors import PartError
from services.ingestion.secrets import Vault
from services.ingestion.settings import IngestionSettings
from services.ingestion.tenants import TenantError, check
from shared.errors import SettingError

URL = {"LIBRA_POSTGRES_URL": "postgresql://u:hidden@h:5432/d"}
AT = datetime(2026, 1, 9, tzinfo=UTC)
SFTP = {"host": "h", "user": "u", "host_key": "k"}


def test_settings_that_a_job_can_use_are_taken() -> None:
    """All at once."""
    sftp = {"host": "h", "user": "u", "host_key": "ssh-ed25519 AAAA", "port": 22, "folder": "out"}
    files = {"encoding": "latin-1", "delimiter": ";", "names": {"users": {"user_id": "Kunde"}}}
    check(
        {"project": "p", "dataset": "analytics_1", "time_zone": "Europe/Zurich", "sftp": sftp, "files": files}
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"shoes": 1},
            "settings: found shoes, allowed are ceilings, dataset, files, project, sftp, time_zone",
        ),
        ({"ceilings": {"shoes": 0.1}}, "ceilings: found shoes, allowed are left, rejected"),
        ({"ceilings": {"left": 2}}, "ceilings.left: found 2, allowed is a share from 0 to 1"),
        ({"ceilings": {"left": "1"}}, "ceilings.left: found '1'"),
        ({"ceilings": {"left": True}}, "ceilings.left: found True"),
        ({"project": "p`; DROP"}, "project: found"),
        ({"time_zone": "Mars/Phobos"}, "time_zone: found 'Mars/Phobos', allowed is an IANA name"),
        ({"sftp": {"host": "h", "user": "u"}}, "sftp.host_key: there is none"),
        ({"files": {"encoding": "ebcdic"}}, "files.encoding: found 'ebcdic', allowed are utf-8, "),
        ({"files": {"delimiter": "x"}}, "files.delimiter: found 'x'"),
        ({"files": {"names": {"shoes": {}}}}, "files.names: found shoes, allowed are locations, users"),
        (
            {"files": {"names": {"users": {"shoe": "x"}}}},
            "files.names.users: found shoe, allowed are created_on",
        ),
        ({"files": {"names": {"users": {"email": 1}}}}, "files.names.users.email: found 1"),
        ({"files": {"names": ["users"]}}, "files.names: found ['users'], allowed is an object"),
        ({"sftp": "sftp://h"}, "sftp: found 'sftp://h', allowed is an object of folder, host"),
        ({"sftp": SFTP | {"hostkey": "k"}}, "sftp: found hostkey, allowed are folder, host, host_key"),
        ({"sftp": SFTP | {"port": "22"}}, "sftp.port: found '22', allowed is a whole number"),
        ({"sftp": SFTP | {"port": 65_536}}, "sftp.port: found 65536"),
        ({"sftp": SFTP | {"folder": None}}, "sftp.folder: found None"),
        ([], "settings: found [], allowed is an object of ceilings, dataset"),
    ],
)
def test_settings_that_no_job_could_use_are_refused(settings: dict[str, Any], reason: str) -> None:
    """The message names the field, what was found and what is allowed."""
    with pytest.raises(TenantError) as found:
        check(settings)
    assert reason in str(found.value)


def test_a_secret_opens_for_its_tenant_and_name_alone() -> None:
    """With the key that sealed it."""
    vault = Vault(os.urandom(32), lambda reference: f"named {reference}")
    sealed = vault.seal("acme", "sftp", "päss")
    assert vault.open("acme", "sftp", {"sftp": sealed}) == "päss"
    assert vault.open("acme", "sftp", {}) is None
    assert vault.open("acme", "sftp", {"sftp": {"reference": "r"}}) == "named r"
    tampered = {"sealed": base64.b64encode(b"x" + base64.b64decode(sealed["sealed"])[1:]).decode()}
    wrong: list[Callable[[], object]] = [
        lambda: vault.open("other", "sftp", {"sftp": sealed}),
        lambda: vault.open("acme", "bigquery", {"bigquery": sealed}),
        lambda: vault.open("acme", "sftp", {"sftp": tampered}),
        lambda: Vault(os.urandom(32), vault.named).open("acme", "sftp", {"sftp": sealed}),
    ]
    for each in wrong:
        with pytest.raises(PartError, match="rotate the secret") as found:
            each()
        assert found.value.code == "credentials"
    without = Vault(None, vault.named)
    with pytest.raises(PartError, match="LIBRA_INGESTION_KEY is not set"):
        without.open("acme", "sftp", {"sftp": sealed})
    with pytest.raises(SettingError, match="LIBRA_INGESTION_KEY"):
        without.seal("acme", "sftp", "x")


def test_the_environment_is_read_and_wrong_values_stop_the_start() -> None:
    """Naming the variable; the key and the password are shown to nobody."""
    key = base64.b64encode(bytes(32)).decode()
    emulator = {
        "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9050",
        "BIGQUERY_STORAGE_EMULATOR_HOST": "127.0.0.1:9060",
    }
    found = IngestionSettings.from_environment(URL | emulator | {secrets.VARIABLE: key})
    assert (found.places.bigquery, found.places.storage) == ("http://127.0.0.1:9050", "127.0.0.1:9060")
    assert (found.parallel, found.vault.key) == (4, bytes(32))
    assert key not in repr(found.vault)
    for wrong in (
        {"LIBRA_POSTGRES_URL": ""},
        {secrets.VARIABLE: "c2hvcnQ="},
        {secrets.VARIABLE: "%%%"},
        {"BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9050"},
        {"BIGQUERY_STORAGE_EMULATOR_HOST": "127.0.0.1:9060"},
        {"LIBRA_INGESTION_PARALLEL": "0"},
        {"LIBRA_INGESTION_LEASE_SECONDS": "1"},
        {"LIBRA_INGESTION_REJECTED_DAYS": "0"},
    ):
        (variable,) = wrong
        with pytest.raises(SettingError) as error:
            IngestionSettings.from_environment(URL | wrong)
        assert variable in str(error.value) or "EMULATOR_HOST" in variable
        assert "c2hvcnQ=" not in str(error.value)


def test_availability_tells_gaps_and_provisional_days() -> None:
    """Gaps of events only: a file may come on any day."""

    def booked(kind: str, day: int, *, provisional: bool = False) -> Booked:
        at = AT + timedelta(hours=day)
        return Booked(kind, date(2026, 1, day), "s", 10, 9, 1, provisional, at, f"job {day}")

    books = [booked("users", 1), booked("users", 8), booked("page_view", 7, provisional=True)]
    books += [booked("page_view", day) for day in (1, 2, 5)]
    views, users = available(books, frozenset({"page_view"}))
    assert (views.earliest, views.latest, views.days) == (date(2026, 1, 1), date(2026, 1, 7), 4)
    assert views.gaps == (
        (date(2026, 1, 3), date(2026, 1, 4)),
        (date(2026, 1, 6), date(2026, 1, 6)),
    )
    assert (views.provisional, views.job_id) == ((date(2026, 1, 7),), "job 7")
    assert (views.loaded, views.rejected) == (36, 4)
    assert users.gaps == ()
