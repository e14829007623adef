"""The parameters of `deploy.sh`: from flags, the environment or a file, checked before the first call.

A flag wins over the environment, the environment over the file (`deploy.env` unless another is named),
the file over the default. What the functions read at run time is checked by their own `Settings`, so
that nothing can be deployed that would refuse to start.
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from shared.errors import SettingError
from shared.settings import Settings
from shared.watermark import check_lag

COMMANDS = {
    "stage": "build what is deployed, in build/functions; no cloud account needed",
    "plan": "print every command that `up` may run, and change nothing; no cloud account needed",
    "up": "deploy, or bring what is deployed up to date; run it again whenever you like",
    "status": "say what is deployed and how it is",
    "env": 'print the deployed settings as exports: eval "$(./deploy.sh env)", and libra uses the same',
    "down": "remove the functions, the schedule and their accounts; never data, unless named",
}
STEPS = (
    "services",
    "database",
    "accounts",
    "indexes",
    "rules",
    "functions",
    "invokers",
    "schedule",
    "backup",
)
SEPARATOR = "@@"
"""Stands between variables in gcloud's --set-env-vars, whose own separator may occur in a value."""

MULTI_REGIONS = {"nam5": "us-", "nam7": "us-", "eur3": "europe-"}
"""Firestore's multi-regions, and what the name of a region that may serve each begins with
(https://cloud.google.com/firestore/docs/locations, 2026-11)."""


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        variable: its name in the environment, in `deploy.env` and in `deploy.sh`.
        flag: its flag.
        default: its value when nothing is said.
        allowed: a pattern that its whole value matches.
        meaning: what it is, for `--help` and for messages.
        runtime: whether the functions read it.
    """

    variable: str
    flag: str
    default: str
    allowed: str
    meaning: str
    runtime: bool = False


_REGION = r"[a-z]+-[a-z]+\d{1,2}"
_COUNT = r"\d{1,4}"
_MEMORY = r"(128|256|512)Mi|(1|2|4|8|16|32)Gi"

PARAMETERS = (
    Parameter(
        "GOOGLE_CLOUD_PROJECT",
        "--project",
        "",
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "the project's id, such as kitchen-prod",
        runtime=True,
    ),
    Parameter("LIBRA_REGION", "--region", "", _REGION, "where the functions run, such as europe-west6"),
    Parameter(
        "LIBRA_LOCATION",
        "--location",
        "",
        f"{_REGION}|nam5|nam7|eur3",
        "where the database is: a region, nam5, nam7 or eur3; the functions' region by default",
    ),
    Parameter(
        "FIRESTORE_DATABASE",
        "--database",
        "(default)",
        r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]",
        "the database's id",
        runtime=True,
    ),
    Parameter(
        "LIBRA_TIME_ZONE",
        "--time-zone",
        "UTC",
        r".+",
        "the zone of hours, dates and the schedule; an IANA name",
        runtime=True,
    ),
    Parameter(
        "LIBRA_TIME_ACTION",
        "--time-action",
        "Served",
        r".+",
        "the action that hours and dates count; * for all",
        runtime=True,
    ),
    Parameter(
        "LIBRA_LAG_SECONDS",
        "--lag-seconds",
        "600",
        r".+",
        "how far the watermark trails the clock, at least; a change takes two runs of `up`",
        runtime=True,
    ),
    Parameter(
        "LIBRA_BUCKET_SECONDS",
        "--bucket-seconds",
        "600",
        r".+",
        "the length of a commit-time bucket; divides a day",
        runtime=True,
    ),
    Parameter(
        "LIBRA_GROUP_SIZE",
        "--group-size",
        "300",
        r".+",
        "the most entries that ride in one commit",
        runtime=True,
    ),
    Parameter(
        "LIBRA_LINGER_MS",
        "--linger-ms",
        "0",
        r".+",
        "the least time between the starts of two commits of an instance, in milliseconds",
        runtime=True,
    ),
    Parameter("LIBRA_LOG_LEVEL", "--log-level", "INFO", r".+", "DEBUG, INFO, WARNING or ERROR", runtime=True),
    Parameter(
        "THREADS",
        "--concurrency",
        "80",
        r"[1-9]\d{0,2}|1000",
        "events at once in one instance of the trigger, and the threads of a server that uses them",
    ),
    Parameter("LIBRA_MEMORY", "--memory", "512Mi", _MEMORY, "the trigger's memory"),
    Parameter("LIBRA_CPU", "--cpu", "1", r"[1248]", "CPUs of each function"),
    Parameter("LIBRA_MIN_INSTANCES", "--min-instances", "0", _COUNT, "instances of the trigger kept warm"),
    Parameter(
        "LIBRA_MAX_INSTANCES", "--max-instances", "5", r"[1-9]\d{0,3}", "instances of the trigger at most"
    ),
    Parameter("LIBRA_RECOMPUTE_MEMORY", "--recompute-memory", "1Gi", _MEMORY, "the recompute's memory"),
    Parameter(
        "LIBRA_SCHEDULE", "--schedule", "0 2 * * *", r"\S+( \S+){4}", "when the recompute runs, as in cron"
    ),
    Parameter(
        "LIBRA_SCHEDULER_REGION",
        "--scheduler-region",
        "",
        _REGION,
        "where the schedule is kept; the functions' region by default",
    ),
    Parameter(
        "LIBRA_PITR",
        "--pitr",
        "keep",
        "on|off|keep",
        "point-in-time recovery: snapshots of seven days in place of one hour; costs storage",
    ),
    Parameter("LIBRA_BACKUP", "--backup", "keep", "daily|keep", "a backup of the database every day"),
    Parameter(
        "LIBRA_BACKUP_RETENTION",
        "--backup-retention",
        "7d",
        r"[1-9]\d?d|[1-9]\d?w",
        "how long a backup is kept",
    ),
    Parameter(
        "LIBRA_RULES",
        "--rules",
        "create",
        "create|replace|keep",
        "security rules: create them where there are none, replace what is there, or keep out",
    ),
    Parameter(
        "LIBRA_SECRETS",
        "--secrets",
        "",
        r"[A-Z][A-Z0-9_]*=[A-Za-z0-9_-]+:(latest|\d+)(,[A-Z][A-Z0-9_]*=[A-Za-z0-9_-]+:(latest|\d+))*",
        "VARIABLE=SECRET:VERSION, by commas: from Secret Manager into both functions",
    ),
)


class ParameterError(Exception):
    """A parameter can not be used; the message says which, what was found and what is allowed."""


def read(
    flags: Mapping[str, str | None], environment: Mapping[str, str], file: Path, *, deployed: bool = False
) -> dict[str, str]:
    """Every parameter's value, checked; ``deployed``: also for what a test may do and production may not.

    Raises:
        ParameterError: naming the first one that can not be used.
    """
    filed = read_file(file)
    values = {}
    for parameter in PARAMETERS:
        said = flags.get(parameter.variable)
        found = environment.get(parameter.variable) or filed.get(parameter.variable) or parameter.default
        values[parameter.variable] = _checked(parameter, found if said is None else said)
    values["LIBRA_LOCATION"] = values["LIBRA_LOCATION"] or values["LIBRA_REGION"]
    values["LIBRA_SCHEDULER_REGION"] = values["LIBRA_SCHEDULER_REGION"] or values["LIBRA_REGION"]
    _check_together(values, deployed=deployed)
    return values


def read_file(file: Path) -> dict[str, str]:
    """The variables of a `deploy.env`: VARIABLE=VALUE lines, blank lines and comments; nothing is run.

    Raises:
        ParameterError: a line is something else, or names no parameter.
    """
    if not file.is_file():
        return {}
    known = {parameter.variable for parameter in PARAMETERS}
    found = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        variable, equals, value = text.partition("=")
        if not equals or variable.strip() not in known:
            raise ParameterError(
                f"{file}, line {number}: {text!r} is not VARIABLE=VALUE with a variable "
                f"among {', '.join(sorted(known))}"
            )
        found[variable.strip()] = value.strip().strip("\"'")
    return found


def _checked(parameter: Parameter, value: str) -> str:
    if value and not re.fullmatch(parameter.allowed, value):
        raise ParameterError(
            f"{parameter.flag} ({parameter.variable}) is {value!r}: {parameter.meaning}; "
            f"allowed is what matches {parameter.allowed}"
        )
    return value


def _check_together(values: Mapping[str, str], *, deployed: bool) -> None:
    region, location = values["LIBRA_REGION"], values["LIBRA_LOCATION"]
    if region and location != region and not region.startswith(MULTI_REGIONS.get(location, " ")):
        raise ParameterError(
            f"--region {region} with --location {location}: the functions must run in the database's region, "
            "or in a region of its multi-region (us-... for nam5 and nam7, europe-... for eur3)"
        )
    try:
        settings = Settings.from_environment(runtime(values))
        if deployed:
            check_lag(settings.lag, test=False)
    except SettingError as error:
        flags = {parameter.variable: parameter.flag for parameter in PARAMETERS}
        raise ParameterError(f"{flags.get(error.variable, error.variable)}: {error}") from error
    if SEPARATOR in "".join(runtime(values).values()):
        raise ParameterError(
            f"a value holds {SEPARATOR!r}, which stands between variables: {runtime(values)}"
        )


def runtime(values: Mapping[str, str]) -> dict[str, str]:
    """What the functions are given, THREADS aside."""
    return {parameter.variable: values[parameter.variable] for parameter in PARAMETERS if parameter.runtime}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParameterError(f"{message}; ./deploy.sh --help lists what there is")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="./deploy.sh",
        description="Deploys Libra with gcloud: the trigger, the recompute, its schedule and what they need.",
        epilog="commands:\n" + "\n".join(f"  {name:7} {what}" for name, what in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="|".join(COMMANDS))
    for parameter in PARAMETERS:
        default = f" [{parameter.default}]" if parameter.default else ""
        parser.add_argument(
            parameter.flag,
            dest=parameter.variable,
            metavar="VALUE",
            help=f"{parameter.meaning} ({parameter.variable}){default}".replace("%", "%%"),
        )
    parser.add_argument("--env-file", default="deploy.env", metavar="FILE", help="parameters [deploy.env]")
    parser.add_argument("--only", default=",".join(STEPS), metavar="STEPS", help=f"of {','.join(STEPS)}")
    parser.add_argument("--force", action="store_true", help="deploy functions that have not changed, too")
    parser.add_argument(
        "--for-firebase",
        action="store_true",
        help="grant what functions need that `firebase deploy` deploys: their own account delivers and calls",
    )
    parser.add_argument("--delete-indexes", action="store_true", help="down: remove Libra's indexes too")
    parser.add_argument("--delete-database", default="", metavar="NAME", help="down: DELETE ALL DATA of it")
    return parser


def arguments_of(words: Sequence[str]) -> dict[str, Any]:
    """A command line taken apart; flags that were not given are None.

    Raises:
        ParameterError: it has a flag or a command that there is not.
    """
    return vars(_parser().parse_args(words))


def assignments(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """What `deploy.sh` takes over as its variables.

    Raises:
        ParameterError: a flag or a value can not be used.
    """
    said = arguments_of(arguments)
    command, steps = said["command"], said["only"].split(",")
    if unknown := [step for step in steps if step not in STEPS]:
        raise ParameterError(
            f"--only {','.join(unknown)}: there is no such step; there are {', '.join(STEPS)}"
        )
    values = read(said, environment, Path(said["env_file"]), deployed=command in {"up", "plan"})
    missing = [it for it in PARAMETERS[:2] if command != "stage" and not values[it.variable]]
    if missing:
        raise ParameterError(f"{missing[0].flag} ({missing[0].variable}) is missing: {missing[0].meaning}")
    if said["delete_database"] not in {"", values["FIRESTORE_DATABASE"]}:
        raise ParameterError(
            f"--delete-database {said['delete_database']}: the database here is "
            f"{values['FIRESTORE_DATABASE']}; name that one to delete all of its data"
        )
    return values | {
        "COMMAND": command,
        "ONLY": f" {' '.join(steps)} ",
        "FORCE": "yes" if said["force"] else "",
        "FOR_FIREBASE": "yes" if said["for_firebase"] else "",
        "DELETE_INDEXES": "yes" if said["delete_indexes"] else "",
        "DELETE_DATABASE": said["delete_database"],
        "RUNTIME_ENVIRONMENT": SEPARATOR.join(f"{name}={value}" for name, value in runtime(values).items()),
    }


def main() -> None:
    """Print the assignments for the shell, or say what is wrong and end with 2."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        sys.stderr.write(_parser().format_help())
        sys.exit(0 if arguments else 2)
    try:
        for variable, value in assignments(arguments, os.environ).items():
            print(f"{variable}={shlex.quote(value)}")  # noqa: T201 - what deploy.sh reads
    except ParameterError as error:
        sys.stderr.write(f"deploy.sh: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
