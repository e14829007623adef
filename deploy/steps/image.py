"""The image of a job or of a worker: built of what is staged, in a repository that holds nothing else."""

from collections.abc import Iterator

from deploy import stage
from deploy.gcloud import Change, gcloud
from deploy.steps.accounts import BUILDER
from deploy.steps.base import Deployment


def image_of(deployment: Deployment, name: str, artefact: stage.Artefact) -> str:
    """The image, in a repository of its own name; its tag says of which sources it is."""
    where = f"{deployment.region}-docker.pkg.dev/{deployment.project}/{name}"
    return f"{where}/{name}:{stage.fingerprint(artefact)[:40]}"


def building(deployment: Deployment, name: str, artefact: stage.Artefact) -> Iterator[Change]:
    """Build what is staged, unless the image of these sources is there."""
    where, image = _in_location(deployment), image_of(deployment, name, artefact)
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


def removing(deployment: Deployment, name: str) -> Iterator[Change]:
    """Remove the repository and every image in it."""
    if _repository(deployment, name):
        yield gcloud("artifacts", "repositories", "delete", name, *_in_location(deployment))


def _in_location(deployment: Deployment) -> tuple[str, str]:
    return f"--location={deployment.region}", deployment.in_project


def _repository(deployment: Deployment, name: str) -> str:
    describe = ("artifacts", "repositories", "describe", name, *_in_location(deployment))
    return deployment.gcloud.look(*describe, "--format=value(name)")
