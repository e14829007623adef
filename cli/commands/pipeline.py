"""`libra pipeline`: start a Beam pipeline, on this machine or as a job of Dataflow."""

import os
import shlex
import subprocess
import sys
from itertools import chain

import click

from cli.beam import ROOT, pipelines_python
from deploy import flex, stage
from deploy.gcloud import CommandError, DeployError, Gcloud
from deploy.parameters import ParameterError, read
from deploy.steps.base import Deployment
from deploy.steps.pipelines import Pipelines
from deploy.steps.project import Services

WATCHED = ("count", "recompute")
"""Pipelines that wait for their job, which a template's launcher cannot."""


@click.group("pipeline", short_help="Start a Beam pipeline.")
def command() -> None:
    """Start a Beam pipeline, on this machine or as a job of Dataflow."""


@command.command("build")
@click.option("--region", help="Where jobs run.  [default: LIBRA_REGION, or that of deploy.env]")
@click.option("--print", "only_print", is_flag=True, help="Print every command and run none.")
def build(*, region: str | None, only_print: bool) -> None:
    """Do what ./deploy.sh up --only=services,pipelines --pipelines=on does: the image, the template, the job.

    It reads GOOGLE_CLOUD_PROJECT and the LIBRA_ variables from the environment or deploy.env, as deploy.sh
    does. Run ./deploy.sh up first: it makes the account that builds. Again, it changes only what differs.
    """
    try:
        values = read({"LIBRA_REGION": region}, os.environ, ROOT / "deploy.env", deployed=True)
        if absent := [name for name in ("GOOGLE_CLOUD_PROJECT", "LIBRA_REGION") if not values[name]]:
            raise click.UsageError(f"{' and '.join(absent)}: not set in the environment or in deploy.env")
        deployment = Deployment(values | {"LIBRA_PIPELINES": "on"}, Gcloud(planning=only_print))
        if not only_print:
            stage.stage(stage.PIPELINES)
            stage.check(stage.make_venv(stage.PIPELINES), stage.PIPELINES)
        for change in chain(Services(deployment).missing(), Pipelines(deployment).missing()):
            if only_print:
                click.echo(str(change))
            else:
                deployment.gcloud.make(change)
    except ParameterError as error:
        raise click.UsageError(str(error)) from None
    except (CommandError, DeployError, stage.StageError) as error:
        raise click.ClickException(f"{error}\nIt needs {Pipelines.needs}") from None


@command.command("run")
@click.argument("name", metavar="NAME")
@click.option("--region", help="Run as a job of Dataflow, in this region.")
@click.option("--template", help="The template's file.  [default: gs://PROJECT-libra-pipelines/libra.json]")
@click.option("--account", help="What the job runs as.  [default: libra-pipelines, or libra-warehouse]")
@click.option("--job", help="The job's name.  [default: libra-NAME]")
@click.option("--update", is_flag=True, help="Replace the running job of that name, and keep its state.")
@click.option("--print", "only_print", is_flag=True, help="Print the command and do not run it.")
@click.argument("options", nargs=-1, metavar="[-- OPTIONS]")
def run(
    *,
    name: str,
    region: str | None,
    template: str | None,
    account: str | None,
    job: str | None,
    update: bool,
    only_print: bool,
    options: tuple[str, ...],
) -> None:
    """Start the pipeline NAME. What stands behind -- goes to it, and to Beam, as --name=value.

    Without --region it runs on this machine, in .venv-pipelines, and this command ends with it. With --region
    gcloud starts a job from the template, and this command ends when the job is accepted. Its workers have
    the image that `libra pipeline build` makes of these sources, unless --sdk_container_image names another.
    """
    if region is None and (template or account or job or update):
        raise click.UsageError("--template, --account, --job and --update are of jobs: they go with --region")
    if region is None:
        words = [pipelines_python(), "-m", "pipelines", f"--pipeline={name}", *options]
    else:
        if name in WATCHED:
            raise click.UsageError(
                f"{name} --region: a template starts a job and ends, and {name} has to see the job through: "
                "libra recompute --strategy beam -- --runner=DataflowRunner, or the job libra-recompute-beam"
            )
        if wrong := [each for each in options if not each.startswith("--") or "=" not in each]:
            raise click.UsageError(f"{wrong[0]}: a job takes options as --name=value")
        if not os.environ.get("GOOGLE_CLOUD_PROJECT"):
            raise click.UsageError("GOOGLE_CLOUD_PROJECT is not set: the id of the project that runs the job")
        more = ("--update",) if update else ()
        started = flex.starting(
            name, region, os.environ, options, template=template, account=account, job=job, more=more
        )
        words = ["gcloud", *started]
    if only_print:
        click.echo(shlex.join(words))
        return
    sys.exit(subprocess.run(words, cwd=ROOT, check=False).returncode)  # noqa: S603 - the operator's own command
