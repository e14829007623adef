"""The staged folder, and the functions that are deployed from it."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from deploy import lag, stage
from deploy.closure import ClosureError
from deploy.gcloud import Change, DeployError, gcloud, say
from deploy.parameters import PARAMETERS, SEPARATOR, runtime
from deploy.steps.accounts import BUILDER, RUNTIME, deliverer
from deploy.steps.base import RECOMPUTE, TRIGGER, TRIGGERS, Step

STAGED = (
    "GOOGLE_CLOUD_PROJECT",
    *stage.WANTED_BY.values(),
    "LIBRA_API_USAGE_SECRET",
    "LIBRA_MONITORING",
    "LIBRA_NOTIFY",
    "LIBRA_RUNBOOK",
)
"""The parameters of what is staged for gcloud."""


class Stage(Step):
    """Builds what is deployed, and imports it. It changes nothing in the cloud."""

    name = "stage"
    needs = "no role"
    title = "Build build/functions and what else is wanted, such as build/api, and import every entry point"
    always = True

    def missing(self) -> Iterator[Change]:
        """One change, on this machine."""
        values = self.deployment.values
        asked = [it for it in PARAMETERS if it.variable in STAGED and values[it.variable] != it.default]
        flags = [f"{it.flag}={values[it.variable]}" for it in asked]
        yield Change(("./deploy.sh", "stage", *flags), call=self.build)

    def build(self) -> str:
        """Stage; what was built.

        Raises:
            DeployError: what is staged would not start.
        """
        try:
            return stage.build(self.deployment.values)
        except (stage.StageError, ClosureError) as error:
            raise DeployError(f"staging failed: {error}") from error


class Functions(Step):
    """The recompute and the triggers; each unless it is there, healthy, and of these sources and flags."""

    name = "functions"
    needs = "roles/cloudfunctions.admin and roles/iam.serviceAccountUser"
    title = "Look at what is deployed"
    undoing = "Remove the functions"
    pending = ""
    """What a later run of `up` has still to do; known once `missing` has looked."""

    def missing(self) -> Iterator[Change]:
        """In an order in which a change of the LAG is safe: see deploy/lag.py."""
        values = self.deployment.values
        safe = self._lags()
        self.pending = safe.pending
        yield from self._function(
            RECOMPUTE,
            "recompute",
            safe.recompute,
            "--entry-point=recompute",
            "--trigger-http",
            "--concurrency=1",
            f"--memory={values['LIBRA_RECOMPUTE_MEMORY']}",
            "--timeout=3600s",
            "--min-instances=0",
            "--max-instances=1",
        )
        for name in self.deployment.triggers:
            yield from self._trigger(name, safe.trigger)
        yield from self._deletions(it for it in TRIGGERS if it not in self.deployment.triggers)

    def _trigger(self, name: str, safe: timedelta) -> Iterator[Change]:
        values, happens = self.deployment.values, TRIGGERS[name]
        filters = (
            f"type=google.cloud.firestore.document.v1.{happens}",
            f"database={values['FIRESTORE_DATABASE']}",
            "namespace=(default)",
        )
        yield from self._function(
            name,
            "trigger",
            safe,
            f"--entry-point=on_libra_{happens}",
            f"--trigger-location={values['LIBRA_LOCATION']}",
            f"--trigger-event-filters={','.join(filters)}",
            "--trigger-event-filters-path-pattern=document=libra/{entryId}",
            f"--trigger-service-account={self.deployment.email(deliverer(self.deployment))}",
            "--retry",
            f"--concurrency={values['THREADS']}",
            f"--memory={values['LIBRA_MEMORY']}",
            "--timeout=120s",
            f"--min-instances={values['LIBRA_MIN_INSTANCES'] if name == TRIGGER else 0}",
            f"--max-instances={values['LIBRA_MAX_INSTANCES']}",
        )

    def surplus(self) -> Iterator[Change]:
        """The triggers first: what they leave undelivered, a recompute finds."""
        yield from self._deletions((*TRIGGERS, RECOMPUTE))

    def _deletions(self, names: Iterable[str]) -> Iterator[Change]:
        for name in names:
            if self._describe(name, "value(name)"):
                yield gcloud("functions", "delete", name, "--gen2", *self.deployment.in_region)

    def state(self) -> Iterator[tuple[str, str]]:
        """State, time, retries, concurrency and revision of each."""
        fields = (
            "state,updateTime,eventTrigger.retryPolicy,"
            "serviceConfig.maxInstanceRequestConcurrency,serviceConfig.revision"
        )
        for name in (*TRIGGERS, RECOMPUTE):
            yield name, self._describe(name, f'value[separator="  "]({fields})') or "not deployed"

    def _lags(self) -> lag.Plan:
        """The LAG that each function may have now, and what has to wait."""
        wanted = timedelta(seconds=int(self.deployment.values["LIBRA_LAG_SECONDS"]))
        now = datetime.now(UTC)
        triggers = [found for name in TRIGGERS if (found := self._deployed(name))]
        together = (
            lag.Deployed(max(it.lag for it in triggers), max(it.since for it in triggers))
            if triggers
            else None
        )
        return lag.plan(wanted, together, self._deployed(RECOMPUTE), now)

    def _deployed(self, name: str) -> lag.Deployed | None:
        fields = "serviceConfig.environmentVariables.LIBRA_LAG_SECONDS,updateTime"
        seconds, _, since = self._describe(name, f'value[separator=" "]({fields})').partition(" ")
        if not seconds or not since:
            return None
        return lag.Deployed(timedelta(seconds=int(seconds)), datetime.fromisoformat(since))

    def _describe(self, name: str, form: str) -> str:
        where = self.deployment.in_region
        return self.gcloud.look("functions", "describe", name, "--gen2", *where, f"--format={form}")

    def _ingress(self, name: str) -> str:
        """From where a function may be called. The API calls the recompute, and what comes from Cloud Run is
        internal only through a VPC network. Whoever calls needs the role to call it in either case."""
        return (
            "all" if name == RECOMPUTE and self.deployment.values["LIBRA_API"] != "off" else "internal-only"
        )

    def _function(self, name: str, what: str, safe: timedelta, *own: str) -> Iterator[Change]:
        deployment, values = self.deployment, self.deployment.values
        secrets = values["LIBRA_SECRETS"]
        environment = runtime(values) | {
            "LIBRA_LAG_SECONDS": f"{safe.total_seconds():.0f}",
            "THREADS": values["THREADS"],
        }
        variables = SEPARATOR.join(f"{variable}={value}" for variable, value in environment.items())
        flags = (
            "--gen2",
            deployment.in_project,
            f"--region={deployment.region}",
            "--runtime=python311",
            "--source=build/functions",
            f"--service-account={deployment.email(RUNTIME)}",
            f"--build-service-account=projects/{deployment.project}/serviceAccounts/{deployment.email(BUILDER)}",
            f"--cpu={values['LIBRA_CPU']}",
            f"--ingress-settings={self._ingress(name)}",
            "--no-allow-unauthenticated",
            *own,
            f"--set-secrets={secrets}" if secrets else "--clear-secrets",
            f"--set-env-vars=^{SEPARATOR}^{variables}",
        )
        lines = "".join(f"{line}\n" for line in (stage.fingerprint(), *flags))
        config = hashlib.sha256(lines.encode()).hexdigest()[:40]
        there = self._describe(name, "value(state,labels.libra-config)")
        if there == f"ACTIVE\t{config}" and not deployment.force:
            say(f"   {name} is up to date")
            return
        title = f"Deploy the {what} {name} (a few minutes)"
        label = f"--update-labels=libra-config={config}"
        yield gcloud("functions", "deploy", name, *flags, label, patient=True, title=title)
