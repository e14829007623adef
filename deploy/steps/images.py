"""The image of something that is no service: a repository for it alone, and a build of what is staged."""

from collections.abc import Iterator

from deploy import stage
from deploy.gcloud import Change, gcloud
from deploy.steps.accounts import BUILDER
from deploy.steps.base import Deployment


def image_of(deployment: Deployment, name: str, artefact: stage.Artefact) -> str:
    """The image; its tag says of which sources it is."""
    repository = f"{deployment.region}-docker.pkg.dev/{deployment.project}/{name}"
    return f"{repository}/{name}:{stage.fingerprint(artefact)[:40]}"


def building(deployment: Deployment, name: str, artefact: stage.Artefact) -> Iterator[Change]:
    """Make the repository and build what is staged, once for each state of the sources."""
    where, image = _where(deployment), image_of(deployment, name, artefact)
    if not _repository(deployment, name):
        yield gcloud("artifacts", "repositories", "create", name, *where, "--repository-format=docker")
    listed = ("artifacts", "tags", "list", f"--package={name}", f"--repository={name}", *where)
    tags = deployment.gcloud.look(*listed, "--format=value(name)").splitlines()
    wanted = image.rpartition(":")[2]
    if deployment.force or not any(tag.rpartition("/")[2] == wanted for tag in tags):
        account = f"projects/{deployment.project}/serviceAccounts/{deployment.email(BUILDER)}"
        yield gcloud(
            *("builds", "submit", f"build/{artefact.name}", f"--pack=image={image}", *deployment.in_region),
            *(f"--service-account={account}", "--default-buckets-behavior=regional-user-owned-bucket"),
            "--suppress-logs",
            patient=True,
        )


def clearing(deployment: Deployment, name: str) -> Iterator[Change]:
    """Remove the repository with its images, if it is there."""
    if _repository(deployment, name):
        yield gcloud("artifacts", "repositories", "delete", name, *_where(deployment))


def _repository(deployment: Deployment, name: str) -> str:
    """The repository's full name; empty: it is not there."""
    describe = ("artifacts", "repositories", "describe", name, *_where(deployment))
    return deployment.gcloud.look(*describe, "--format=value(name)")


def _where(deployment: Deployment) -> tuple[str, str]:
    return f"--location={deployment.region}", deployment.in_project
