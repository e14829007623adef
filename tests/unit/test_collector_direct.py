"""Mode direct: what an intake that fails makes of each event, and of the log."""

import asyncio
import logging
from datetime import UTC, datetime

import grpc
import pytest

from services.collector.doors import Direct
from shared.errors import Denied, LibraError, Overloaded, StateError, Transient
from shared.intake import Intake
from shared.schemas import self_written
from shared.settings import Settings
from tests.support.collector import user_event
from tests.support.memory_seams import Call, Seams
from tests.support.memory_store import MemoryStore

CANARY = "the-canary-of-a-test"


class Aborted(grpc.RpcError):
    """What a call ends with; its words name a document."""

    def __init__(self) -> None:
        super().__init__(CANARY)

    def code(self) -> grpc.StatusCode:
        """Its status."""
        return grpc.StatusCode.ABORTED


def failing(error: LibraError) -> Direct:
    """A door whose commits fail so, each because of a call that did."""

    def fail(call: Call) -> None:
        if call.method == "commit":
            raise error from Aborted()

    store = Seams(MemoryStore(lambda: datetime.now(UTC)), fail)
    source, home = self_written(Settings())["user_events"]
    return Direct(source.schema, lambda: Intake(store, source, home, Settings(), sleep=lambda _: None))


@pytest.mark.parametrize("kind", [Transient, Denied, Overloaded, StateError])
def test_what_is_not_counted_is_told_event_by_event(
    kind: type[LibraError], logged: list[logging.LogRecord]
) -> None:
    """The sender keeps the events that may be counted yet. The log has a status and no words."""
    events = [user_event(1, user_id=CANARY), {"event_id": "wrong"}, user_event(2)]
    verdicts = asyncio.run(failing(kind(f"entries/{CANARY}")).take(events))
    assert [(each.became, each.id) for each in verdicts] == [
        ("unavailable", "e1"),
        ("invalid", "wrong"),
        ("unavailable", "e2"),
    ]
    (record,) = (each for each in logged if each.getMessage() == "Events were not counted")
    said = vars(record)
    assert (said["error"], said["code"], said["events"]) == (kind.__name__, "ABORTED", 2)
    assert not [each for each in logged if CANARY in str(vars(each))]
