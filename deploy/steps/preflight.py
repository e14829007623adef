"""The look before the first change."""

from collections.abc import Iterator

from deploy.gcloud import Change, CommandError, DeployError
from deploy.google import ApiError, lacking, needed
from deploy.steps.base import Step
from deploy.steps.board import Board


class Preflight(Step):
    """Refuses a project in which `up` would stop halfway. It changes nothing."""

    name = "preflight"
    needs = "roles/viewer"
    title = "Look at the project, its billing and your permissions; no change"
    always = True

    def missing(self) -> Iterator[Change]:
        """Nothing; raises instead."""
        if not self.gcloud.planning:
            self._project()
            self._permissions()
            self._billing()
            if "board" in self.deployment.only and self.deployment.values["LIBRA_BOARD"] != "off":
                Board(self.deployment).check()
        yield from ()

    def _project(self) -> None:
        project = self.deployment.project
        if self.gcloud.look("projects", "describe", project, "--format=value(lifecycleState)") != "ACTIVE":
            raise DeployError(f"--project {project}: there is no such active project, or you may not see it")

    def _permissions(self) -> None:
        try:
            wanted = needed(self.deployment.values, self.deployment.only)
            missing = lacking(self.deployment.google(), self.deployment.project, wanted)
        except ApiError as error:
            command = ("gcloud", "projects", "test-iam-permissions", self.deployment.project)
            raise CommandError(command, str(error)) from error
        if missing:
            listed = "\n".join(f"{permission} (as in {role})" for permission, role in missing.items())
            raise DeployError(
                f"you lack permissions on {self.deployment.project}; nothing was changed. Missing:\n{listed}"
            )

    def _billing(self) -> None:
        """The billing API may be off or hidden from the caller; then enabling the services finds out."""
        project = self.deployment.project
        try:
            enabled = self.gcloud.look(
                "billing", "projects", "describe", project, "--format=value(billingEnabled)"
            )
        except CommandError:
            return
        if enabled == "False":
            raise DeployError(
                f"{project} has no billing account, which functions need; nothing was changed.\n"
                f"  do: gcloud billing projects link {project} --billing-account=ID"
            )
