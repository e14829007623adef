"""Jobs of Dataflow: what they run as, where they keep their files, and the command that starts one."""

from collections.abc import Mapping, Sequence

from deploy import stage
from deploy.warehouse import ACCOUNT as WAREHOUSE

ACCOUNT = "libra-pipelines"
"""What jobs and their workers run as; also the repository, and the image in it."""
STREAM = "events_to_bigquery"
"""The pipeline that never ends by itself."""
ACCOUNTS = {STREAM: WAREHOUSE}
"""What a job of a pipeline runs as; the others run as `ACCOUNT`."""
SETTINGS = (
    *("GOOGLE_CLOUD_PROJECT", "FIRESTORE_DATABASE"),
    *("LIBRA_TIME_ZONE", "LIBRA_TIME_ACTION", "LIBRA_LOG_LEVEL"),
)
"""The variables that a job is given, because it has no environment of its own: what it counts by."""


def bucket_of(project: str) -> str:
    """Where the template is, and where jobs write what they need for themselves."""
    return f"gs://{project}-libra-pipelines"


def template_of(project: str) -> str:
    """The template's file."""
    return f"{bucket_of(project)}/libra.json"


def image_of(project: str, region: str) -> str:
    """The image; its tag says of which sources it is."""
    where = f"{region}-docker.pkg.dev/{project}/{ACCOUNT}/{ACCOUNT}"
    return f"{where}:{stage.fingerprint(stage.PIPELINES)[:40]}"


def job_of(name: str) -> str:
    """What the job of a pipeline is called, if nobody says otherwise."""
    return f"libra-{name.replace('_', '-')}"


def starting(
    name: str,
    region: str,
    values: Mapping[str, str],
    options: Sequence[str] = (),
    *,
    template: str | None = None,
    account: str | None = None,
    job: str | None = None,
    more: Sequence[str] = (),
) -> tuple[str, ...]:
    """The words with which gcloud starts the pipeline `name` as a job.

    Args:
        name: a name of `PIPELINES` in pipelines/__main__.py.
        region: where it runs.
        values: the variables of Libra, the project among them.
        options: ``--name=value``, for the pipeline and Beam.
        template: the template's file; that of `libra pipeline build` by default.
        account: what it runs as; see `ACCOUNTS` by default.
        job: what it is called; see `job_of` by default.
        more: other flags of gcloud's.
    """
    project = values["GOOGLE_CLOUD_PROJECT"]
    bucket = bucket_of(project)
    email = account or f"{ACCOUNTS.get(name, ACCOUNT)}@{project}.iam.gserviceaccount.com"
    if not any(each.startswith("--sdk_container_image=") for each in options):
        options = (f"--sdk_container_image={image_of(project, region)}", *options)
    settings = ";".join(f"{each}={values[each]}" for each in SETTINGS if values.get(each))
    parameters = (f"pipeline={name}", f"settings={settings}", *(it.removeprefix("--") for it in options))
    return (
        *("dataflow", "flex-template", "run", job or job_of(name)),
        *(f"--project={project}", f"--region={region}", f"--service-account-email={email}"),
        f"--template-file-gcs-location={template or template_of(project)}",
        *(f"--temp-location={bucket}/temp", f"--staging-location={bucket}/staging"),
        f"--parameters=^@@^{'@@'.join(parameters)}",
        *more,
    )
