"""The metrics of the APIs, the collector and the worker match lines that their real code logs."""

import asyncio
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from firebase_admin import auth

from deploy.monitored import POOL as WORKER
from deploy.steps import api as api_step
from deploy.steps import collector as collector_step
from deploy.steps import ingestion as ingestion_step
from services.api.application import application as api_application
from services.api.books import Books
from services.api.settings import ApiSettings
from services.collector.application import application as collector_application
from services.collector.doors import Direct, Door, Queue
from services.collector.settings import CollectorSettings
from services.ingestion.books import Books as IngestionBooks
from services.worker.door import Door as WorkerDoor
from shared.errors import Denied, PublishError
from shared.intake import Intake
from shared.publishing import Publisher
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Store
from tests.databases import test_ingest_scheduled
from tests.deploy import test_metrics, test_metrics_usage
from tests.support import api, collector, ingestion_api
from tests.support.api import Api
from tests.support.collector import Topic, send, user_event
from tests.support.log_filter import counting
from tests.support.memory_seams import Call, Seams
from tests.support.memory_store import MemoryStore

METRICS = test_metrics.METRICS
SOURCE, HOME = self_written(Settings())["user_events"]
API, COLLECTOR, INGESTION = api_step.SERVICE, collector_step.SERVICE, ingestion_step.SERVICE

Happening = Callable[[pytest.MonkeyPatch], None]


def denying(_: Call) -> None:
    """Firestore denies everything."""
    raise Denied("no permission")


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def firestore(*, denied: bool = False) -> Store:
    """A Firestore in memory, which may deny everything."""
    inner = MemoryStore(now)
    return Seams(inner, denying) if denied else inner


def intake(*, denied: bool = False) -> Intake:
    """What counts the events of `user_events`."""
    return Intake(firestore(denied=denied), SOURCE, HOME, Settings(), sleep=lambda _: None)


def asked(monkeypatch: pytest.MonkeyPatch, path: str, status: int, *, denied: bool = False) -> None:
    """The API is asked something."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    store = firestore(denied=denied)
    monkeypatch.setattr(Books, "store", property(lambda _: store))
    app = api_application(ApiSettings.from_environment(api.ENVIRONMENT))
    assert Api(app, api.PROJECT).get(path).status_code == status


def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API answers."""
    asked(monkeypatch, "/v1/aggregations", 200)


def misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API is asked for what it has not."""
    asked(monkeypatch, "/v1/totals/shoes", 404)


def unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Firestore denies the API a read."""
    asked(monkeypatch, "/v1/totals/aggregates_actions", 503, denied=True)


def unverifiable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's keys cannot be had."""

    def no_keys(*_: object) -> None:
        raise auth.CertificateFetchError("no answer", None)

    monkeypatch.setattr(auth, "verify_id_token", no_keys)
    asked(monkeypatch, "/v1/aggregations", 503)


def collecting(
    monkeypatch: pytest.MonkeyPatch,
    door: Door,
    events: object,
    status: int,
    role: str | None = "device",
) -> None:
    """The collector takes the events of a sender, or does not."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    settings = CollectorSettings.from_environment(collector.ENVIRONMENT)
    app: FastAPI = collector_application(settings, doors={SOURCE.name: door})
    assert send(Api(app, collector.PROJECT), events, role=role).status_code == status


def queue(*, failing: bool = False) -> Door:
    """To Pub/Sub, which may not acknowledge."""
    topic = Topic()
    topic.failing = PublishError("no acknowledgement") if failing else None
    return Queue(SOURCE, lambda: Publisher(topic.call, collector.PROJECT), now)


def taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are taken."""
    collecting(monkeypatch, queue(), [user_event()], 202)


def partly_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two events is invalid, and the other one is taken."""
    collecting(monkeypatch, queue(), [user_event(), {}], 202)


def all_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event is valid."""
    collecting(monkeypatch, queue(), [{}], 422)


def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender has no key."""
    collecting(monkeypatch, queue(), [user_event()], 401, role=None)


def not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender may not send to this source."""
    collecting(monkeypatch, queue(), [user_event()], 403, role="")


def unacknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pub/Sub does not acknowledge."""
    collecting(monkeypatch, queue(failing=True), [user_event()], 503)


def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Firestore denies the commit of mode `direct`."""
    collecting(monkeypatch, Direct(SOURCE.schema, lambda: intake(denied=True)), [user_event()], 503)


@dataclass
class Delivery:
    """A message of Pub/Sub's."""

    data: bytes
    message_id: str = "m1"
    attributes: Mapping[str, str] = field(default_factory=dict)
    publish_time: datetime = field(default_factory=now)
    became: str = ""

    def ack(self) -> None:
        self.became = "acknowledged"

    def nack(self) -> None:
        self.became = "refused"


def delivered(event: object, became: str, *, denied: bool = False) -> None:
    """The worker takes a message."""
    message = Delivery(json.dumps(event).encode())
    asyncio.run(WorkerDoor(SOURCE.name, intake(denied=denied)).take(message))
    assert message.became == became


def admitted(_: pytest.MonkeyPatch) -> None:
    """The worker counts an event."""
    delivered(user_event(), "acknowledged")


def rejected(_: pytest.MonkeyPatch) -> None:
    """The worker sets an event aside that is none."""
    delivered({}, "acknowledged")


def uncommitted(_: pytest.MonkeyPatch) -> None:
    """Firestore denies the worker its commit."""
    delivered(user_event(), "refused", denied=True)


def ingesting(status: int, reached: Callable[[], None]) -> None:
    """The API of ingestion is asked for a tenant's jobs."""

    class Answering(IngestionBooks):
        def of(self, tenant: str, work: object, *, repeatable: bool = True) -> Any:  # noqa: ARG002 - as inherited
            return reached()

    books = Answering(None)  # type: ignore[arg-type]  # it asks nobody
    asked = ingestion_api.application_over(books)
    headers = {"X-Tenant-Id": "acme", "Authorization": "Bearer lit_x"}
    assert (
        ingestion_api.Api(asked, books, {})
        .ask("GET", "/data/api/v1/ingest/jobs", headers=headers)
        .status_code
        == status
    )


def not_its_token(_: pytest.MonkeyPatch) -> None:
    """Somebody asks with another token than the tenant's."""
    ingesting(401, lambda: None)


def without_database(_: pytest.MonkeyPatch) -> None:
    """PostgreSQL denies ingestion everything."""

    def denied() -> None:
        raise Denied("no permission")

    ingesting(503, denied)


MATCHED: dict[Happening, tuple[str, set[str]]] = {
    answered: (API, set()),
    misspelt: (API, set()),
    unanswered: (API, {"libra-answers-5xx", "libra-request-failures"}),
    unverifiable: (API, {"libra-answers-5xx", "libra-request-failures"}),
    taken: (COLLECTOR, set()),
    partly_invalid: (COLLECTOR, {"libra-invalid-events"}),
    all_invalid: (COLLECTOR, {"libra-invalid-events"}),
    nobody: (COLLECTOR, {"libra-bad-keys"}),
    not_allowed: (COLLECTOR, {"libra-bad-keys"}),
    unacknowledged: (COLLECTOR, {"libra-answers-5xx", "libra-not-taken"}),
    uncounted: (COLLECTOR, {"libra-answers-5xx", "libra-not-taken"}),
    not_its_token: (INGESTION, set()),
    without_database: (INGESTION, {"libra-answers-5xx", "libra-request-failures"}),
    admitted: (WORKER, set()),
    rejected: (WORKER, {"libra-worker-rejections"}),
    uncommitted: (WORKER, {"libra-worker-redeliveries"}),
}
"""What happens, which service logs it, and the metrics that count its lines."""


@pytest.mark.parametrize("happening", MATCHED, ids=lambda it: it.__name__)
def test_a_metric_counts_the_lines_of_a_service_that_it_is_for_and_no_others(
    happening: Happening, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real code logs what happens, and exactly these metrics count it; a label finds its field."""
    happening(monkeypatch)
    service, expected = MATCHED[happening]
    found = counting(
        METRICS, output.getvalue(), service, kind="worker_pool" if service == WORKER else "revision"
    )
    assert found == expected, output.getvalue()


def test_every_metric_counts_something_that_happens() -> None:
    """A filter that matches nothing is a defect."""
    matched = (*test_metrics.MATCHED.values(), *MATCHED.values())
    jobs = (*test_metrics_usage.MATCHED.values(), *test_ingest_scheduled.MATCHED.values())
    assert set().union(*(names for _, names in matched), *jobs) == METRICS.keys()
