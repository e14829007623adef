"""The command line of `deploy.sh`: its commands, flags and help, from the table of parameters."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from deploy.parameters import PARAMETERS, ParameterError, read, read_file
from deploy.steps import NAMES, STEPS

COMMANDS = {
    "stage": "build what is deployed, in build/functions; no cloud account needed",
    "plan": "print every command that `up` may run, and change nothing; no cloud account needed",
    "up": "deploy, or bring what is deployed up to date; run it again whenever you like",
    "status": "print what is deployed and its state",
    "env": 'print the deployed settings as exports: eval "$(./deploy.sh env)", and libra uses the same',
    "down": "remove the functions, the schedule and their accounts; never data, unless named",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a command line asks for.

    Attributes:
        command: one of `COMMANDS`.
        values: every parameter's value, checked.
        only: the names of the steps to take.
        json: whether to print JSON.
        force: whether to deploy functions that have not changed, too.
        for_firebase: whether Firebase deploys the functions.
        delete_indexes: whether `down` removes the indexes.
        delete_topics: whether `down` removes the topics.
        delete_database: whether `down` deletes the database.
    """

    command: str
    values: Mapping[str, str]
    only: frozenset[str]
    json: bool
    force: bool
    for_firebase: bool
    delete_indexes: bool
    delete_topics: bool
    delete_database: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParameterError(f"{message}; ./deploy.sh --help lists what there is")


def parser() -> argparse.ArgumentParser:
    """The parser, with a flag for each parameter."""
    made = _Parser(
        prog="./deploy.sh",
        description="Deploys Libra with gcloud: the trigger, the recompute, its schedule and what they need.",
        epilog="commands:\n" + "\n".join(f"  {name:7} {what}" for name, what in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("command", choices=COMMANDS, metavar="|".join(COMMANDS))
    for parameter in PARAMETERS:
        default = f" [{parameter.default}]" if parameter.default else ""
        made.add_argument(
            parameter.flag,
            dest=parameter.variable,
            metavar="|".join(parameter.choices) or "VALUE",
            help=f"{parameter.meaning} ({parameter.variable}){default}".replace("%", "%%"),
        )
    made.add_argument("--env-file", default="deploy.env", metavar="FILE", help="parameters [deploy.env]")
    made.add_argument("--only", default=",".join(NAMES), metavar="STEPS", help=f"of {','.join(NAMES)}")
    made.add_argument("--json", action="store_true", help="plan, status, env: print one JSON object")
    made.add_argument("--force", action="store_true", help="deploy functions that have not changed, too")
    made.add_argument(
        "--for-firebase",
        action="store_true",
        help="grant what functions need that `firebase deploy` deploys: their own account delivers and calls",
    )
    made.add_argument("--delete-indexes", action="store_true", help="down: remove Libra's indexes too")
    made.add_argument("--delete-topics", action="store_true", help="down: remove topics AND THEIR EVENTS too")
    made.add_argument("--delete-database", default="", metavar="NAME", help="down: DELETE ALL DATA of it")
    return made


def flags_of(words: Sequence[str]) -> dict[str, Any]:
    """A command line taken apart; parameters that are not given are None.

    Raises:
        ParameterError: it has a flag or a command that there is not.
    """
    return vars(parser().parse_args(words))


def options_of(words: Sequence[str], environment: Mapping[str, str]) -> Options:
    """What a command line and its environment ask for, checked.

    Raises:
        ParameterError: a flag or a value cannot be used.
    """
    flags = flags_of(words)
    command, only = flags["command"], flags["only"].split(",")
    if unknown := [step for step in only if step not in NAMES]:
        raise ParameterError(
            f"--only {','.join(unknown)}: there is no such step; there are {', '.join(NAMES)}"
        )
    values = read(flags, environment, Path(flags["env_file"]), deployed=command in {"up", "plan"})
    if command in {"up", "plan"} and len(only) < len(NAMES):
        _check_switches(only, flags, environment)
    for parameter in PARAMETERS[:2]:
        if command != "stage" and not values[parameter.variable]:
            raise ParameterError(f"{parameter.flag} ({parameter.variable}) is missing: {parameter.meaning}")
    if flags["delete_database"] not in {"", values["FIRESTORE_DATABASE"]}:
        raise ParameterError(
            f"--delete-database {flags['delete_database']}: the database here is "
            f"{values['FIRESTORE_DATABASE']}; name that one to delete all of its data"
        )
    return Options(
        command=command,
        values=values,
        only=frozenset(only),
        json=flags["json"],
        force=flags["force"],
        for_firebase=flags["for_firebase"],
        delete_indexes=flags["delete_indexes"],
        delete_topics=flags["delete_topics"],
        delete_database=bool(flags["delete_database"]),
    )


def _check_switches(only: Sequence[str], flags: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Refuse a step that is named while nobody says whether it is wanted: `up` would remove what is there."""
    given = {it for it, value in flags.items() if value is not None}
    given |= {it for it, value in environment.items() if value} | set(read_file(Path(flags["env_file"])))
    for step in STEPS:
        if step.name in only and step.switch and step.switch not in given:
            (switch,) = (it for it in PARAMETERS if it.variable == step.switch)
            raise ParameterError(
                f"--only={step.name} without {switch.flag} ({switch.variable}): without it `up` would remove "
                f"what is there. Give {switch.flag} as it was deployed, or {switch.flag}=off to remove it"
            )
