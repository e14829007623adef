"""`libra up`: the local stack, until Ctrl-C."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click

from cli.commands.options import Ended, ending, faulty
from deploy.parameters import default
from local.collecting import Collector
from local.errors import StackError
from local.extras import EXTRAS, Extra
from local.faults import Faults
from local.process import free_port
from local.served import unsigned_token
from local.stack import LocalStack

USUAL_PORT = 8080
WATCH_SECONDS = 0.5


class Names(click.ParamType[tuple[str, ...]]):
    """Names of `EXTRAS`, by commas."""

    name = "name[,name]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split it, or end the command with what is allowed."""
        names = tuple(value.split(",")) if isinstance(value, str) else tuple(value)
        if unknown := [name for name in names if name not in EXTRAS]:
            self.fail(f"there is no {unknown[0]!r}; there are {', '.join(EXTRAS)}", param, ctx)
        return tuple(dict.fromkeys(names))


@click.command("up", short_help="Start the local stack; Ctrl-C stops it.")
@click.option("--project", default="demo-libra", show_default=True, help="The project of the documents.")
@click.option(
    "--emulator-port", type=click.IntRange(1, 65535), help="[default: 8080 if it is free, else any free one]"
)
@click.option("--relay-port", type=click.IntRange(1, 65535), help="[default: any free one]")
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Security rules for the emulator.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=int(default("THREADS")), show_default=True
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the faults.")
@click.option("--edits/--no-edits", default=True, show_default=True, help="Serve edits and deletions too.")
@click.option(
    "--with",
    "extras",
    type=Names(),
    default=(),
    help=f"What else to start, by commas: {', '.join(EXTRAS)}.",
)
@faulty(Faults())
def command(
    *,
    project: str,
    emulator_port: int | None,
    relay_port: int | None,
    rules: Path | None,
    concurrency: int,
    edits: bool,
    extras: tuple[str, ...],
    **faults: float,
) -> None:
    """Start the Firestore emulator, the functions, the relay, the API and the collector.

    Ctrl-C stops them.
    """
    attached = bool(os.environ.get("FIRESTORE_EMULATOR_HOST"))
    with suppress(KeyboardInterrupt, Ended), ending(), ExitStack() as running:
        click.echo("Starting …")
        stack = LocalStack(
            project=project,
            faults=Faults().changed(faults),
            concurrency=concurrency,
            relay_port=relay_port,
            emulator_port=emulator_port or (None if attached else free_port(USUAL_PORT)),
            rules=rules,
            java=(),
            recompute=True,
            api=True,
            edits=edits,
            say=click.echo,
        )
        running.enter_context(stack)
        added: list[Extra] = []
        for name in filter(extras.__contains__, EXTRAS):
            added.append(running.enter_context(EXTRAS[name](stack, _exports(added))))
        added.append(running.enter_context(Collector(stack, _exports(added))))
        click.echo(_where(stack, added))
        _watch([stack, *added])
    click.echo("\nStopped.")


def _exports(added: Sequence[Extra]) -> dict[str, str]:
    return {name: value for it in added for name, value in it.exports.items()}


def _where(stack: LocalStack, added: Sequence[Extra]) -> str:
    also = "".join(f"  {name:9}   {address}\n" for it in added for name, address in it.where.items())
    exports = "".join(f" \\\n    {name}={value}" for name, value in _exports(added).items())
    return f"""
  Firestore   {stack.emulator.address}   project {stack.project}
  function    {stack.function.address}   creations{_changes(stack)}
  recompute   {stack.recompute.address}   POST {{}} to run it
  API         http://{stack.api.address}   read it: /docs
  relay       {stack.relay}   counters: GET /relay, faults: PUT /relay/faults
{also}  logs        {stack.folder}

In another terminal:

  export FIRESTORE_EMULATOR_HOST={stack.emulator.address} GOOGLE_CLOUD_PROJECT={stack.project}{exports}
  libra generate
  export LIBRA_API_URL=http://{stack.api.address} LIBRA_TOKEN={unsigned_token(stack.project, "operator")}
  curl -H "Authorization: Bearer $LIBRA_TOKEN" $LIBRA_API_URL/v1/totals/aggregates_categories
  curl -H "X-Api-Key: $LIBRA_KEY" --json "{{\\"event_id\\": \\"e1\\", \\"user_id\\": \\"ann\\",
      \\"event_type\\": \\"purchase\\", \\"timestamp\\": \\"$(date -u +%FT%TZ)\\"}}" \\
    $LIBRA_COLLECTOR_URL/v1/events/user_events

Ctrl-C stops everything; the documents go with it."""


def _changes(stack: LocalStack) -> str:
    names = {"updated": "edits", "deleted": "deletions"}
    return "".join(f"; {names[it]} {served.address}" for it, served in stack.changes.items())


def _watch(parts: Sequence[LocalStack | Extra]) -> None:
    while True:
        for part in parts:
            if ended := part.ended():
                raise StackError(ended)
        time.sleep(WATCH_SECONDS)
