"""Which pages may send to the collector from a browser."""

import json

from services.collector.application import application
from services.collector.body import MAX_BYTES
from services.collector.settings import CollectorSettings
from tests.support.api import Api, check_problem
from tests.support.collector import ENVIRONMENT, PROJECT, send, user_event

ORIGIN = "https://shop.example"


def test_a_page_of_an_allowed_origin_may_send(collector: Api) -> None:
    """Its browser asks first, and shows it the answer, also one that the edge refuses."""
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type, x-api-key, content-encoding, authorization",
    }
    preflight = collector.ask("OPTIONS", "/v1/events/user_events", role=None, headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "x-api-key" in preflight.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in preflight.headers
    for content, status in ((json.dumps(user_event()).encode(), 202), (b" " * (MAX_BYTES + 1), 413)):
        answer = send(collector, None, content=content, headers={"origin": ORIGIN})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
    assert "Origin" in answer.headers["vary"]


def test_a_page_of_another_origin_may_not(collector: Api) -> None:
    """Its browser is told nothing; nor is any page's where no origin is allowed."""
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    preflight = collector.ask("OPTIONS", "/v1/events/user_events", role=None, headers=asked)
    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers
    closed = Api(
        application(CollectorSettings.from_environment(ENVIRONMENT | {"LIBRA_COLLECTOR_ORIGINS": ""})),
        PROJECT,
    )
    preflight = closed.ask("OPTIONS", "/v1/events/user_events", role=None, headers=asked | {"origin": ORIGIN})
    check_problem(preflight, 405)
    assert "access-control-allow-origin" not in preflight.headers
