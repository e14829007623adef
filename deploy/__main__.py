"""`python -m deploy`, which `deploy.sh` starts: stage, plan, up, status, env, down.

It needs the standard library and gcloud, nothing that has to be installed. `up` may be repeated: each step
looks first and changes only what differs. A step that fails ends the command, with what to do.

Exit status: 0 done, 1 failed, 2 a parameter cannot be used, 130 interrupted.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence

from deploy.arguments import Options, options_of, parser
from deploy.exports import exports
from deploy.gcloud import Change, CommandError, DeployError, Gcloud, say
from deploy.parameters import ParameterError
from deploy.steps import STEPS, Deployment, Functions, Stage, Step
from deploy.steps.base import RECOMPUTE, TRIGGER
from deploy.steps.board import SIGN_IN
from deploy.steps.schedule import JOB

SUMMARY = """
Libra is deployed in {project}: {triggers} and {recompute} in {region},
the schedule "{schedule}" ({zone}), the database {database} in {location}.
{pending}
See it:
  ./deploy.sh status --project={project} --region={region}
  eval "$(./deploy.sh env --project={project} --region={region})"; libra status
                                                  the totals' health; libra verify proves it
  gcloud scheduler jobs run {job} --location={scheduler} --project={project}
                                                  a recompute now
  gcloud functions logs read {trigger} --gen2 --region={region} --project={project}

When idle it costs at most 0.20 USD a month for two schedules (three are free for each billing account) and
cents for the stored image and source; with --min-instances above 0, each instance kept warm costs more.
docs/operations.md works the costs out.
"""


def write(text: str) -> None:
    """Print a result."""
    sys.stdout.write(f"{text}\n")


def advice(deployment: Deployment, needs: str, message: str) -> str:  # noqa: PLR0911 - a table of answers
    """What to do about what Google answered."""
    values, project = deployment.values, deployment.project
    if "firebase login" in message:
        return SIGN_IN
    if "illing" in message:
        return f"link a billing account: gcloud billing projects link {project} --billing-account=ID"
    if any(words in message for words in ("active account", "auth login", "UNAUTHENTICATED")):
        return "gcloud auth login"
    if any(words in message for words in ("SERVICE_DISABLED", "not enabled", "has not been used")):
        return "./deploy.sh up, which enables the services, and allow a minute"
    if "PERMISSION_DENIED" in message or "ermission" in message:
        return f"have someone grant you {needs} on {project}"
    if "ocation" in message or "egion" in message:
        return (
            f"check --region {deployment.region}, --location {values['LIBRA_LOCATION']} "
            f"and --scheduler-region {values['LIBRA_SCHEDULER_REGION']}"
        )
    return "put it right and run the same command again; what is done stays done"


class Walk:
    """Takes the chosen steps, and says where it stopped."""

    def __init__(self, options: Options, deployment: Deployment) -> None:
        self._deployment = deployment
        self._title = ""
        self._step: Step | None = None
        self.steps = [step(deployment) for step in STEPS if step.always or step.name in options.only]

    def up(self) -> None:
        """Make what is missing."""
        for step in self.steps:
            self._make(step, step.title, step.missing())

    def down(self) -> None:
        """Remove what `up` made, the last first."""
        for step in reversed(self.steps):
            if step.undoing:
                self._make(step, step.undoing, step.surplus())

    def plan(self) -> Iterator[tuple[Step, list[Change]]]:
        """What each step would change in an empty project."""
        for step in self.steps:
            self._enter(step, step.title)
            yield step, list(step.missing())

    def state(self) -> dict[str, str]:
        """How everything is that the steps look after."""
        found: dict[str, str] = {}
        for step in self.steps:
            self._enter(step, "Look at what is deployed")
            found.update(step.state())
        return found

    def failed(self, failure: CommandError) -> str:
        """What to tell the operator: the step, the command, Google's words and what to do."""
        needs = self._step.needs if self._step else "roles/viewer"
        message = "".join(f"\n  {line}" for line in str(failure).splitlines())
        where = f'the step "{self._title}"' if self._title else "a look at what is deployed"
        return (
            f"{where} failed.\n  command: {shlex.join(failure.words)}{message}\n"
            f"  do: {advice(self._deployment, needs, str(failure))}"
        )

    def _enter(self, step: Step, title: str) -> None:
        self._step, self._title = step, title

    def _make(self, step: Step, title: str, changes: Iterator[Change]) -> None:
        self._enter(step, title)
        say(f"== {title}")
        for change in changes:
            if change.title:
                self._title = change.title
                say(f"== {change.title}")
            step.gcloud.make(change)


def up(walk: Walk, deployment: Deployment, options: Options) -> None:
    """Deploy, and say what there is now."""
    pending = ""
    functions = next((step for step in walk.steps if isinstance(step, Functions)), None)
    walk.up()
    if functions and functions.pending:
        pending = f"\nNOT YET DONE: {functions.pending}\n"
    values = options.values
    write(
        SUMMARY.format(
            project=deployment.project,
            region=deployment.region,
            triggers=", ".join(deployment.triggers),
            trigger=TRIGGER,
            recompute=RECOMPUTE,
            schedule=values["LIBRA_SCHEDULE"],
            zone=values["LIBRA_TIME_ZONE"],
            database=values["FIRESTORE_DATABASE"],
            location=values["LIBRA_LOCATION"],
            scheduler=values["LIBRA_SCHEDULER_REGION"],
            job=JOB,
            pending=pending,
        ).rstrip("\n")
    )


def plan(walk: Walk, _: Deployment, options: Options) -> None:
    """Print every command that `up` may run."""
    listed = list(walk.plan())
    if options.json:
        steps = [
            {
                "step": step.name,
                "title": step.title,
                "needs": step.needs,
                "commands": [str(it) for it in made],
            }
            for step, made in listed
        ]
        write(json.dumps({"steps": steps}, indent=2))
        return
    write("# Every command that ./deploy.sh up may run on an empty project; on another, only what differs.")
    for step, changes in listed:
        title = step.title
        for number, change in enumerate(changes):
            if change.title or not number:
                write(f"\n# {step.name}: {change.title or title}")
            write(str(change))
        if not changes:
            write(f"\n# {step.name}: {title}")


def status(walk: Walk, _: Deployment, options: Options) -> None:
    """Print what is deployed and its state."""
    found = walk.state()
    if options.json:
        write(json.dumps(found, indent=2))
        return
    for name, state in found.items():
        write(f"{name:18} {state}")


def env(_: Walk, deployment: Deployment, options: Options) -> None:
    """Print the settings of what is deployed, for a shell."""
    shown = ("--gen2", *deployment.in_region, "--format=json(serviceConfig.environmentVariables)")
    found = deployment.gcloud.look("functions", "describe", RECOMPUTE, *shown)
    if not found:
        raise DeployError(
            f"the recompute {RECOMPUTE} is not deployed in {deployment.region} of {deployment.project}"
        )
    settings = exports(json.loads(found))
    if options.json:
        write(json.dumps(settings, indent=2))
        return
    for variable, value in settings.items():
        write(f"export {variable}={shlex.quote(value)}")


def down(walk: Walk, deployment: Deployment, _: Options) -> None:
    """Remove what `up` made."""
    walk.down()
    steps = ", ".join(step.name for step in walk.steps if not step.always)
    say(f"Removed from {deployment.project} what these steps made: {steps}. Services stay enabled.")
    if not deployment.delete_database:
        database = deployment.values["FIRESTORE_DATABASE"]
        say(f"The database {database}, its data, rules and settings are as they were.")


def stage(_: Walk, deployment: Deployment, __: Options) -> None:
    """Build what is deployed."""
    say(Stage(deployment).build())


COMMANDS: dict[str, Callable[[Walk, Deployment, Options], None]] = {
    "stage": stage,
    "plan": plan,
    "up": up,
    "status": status,
    "env": env,
    "down": down,
}


def run(options: Options) -> None:
    """Carry a command out.

    Raises:
        DeployError: it cannot be done.
    """
    gcloud = Gcloud(
        planning=options.command == "plan",
        tries=int(os.environ.get("LIBRA_TRIES") or 10),
        pause=float(os.environ.get("LIBRA_SECONDS_BETWEEN") or 30),
    )
    deployment = Deployment(
        options.values,
        gcloud,
        force=options.force,
        for_firebase=options.for_firebase,
        delete_indexes=options.delete_indexes,
        delete_topics=options.delete_topics,
        delete_database=options.delete_database,
        only=options.only,
    )
    walk = Walk(options, deployment)
    try:
        COMMANDS[options.command](walk, deployment, options)
    except CommandError as failure:
        raise DeployError(walk.failed(failure)) from failure


def main(words: Sequence[str]) -> int:
    """Carry a command line out; the exit status."""
    if not words or {"-h", "--help"} & set(words):
        sys.stderr.write(parser().format_help())
        return 0 if words else 2
    try:
        run(options_of(words, os.environ))
    except ParameterError as error:
        say(f"deploy.sh: {error}")
        return 2
    except DeployError as error:
        say(f"deploy.sh: {error}")
        return 1
    except KeyboardInterrupt:
        say("deploy.sh: interrupted; what is done stays done: run the same command again to go on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
