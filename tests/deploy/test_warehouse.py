"""The warehouse as `deploy.sh` makes it: once, again, after somebody changed it, and what `down` leaves.

The step runs in this process, with BigQuery's API recorded and gcloud replaced: gcloud takes seconds a call.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import warehouse
from deploy.gcloud import Gcloud
from deploy.parameters import read
from deploy.steps.base import Deployment
from deploy.steps.topics import TopicsStep
from deploy.steps.warehouse import Warehouse
from tests.deploy.conftest import ROOT
from tests.deploy.google_apis import GoogleApis, Refusal

GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_TIME_ZONE": "Europe/Zurich",
    "LIBRA_WAREHOUSE": "on",
}
TABLES = "bigquery/bigquery/v2/projects/kitchen-1/datasets/libra/tables"


class Recorded(Gcloud):
    """gcloud in a project in which there is nothing."""

    def look(self, *words: str, program: tuple[str, ...] = ("gcloud",)) -> str:  # noqa: ARG002
        return "a-token-of-nobody" if words[:2] == ("auth", "print-access-token") else ""


@pytest.fixture
def apis(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleApis]:
    """BigQuery with nothing in it."""
    with GoogleApis().serving() as started:
        for name, value in started.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("http_proxy")
        yield started


def step(**changed: str) -> Warehouse:
    return Warehouse(Deployment(read({}, GIVEN | changed, ROOT / "none.env"), Recorded(planning=False)))


def up(made: Warehouse) -> list[str]:
    """Make what is missing; the words of what gcloud is asked for."""
    asked = []
    for change in made.missing():
        if change.call:
            change.call()
        else:
            asked.append(str(change))
    return asked


def test_tables_are_made_before_views_and_a_second_time_changes_nothing(apis: GoogleApis) -> None:
    """Then a view that somebody changed is put right, and nothing else."""
    asked = up(step())
    made = [(it.method, it.path.rpartition("/")[2]) for it in apis.changes()]
    assert made == [("POST", "datasets"), *[("POST", "tables")] * 16]
    order = [it.body["tableReference"]["tableId"] for it in apis.changes()[1:]]
    assert order.index("user_events_rows") < order.index("user_events") < order.index("analytics_aggregates")
    roles = {
        f"roles/{it}"
        for it in ("dataflow.worker", "artifactregistry.reader", "pubsub.subscriber", "pubsub.viewer")
    }
    assert {word.removeprefix("--role=") for it in asked for word in it.split() if "--role" in word} == roles
    before = len(apis.changes())
    up(step())
    assert len(apis.changes()) == before
    apis.resources[f"{TABLES}/user_events"]["labels"] = {}
    up(step())
    (change,) = apis.changes()[before:]
    assert (change.method, change.path.rpartition("/")[2]) == ("PATCH", "user_events")


def test_another_time_zone_is_another_view(apis: GoogleApis) -> None:
    """Only those that read the clock are sent again."""
    up(step())
    before = len(apis.changes())
    up(step(LIBRA_TIME_ZONE="UTC"))
    changed = {it.path.rpartition("/")[2] for it in apis.changes()[before:]}
    assert changed == {
        "analytics_aggregates_hours",
        "analytics_aggregates_dates",
        "signals_aggregates_platforms",
    }


def test_status_says_how_many_are_up_to_date(apis: GoogleApis) -> None:
    """And that BigQuery refuses, if it does."""
    up(step())
    del apis.resources[f"{TABLES}/signals"]
    assert dict(step().state()) == {"warehouse": "15 of 16 tables and views up to date"}
    assert dict(step(LIBRA_WAREHOUSE="off").state()) == {}
    apis.refuse("GET", f"{TABLES}/.*", Refusal(403, "PERMISSION_DENIED", "not yours"))
    with pytest.raises(Exception, match="not yours"):
        dict(step().state())


def test_without_being_asked_for_nothing_is_looked_for(apis: GoogleApis) -> None:
    """Nor does `down` ask BigQuery anything: what it holds is the customer's."""
    assert up(step(LIBRA_WAREHOUSE="off")) == []
    assert list(step().surplus()) == []
    assert apis.requests == []


def test_the_pipeline_pulls_subscriptions_of_its_own() -> None:
    """Which the worker's messages do not go through; without a warehouse there are none."""
    for wanted, number in (("on", 2), ("off", 0)):
        values = read({}, GIVEN | {"LIBRA_WORKER": "on", "LIBRA_WAREHOUSE": wanted}, ROOT / "none.env")
        planned = map(str, TopicsStep(Deployment(values, Gcloud(planning=True))).missing())
        created = [it for it in planned if "subscriptions create" in it and "-warehouse" in it]
        assert len(created) == number
        assert not [it for it in created if "dead-letter-topic" in it]


def test_the_files_of_the_module_are_those_of_the_declarations() -> None:
    """`python -m deploy.warehouse` writes them again."""
    for name, content in warehouse.templates():
        assert (warehouse.TEMPLATES / name).read_text("utf-8") == content, name


def test_what_is_sent_is_written_down(tmp_path: Path) -> None:
    """So that `plan` prints commands whose files are there."""
    values = read({}, GIVEN, ROOT / "none.env")
    warehouse.render(values, tmp_path)
    bodies = {"dataset": warehouse.dataset_body(values)} | warehouse.bodies(values)
    folder = tmp_path / warehouse.BUILT
    assert {it.stem: json.loads(it.read_text("utf-8")) for it in folder.iterdir()} == bodies
