"""The job of Dataflow that streams events into the warehouse, if `deploy.sh` is to keep it running.

`libra pipeline run events_to_bigquery` starts a job of the same name. So this step leaves a job alone
that nobody asks it for.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property

from deploy.flex import STREAM, job_of, starting
from deploy.gcloud import Change, DeployError, gcloud, say
from deploy.steps.accounts import exists
from deploy.steps.base import Step
from deploy.warehouse import ACCOUNT

JOB = job_of(STREAM)


class Stream(Step):
    """The job, unless it runs and is of these sources and flags. It rests on `warehouse` and `pipelines`."""

    name = "stream"
    needs = "roles/dataflow.developer and roles/iam.serviceAccountUser"
    undoing = f"Drain {JOB}"

    @property
    def _wanted(self) -> bool:
        return self.deployment.values["LIBRA_STREAM"] == "on"

    @property
    def title(self) -> str:
        """What is wanted."""
        return f"Start {JOB}, or replace it" if self._wanted else f"Leave {JOB} as it is"

    def missing(self) -> Iterator[Change]:
        """A job, or one in place of another, which takes over what that one holds.

        Raises:
            DeployError: a job of this name is draining: Dataflow takes no other meanwhile.
        """
        if not self._wanted:
            return
        job, state = self.running()
        if state == "Draining":
            raise DeployError(_draining(job))
        config = self._config
        if job and self._label(job) == config and not self.deployment.force:
            say(f"   {JOB} is up to date")
            return
        label = f"--additional-user-labels=libra-config={config}"
        yield gcloud(*self._words, label, *(["--update"] if job else []), patient=True)

    def surplus(self) -> Iterator[Change]:
        """Let the job write what it holds.

        Raises:
            DeployError: it still does. What it runs as, and its image, must be there until it has ended.
        """
        job, state = self.running() if exists(self.deployment, ACCOUNT) else ("", "")
        if job and state != "Draining":
            yield gcloud("dataflow", "jobs", "drain", job, *self.deployment.in_region)
        if job:
            raise DeployError(_draining(job))

    def state(self) -> Iterator[tuple[str, str]]:
        """What the job does, and whether it is of these sources and flags."""
        job, state = self.running() if exists(self.deployment, ACCOUNT) else ("", "")
        if job:
            same = self._label(job) == self._config
            yield JOB, f"{state}  {'up to date' if same else 'of other sources or flags'}"
        elif self._wanted:
            yield JOB, "not running"

    @cached_property
    def _words(self) -> tuple[str, ...]:
        values = self.deployment.values
        options = (
            f"--dataset={values['LIBRA_WAREHOUSE_DATASET']}",
            f"--max_num_workers={values['LIBRA_PIPELINES_WORKERS']}",
        )
        return starting(STREAM, self.deployment.region, values, options)

    @property
    def _config(self) -> str:
        return hashlib.sha256("\n".join(self._words).encode()).hexdigest()[:40]

    def running(self) -> tuple[str, str]:
        """The job that has not ended, and its state; empty: there is none."""
        found = self.gcloud.look(
            *("dataflow", "jobs", "list", *self.deployment.in_region, "--status=active"),
            *(f"--filter=name={JOB}", "--sort-by=~creationTime", "--format=value(id,state)"),
        )
        job, _, state = found.partition("\n")[0].partition("\t")
        return job, state

    def _label(self, job: str) -> str:
        form = "--format=value(labels.libra-config)"
        return self.gcloud.look(
            "dataflow", "jobs", "describe", job, *self.deployment.in_region, "--full", form
        )


def _draining(job: str) -> str:
    return (
        f"{JOB} ({job}) is draining: it writes what it holds, which takes minutes. Nothing else was changed. "
        "Run the same command again when `gcloud dataflow jobs list --status=active` shows it no more"
    )
