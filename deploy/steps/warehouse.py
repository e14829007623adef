"""The warehouse, if it is wanted: its account, what the pipeline pulls, and what it writes to.

The pipeline itself is a job of Dataflow and is started by itself (docs/warehouse.md).
"""

from collections.abc import Iterator, Mapping
from functools import cached_property

from deploy.gcloud import Change, say
from deploy.google import Json
from deploy.send import described, sending
from deploy.steps.accounts import Grants, exists, granting, revoking
from deploy.steps.base import Step
from deploy.steps.topics import SUBSCRIBER, names
from deploy.steps.topics import granting as granting_pubsub
from deploy.warehouse import ACCOUNT, BUILT, CONFIG, bodies, dataset, dataset_body, path, where_is

GRANTS: Grants = [
    ("roles/dataflow.worker", ACCOUNT),
    ("roles/artifactregistry.reader", ACCOUNT),  # workers start from the pipelines' image
]
VIEWER = "roles/pubsub.viewer"
"""Dataflow looks at a subscription before it pulls it."""


class Warehouse(Step):
    """The dataset with its tables and views. Nothing here deletes a row, or a table."""

    name = "warehouse"
    needs = "roles/bigquery.admin, roles/iam.serviceAccountAdmin and roles/resourcemanager.projectIamAdmin"
    undoing = "Remove the pipeline's account; the dataset and its tables stay"

    @property
    def _wanted(self) -> bool:
        return self.deployment.values["LIBRA_WAREHOUSE"] == "on"

    @property
    def title(self) -> str:
        """What is wanted."""
        return "Create the tables and views in BigQuery" if self._wanted else "Leave BigQuery as it is"

    @cached_property
    def _google(self) -> Mapping[str, str]:
        return {} if self.gcloud.planning else self.deployment.google()

    def missing(self) -> Iterator[Change]:
        """The account and its grants, the dataset, then tables and views that are missing or differ."""
        if not self._wanted:
            return
        values, where = self.deployment.values, dataset(self.deployment.values)
        yield from granting(self.deployment, [ACCOUNT], GRANTS)
        for each in names():
            for role in (SUBSCRIBER, VIEWER):
                member = self.deployment.member(ACCOUNT)
                yield from granting_pubsub(self, "subscriptions", each.warehouse, member, role)
        if not self.found(where_is(where)):
            datasets, body = where_is(where).rpartition("/")[0], dataset_body(values)
            yield sending(self._google, "POST", "bigquery", datasets, f"{BUILT}/dataset.json", body=body)
        wanted, changed = bodies(values), 0
        for name, body in wanted.items():
            found = self.found(path(where, name))
            if found.get("labels", {}).get(CONFIG) != body["labels"][CONFIG]:
                method, target = ("PATCH", path(where, name)) if found else ("POST", path(where))
                changed += 1
                yield sending(self._google, method, "bigquery", target, f"{BUILT}/{name}.json", body=body)
        if not changed:
            say(f"   {self.name}: {len(wanted)} tables and views are up to date")

    def surplus(self) -> Iterator[Change]:
        """What the account may do, then the account: what it wrote is the customer's."""
        if exists(self.deployment, ACCOUNT):
            yield from revoking(self.deployment, [ACCOUNT], GRANTS)

    def state(self) -> Iterator[tuple[str, str]]:
        """How many tables and views are as they should be."""
        if not self._wanted:
            return
        where, wanted = dataset(self.deployment.values), bodies(self.deployment.values)
        found = [self.found(path(where, name)).get("labels", {}).get(CONFIG) for name in wanted]
        same = sum(it == body["labels"][CONFIG] for it, body in zip(found, wanted.values(), strict=True))
        yield self.name, f"{same} of {len(wanted)} tables and views up to date"

    def found(self, target: str) -> Json:
        """What is there; empty: nothing."""
        return {} if self.gcloud.planning else described(self._google, "bigquery", target)
