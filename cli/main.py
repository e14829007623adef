"""The `libra` command: a registry. Each command is a module of `cli.commands`, loaded when it is used."""

import io
import sys
from importlib import import_module
from typing import NoReturn

import click

from shared.errors import LibraError, SettingError, Unanswerable

COMMANDS = {  # in the order of the help: name, module of cli.commands
    "up": "up",
    "demo": "demo",
    "generate": "generate",
    "import": "import_",
    "send": "send",
    "replay": "replay",
    "recompute": "recompute",
    "verify": "verify",
    "status": "status",
    "totals": "totals",
    "explain": "explain",
    "entry": "entry",
    "runs": "runs",
    "rejected": "rejected",
    "keys": "keys",
    "archive": "archive",
    "export": "export",
    "compact": "compact",
    "aggregation": "aggregation",
    "usage": "usage",
    "pipeline": "pipeline",
    "warehouse": "warehouse",
    "cost": "cost",
    "ingest": "ingest",
    "tenant": "tenant",
    "drill": "drill",
}


class Registry(click.Group):
    """Loads a command when it is asked for, and says expected errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        """The command of that name: the attribute `command` of its module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"cli.commands.{COMMANDS[cmd_name]}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a wrong setting or question ends it with status 2, other expected errors with 1."""
        try:
            return super().invoke(ctx)
        except (SettingError, Unanswerable) as error:
            _fail(str(error), 2)
        except LibraError as error:
            _fail(str(error), 1)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"libra: {message}", err=True)
    sys.exit(status)


@click.command(
    cls=Registry, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="libra")
def main() -> None:
    """Exact, real-time totals of events in Firestore.

    `libra demo` runs everything on this machine. Commands that talk to Firestore read
    GOOGLE_CLOUD_PROJECT, FIRESTORE_EMULATOR_HOST, FIRESTORE_DATABASE and LIBRA_* from the environment.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an ingredient may hold what a terminal cannot show
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
