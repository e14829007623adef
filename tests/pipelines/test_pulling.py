"""The pipeline without a streaming runner: a message is acknowledged after its row is in, never before."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest
from google.api_core.exceptions import DeadlineExceeded, NotFound, RetryError, ServiceUnavailable

from pipelines import events_to_bigquery, pulling
from pipelines.events_to_bigquery import chosen, main
from pipelines.pulling import Puller, PullError
from shared.errors import SettingError
from shared.settings import Settings
from shared.warehouse import Message

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


DOWN: Any = ServiceUnavailable
EMPTY: Any = DeadlineExceeded
ABSENT: Any = NotFound
TIRED: Any = RetryError
"""Google's errors have no types."""


class Killed(BaseException):
    """The process ends here."""


class PubSub:
    """A subscription of `user_events`: what was not acknowledged comes again to who asks next."""

    def __init__(self, *ids: str) -> None:
        self.waiting = list(ids)
        self.log: list[str] = []
        self.errors: list[Exception] = []
        self.leases: list[Exception] = []

    def subscription_path(self, project: str, name: str) -> str:
        return f"projects/{project}/subscriptions/{name}"

    def pull(self, *, request: Mapping[str, Any], **_: object) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        assert request["subscription"] == "projects/p/subscriptions/user_events-warehouse"
        if not self.waiting:
            raise EMPTY("nothing")
        return SimpleNamespace(
            received_messages=[
                SimpleNamespace(
                    ack_id=f"ack-{it}",
                    message=SimpleNamespace(message_id=it, data=b"x", attributes={}, publish_time=NOW),
                )
                for it in self.waiting
            ]
        )

    def acknowledge(self, *, request: Mapping[str, Any]) -> None:
        self.log.append(f"acknowledge {' '.join(request['ack_ids'])}")
        self.waiting = [it for it in self.waiting if f"ack-{it}" not in request["ack_ids"]]

    def modify_ack_deadline(self, *, request: Mapping[str, Any]) -> None:
        self.log.append(f"lease {request['ack_deadline_seconds']}")
        if self.leases:
            raise self.leases.pop(0)
        if request["ack_deadline_seconds"] == 0:
            raise DOWN("a lease that cannot be changed ends by itself")


class Tables:
    """What was written; it fails as often as it is told to."""

    def __init__(self, pubsub: PubSub, stop: threading.Event) -> None:
        self.rows: list[str] = []
        self.failures: list[BaseException] = []
        self._pubsub = pubsub
        self._stop = stop

    def write(self, messages: Mapping[str, Sequence[Message]]) -> None:
        self._pubsub.log.append("write")
        self.rows += [it.id for it in messages["user_events"]]
        if self.failures:
            raise self.failures.pop(0)
        self._stop.set()


def run(pubsub: PubSub, *failures: BaseException) -> Tables:
    """Pull until all is written."""
    stop = threading.Event()
    tables = Tables(pubsub, stop)
    tables.failures += failures
    client: Any = pubsub
    try:
        Puller(client, "p", ["user_events"], tables.write, stop).run()
    except Killed:
        tables = Tables(pubsub, stop := threading.Event())
        Puller(client, "p", ["user_events"], tables.write, stop).run()
    return tables


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(pulling, "_pauses", lambda: iter([0.01] * 100))


def test_messages_are_acknowledged_after_their_rows_are_written() -> None:
    """And what is under way when it is told to stop is finished."""
    pubsub = PubSub("m1", "m2")
    assert run(pubsub).rows == ["m1", "m2"]
    assert pubsub.log == ["lease 20", "write", "acknowledge ack-m1 ack-m2"]


def test_a_kill_between_the_write_and_the_acknowledgement_brings_them_again() -> None:
    """The row is written twice and says the same; nothing is lost."""
    pubsub = PubSub("m1")
    assert run(pubsub, Killed()).rows == ["m1"]
    assert pubsub.log == ["lease 20", "write", "lease 20", "write", "acknowledge ack-m1"]


def test_what_fails_is_given_back_and_comes_again() -> None:
    """Whatever failed; nothing of the run is acknowledged."""
    pubsub = PubSub("m1")
    assert run(pubsub, ConnectionError("reply lost"), ValueError("a mistake")).rows == ["m1"] * 3
    assert pubsub.log[-1] == "acknowledge ack-m1"
    assert [it for it in pubsub.log if it.startswith("acknowledge")] == ["acknowledge ack-m1"]
    assert pubsub.log.count("lease 0") == 2


def test_a_pubsub_that_does_not_answer_is_asked_again() -> None:
    """An empty subscription is no error either."""
    pubsub = PubSub("m1")
    pubsub.errors += [DOWN("down"), EMPTY("nothing")]
    assert run(pubsub).rows == ["m1"]


def test_a_lease_that_is_not_answered_for_a_minute_ends_nothing() -> None:
    """Pub/Sub's client says so with an error that is none of a call, and the messages may come twice."""
    pubsub = PubSub("m1")
    pubsub.leases.append(TIRED("Timeout of 60.0s exceeded", cause=DOWN("down")))
    assert run(pubsub).rows == ["m1"]


@pytest.mark.parametrize("where", ["subscription", "table"])
def test_what_is_not_there_ends_the_process_with_what_to_do(where: str) -> None:
    """It does not come by waiting, and the messages stay where they are."""
    pubsub = PubSub("m1")
    failures: list[BaseException] = []
    if where == "subscription":
        pubsub.errors.append(ABSENT("no such subscription"))
    else:
        failures.append(ABSENT("no such table"))
    with pytest.raises(PullError, match=r"deploy\.sh up"):
        run(pubsub, *failures)
    assert pubsub.waiting == ["m1"]


def test_flags_and_variables_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 2, before anything is pulled. A runner that is mistyped is not this machine."""
    monkeypatch.setattr(events_to_bigquery, "pulling", lambda *_, **__: None)
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    assert main(["--sources=user_events"]) == 2
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "kitchen-1")
    assert main(["--sources=libra"]) == 2
    assert main(["--runer=DataflowRunner"]) == 2
    said = capsys.readouterr()
    assert "GOOGLE_CLOUD_PROJECT" in said.out + said.err
    assert "['--runer=DataflowRunner'] are unknown to Beam" in said.out + said.err
    assert chosen(None, Settings()) == ["user_events", "signals"]
    with pytest.raises(SettingError, match="--sources='libra'"):
        chosen("libra", Settings())


def test_a_job_is_named_in_the_log_before_dataflow_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever interrupts the start finds the job, and how to drain it."""

    class Interrupted:
        """A pipeline whose start ends by Ctrl-C."""

        def __init__(self, options: object) -> None:
            self.options = options

        def run(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(events_to_bigquery, "streaming", lambda *_: None)
    monkeypatch.setattr(beam, "Pipeline", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["--runner=DataflowRunner", "--project=p", "--region=r", "--job_name=mine"])
    said = capsys.readouterr()
    found = "gcloud dataflow jobs list --status=active --filter=name=mine"
    assert f"gcloud dataflow jobs drain $({found}" in said.out + said.err
