"""The worker, a Cloud Run worker pool, if it is wanted: its account, its image, and the pool.

A pool has no address and takes no requests. Its instances run, and are paid for, all the time. Their number
is fixed: the platform scales a pool by CPU or not at all, and what bounds this worker is Firestore
(docs/worker.md).
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from deploy import stage
from deploy.gcloud import Change, gcloud, say
from deploy.monitored import POOL
from deploy.parameters import SEPARATOR, runtime
from deploy.steps.accounts import exists, granting, revoking
from deploy.steps.base import Step
from deploy.steps.images import building, clearing, image_of
from deploy.steps.service import Service
from deploy.steps.topics import SUBSCRIBER, names
from deploy.steps.topics import granting as granting_pubsub

ROLE = "roles/datastore.user"
POOLS = ("beta", "run", "worker-pools")
"""In beta they have had this name since 2025-06; older versions of gcloud have no other."""


class Worker(Step):
    """The pool, unless it is there, ready, and of these sources and flags."""

    name = "worker"
    switch = "LIBRA_WORKER"
    needs = f"{Service.needs}, and roles/pubsub.admin"
    undoing = "Remove the worker, its image and its account"

    @property
    def _wanted(self) -> bool:
        return self.deployment.values["LIBRA_WORKER"] == "on"

    @property
    def title(self) -> str:
        """What is wanted."""
        return "Deploy the worker (a few minutes)" if self._wanted else "Leave the worker out"

    def missing(self) -> Iterator[Change]:
        """The account and its grants, the image, the pool; or their removal, where it is not wanted."""
        if not self._wanted:
            yield from self.surplus()
            return
        yield from granting(self.deployment, [POOL], [(ROLE, POOL)])
        for each in names():
            member = self.deployment.member(POOL)
            yield from granting_pubsub(self, "subscriptions", each.subscription, member, SUBSCRIBER)
        yield from building(self.deployment, POOL, stage.WORKER)
        yield from self._pool(image_of(self.deployment, POOL, stage.WORKER))

    def surplus(self) -> Iterator[Change]:
        """The pool, its image, then its account. What holds unsettled events stays: see the step `topics`."""
        if not exists(self.deployment, POOL):
            return  # whoever has no worker needs no gcloud that knows worker pools
        if self._described():
            yield gcloud(*POOLS, "delete", POOL, *self.deployment.in_region)
        yield from clearing(self.deployment, POOL)
        yield from revoking(self.deployment, [POOL], [(ROLE, POOL)])

    def state(self) -> Iterator[tuple[str, str]]:
        """Whether it is ready."""
        found = self._described() if exists(self.deployment, POOL) else {}
        yield POOL, ("ready" if _ready(found) else "not ready") if found else "not deployed"

    def _pool(self, image: str) -> Iterator[Change]:
        deployment, values = self.deployment, self.deployment.values
        environment = runtime(values) | {"LIBRA_WORKER_MESSAGES": values["LIBRA_WORKER_MESSAGES"]}
        variables = SEPARATOR.join(f"{variable}={value}" for variable, value in environment.items())
        flags = (
            *deployment.in_region,
            f"--image={image}",
            f"--service-account={deployment.email(POOL)}",
            "--cpu=1",
            f"--memory={values['LIBRA_WORKER_MEMORY']}",
            f"--scaling={values['LIBRA_WORKER_INSTANCES']}",
            f"--set-env-vars=^{SEPARATOR}^{variables}",
        )
        config = hashlib.sha256("\n".join(flags).encode()).hexdigest()[:40]
        there = self._described()
        if _labels(there).get("libra-config") == config and _ready(there) and not deployment.force:
            say(f"   {POOL} is up to date")
            return
        yield gcloud(*POOLS, "deploy", POOL, *flags, f"--labels=libra-config={config}", patient=True)

    def _described(self) -> dict[str, Any]:
        where = (POOL, *self.deployment.in_region, "--format=json")
        return dict(json.loads(self.gcloud.look(*POOLS, "describe", *where) or "{}"))


def _labels(pool: dict[str, Any]) -> dict[str, str]:
    """Versions of gcloud print a pool as the first or as the second version of Cloud Run's API has it."""
    return dict(pool.get("metadata", pool).get("labels", {}))


def _ready(pool: dict[str, Any]) -> bool:
    if "terminalCondition" in pool:
        return bool(pool["terminalCondition"].get("state") == "CONDITION_SUCCEEDED")
    conditions = pool.get("status", {}).get("conditions", ())
    return any(it.get("type") == "Ready" and it.get("status") == "True" for it in conditions)
