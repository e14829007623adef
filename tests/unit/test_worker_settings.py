"""The worker's environment."""

import pytest

from services.worker.settings import WorkerSettings
from shared.errors import SettingError

EMULATED = {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:1", "PUBSUB_EMULATOR_HOST": "127.0.0.1:2"}


def test_it_reads_what_every_part_reads_and_its_own() -> None:
    """Unset and empty are the default."""
    assert WorkerSettings.from_environment({}).messages == 1_000
    assert WorkerSettings.from_environment({"LIBRA_WORKER_MESSAGES": " "}).messages == 1_000
    found = WorkerSettings.from_environment(
        EMULATED | {"LIBRA_WORKER_MESSAGES": "7", "LIBRA_GROUP_SIZE": "9"}
    )
    assert found.messages == 7
    assert found.books.group_size == 9


@pytest.mark.parametrize("value", ["0", "10001", "many", "-1", "²"])
def test_a_wrong_number_stops_the_start(value: str) -> None:
    """The message names the variable, the value and what is allowed."""
    with pytest.raises(
        SettingError, match=f"LIBRA_WORKER_MESSAGES='{value}': a whole number from 1 to 10000"
    ):
        WorkerSettings.from_environment({"LIBRA_WORKER_MESSAGES": value})


@pytest.mark.parametrize("variable", EMULATED)
def test_an_emulator_and_a_real_service_are_not_mixed(variable: str) -> None:
    """Events of a test in a real database, or the other way round."""
    with pytest.raises(SettingError, match="PUBSUB_EMULATOR_HOST"):
        WorkerSettings.from_environment({variable: EMULATED[variable]})
