"""The API does what its schema says, whatever is asked, in every role: schemathesis, over the emulator."""

from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.api.starting import Starter
from shared.ledger import Ledger
from tests.emulator.test_api_roles import PATHS, POSTED, RANK
from tests.support.api import ROLES, Api, token
from tests.support.kitchen import Kitchen

EXAMPLES = 12
"""For each operation and role."""
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture
def described(api: Api, quick: Kitchen) -> BaseSchema:
    """The schema of an API with a few entries, one of them rejected, and a recompute that does nothing."""
    ledger = Ledger(quick.store, quick.source, quick.home, quick.settings)
    for number, ingredient in enumerate(["Kettle Chips", "Mac/Cheese", "..", "", 17]):
        moment = datetime(2025, 9, 4 + number, tzinfo=UTC)
        ledger.apply(quick.write(f"e{number}", ingredient=ingredient, timestamp=moment))
    api.app.state.starter = Starter("http://recompute", patience=5, call=lambda *_: (200, {"run_id": "r"}))
    return schemathesis.openapi.from_asgi("/openapi.json", api.app)


OPERATIONS = [("get", path) for path in PATHS if path.startswith(("/v1", "/healthz", "/readyz"))]
OPERATIONS += [("post", path) for path in POSTED]


def answers(operation: Any, headers: dict[str, str]) -> set[int]:
    """Ask an operation this and that; the statuses, each as the schema says."""
    found: set[int] = set()

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(headers=headers)
        case.validate_response(answer, checks=CHECKS)
        found.add(answer.status_code)

    ask()
    return found


@pytest.mark.parametrize("role", ROLES)
def test_nothing_that_is_asked_is_answered_outside_of_the_schema(
    described: BaseSchema, api: Api, role: str
) -> None:
    """No 5xx, no status or body that the schema does not know, nothing for a role that may not have it."""
    claim = ROLES[role]
    headers = {} if claim is None else {"Authorization": f"Bearer {token(api.project, claim)}"}
    for method, path in OPERATIONS:
        found = answers(described[path][method], headers)
        if RANK[role] < RANK[(PATHS | POSTED)[path]]:
            assert found <= {401, 403, 422}, path
        elif "{" not in path:
            assert 200 in found or 202 in found, path


def test_every_operation_of_the_schema_is_tried(described: BaseSchema) -> None:
    """The tables of roles and the schema name the same."""
    found = (each.ok() for each in described.get_all_operations())  # type: ignore[union-attr]  # or it raises
    named = {(each.method, each.path) for each in found}
    assert named == set(OPERATIONS)
