"""Who may do what: every route of the API for every role, over the real emulator."""

import pytest

from tests.support.api import ROLES, Api, check_problem

PATHS = {
    "/v1/aggregations": "reader",
    "/v1/totals/{aggregation}": "reader",
    "/v1/totals/{aggregation}/{key}": "reader",
    "/v1/totals/{aggregation}/{key}/explain": "operator",
    "/v1/total/{aggregation}": "reader",
    "/v1/explain/{aggregation}": "operator",
    "/v1/series/{aggregation}": "reader",
    "/v1/entries/{entry_id}/status": "operator",
    "/v1/data": "operator",
    "/v1/locations": "operator",
    "/v1/freshness": "operator",
    "/v1/runs": "operator",
    "/v1/runs/{run_id}": "operator",
    "/v1/rejected": "operator",
    "/v1/usage/{merchant}": "operator",
    "/healthz": "anonymous",
    "/readyz": "anonymous",
    "/docs": "anonymous",
    "/openapi.json": "anonymous",
}
"""Who may read each, at least."""
POSTED = {"/v1/recompute": "operator", "/v1/rejected/{record_id}/retry": "operator"}
"""Who may do each, at least."""
RANK = {"anonymous": 0, "reader": 1, "device": 1, "operator": 2}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("path", "least"), [*PATHS.items(), *POSTED.items()])
def test_a_role_may_do_what_the_rules_let_it(api: Api, path: str, least: str, role: str) -> None:
    """As in firestore.rules: totals for anyone signed in, everything for operators."""
    named = {"aggregation": "aggregates_time_dates", "key": "2025-09-04", "entry_id": "e", "run_id": "r"}
    query = {"key": "2025-09-04", "from": "2025-09-04", "to": "2025-09-05"} if "{aggregation}" in path else {}
    filled = path.format(**named, record_id="x", merchant="m")
    answer = api.ask("POST" if path in POSTED else "GET", filled, role=ROLES[role], params=query)
    if RANK[role] < RANK[least]:
        check_problem(answer, 403 if RANK[role] else 401)
    elif path in {"/v1/runs/{run_id}", "/v1/rejected/{record_id}/retry", "/v1/usage/{merchant}"}:
        check_problem(answer, 404)
    elif path == "/v1/recompute":
        check_problem(answer, 501)
    else:
        assert answer.status_code == 200, answer.text


def test_every_route_is_in_the_table_of_roles(api: Api) -> None:
    """A route that nobody thought of would be tested for no role."""
    operations = {
        (method, path) for path, each in api.get("/openapi.json").json()["paths"].items() for method in each
    }
    beside = {("get", "/docs"), ("get", "/openapi.json")}
    assert operations | beside == {("get", path) for path in PATHS} | {("post", path) for path in POSTED}
