"""`libra keys`: who may send events to the collector with an API key."""

from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from cli.commands.options import real_project
from cli.comparison import as_json, iso, print_json
from cli.report import page, shown
from cli.writing import connected, named_store
from shared import api_keys
from shared.api_keys import ApiKey
from shared.schemas import self_written
from shared.settings import Settings


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in self_written(Settings()) if name.startswith(incomplete)]


@click.group("keys")
def command() -> None:
    """Make, list and revoke the API keys of the collector."""


@command.command("create")
@click.argument("name")
@click.option(
    "--source",
    "wanted",
    metavar="SOURCE",
    multiple=True,
    required=True,
    shell_complete=_complete,
    help="A source that it may send to; repeat it for more.",
)
@click.option("--rate", type=int, help="Events a second for an instance.  [default: as the collector is set]")
@as_json
@real_project
def create(
    *, name: str, wanted: Sequence[str], rate: int | None, as_json: bool, real_project: str | None
) -> None:
    """Make an API key for NAME, such as "web shop", and print it.

    It is printed this once: what is stored is its hash.
    """
    with named_store(real_project) as (store, settings):
        made, key = api_keys.create(store, name, wanted, self_written(settings), rate=rate)
    if as_json:
        print_json(_plain(made) | {"key": key})
        return
    click.echo(key)
    click.echo(
        f"This is the key of {made.name}, and it is shown only now. "
        f"To take it back: libra keys revoke {made.id}",
        err=True,
    )


@command.command("list")
@as_json
def list_keys(*, as_json: bool) -> None:
    """List the API keys, the oldest first, without their secrets."""
    with connected() as (store, _):
        found = api_keys.listed(store)
    if as_json:
        print_json({"keys": [_plain(each) for each in found]})
    else:
        _show(found)


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@as_json
@real_project
def revoke(*, key_id: str, as_json: bool, real_project: str | None) -> None:
    """Take the API key ID back. The collector takes it for a minute more at most."""
    with named_store(real_project) as (store, _):
        taken = api_keys.revoke(store, key_id)
    if as_json:
        print_json(_plain(taken))
    else:
        click.echo(
            f"{taken.id} ({taken.name}) was revoked at {iso(taken.revoked_at)}. Every instance of the "
            "collector refuses it within a minute."
        )


def _plain(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "sources": list(key.sources),
        "rate": key.rate,
        "created_at": iso(key.created_at),
        "revoked_at": iso(key.revoked_at),
    }


def _show(found: Sequence[ApiKey]) -> None:
    console = page()
    if not found:
        console.print("There are no API keys: libra keys create makes one.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("id", "name", "sources", "rate", "created", ""):
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for key in found:
        state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else ""
        rate = f"{key.rate:,}/s" if key.rate else "default"
        created = f"{key.created_at:%Y-%m-%d}"
        allowed = shown(", ".join(key.sources))
        table.add_row(key.id, shown(key.name), allowed, rate, created, Text(state, "red"))
    console.print(table)
