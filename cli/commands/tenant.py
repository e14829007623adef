"""`libra tenant`: whose data ingestion loads, where they are, and with which secrets."""

import json
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import IO, Any

import click

from cli.comparison import as_json, print_json
from cli.ingesting import opened
from services.ingestion.errors import PartError
from services.ingestion.requests import FILES, Part
from services.ingestion.secrets import NAMES
from services.ingestion.tenants import Tenants

_settings = click.option(
    "--settings",
    "file",
    type=click.File("r", encoding="utf-8"),
    required=True,
    help="A JSON file: project, dataset, time_zone, sftp, files, ceilings (docs/ingestion.md).",
)


@click.group("tenant")
def command() -> None:
    """Add, set, list, test and rotate the tenants of ingestion.

    Reads LIBRA_POSTGRES_URL and LIBRA_INGESTION_KEY.
    """


@command.command("add")
@click.argument("name")
@_settings
@as_json
def add(*, name: str, file: IO[str], as_json: bool) -> None:
    """Add the tenant NAME, and print its token.

    It is printed this once: what is stored is its hash.
    """
    settings = _read(file)
    with opened() as ingestion:
        token = Tenants(ingestion.books).add(name, settings)
    _say(token, name, as_json=as_json)


@command.command("set")
@click.argument("name")
@_settings
def set_settings(*, name: str, file: IO[str]) -> None:
    """Replace the settings of the tenant NAME. Its token and its secrets stay."""
    settings = _read(file)
    with opened() as ingestion:
        Tenants(ingestion.books).change(name, settings)
    click.echo(f"The settings of {name} are replaced. Try them: libra tenant test {name}", err=True)


@command.command("list")
@as_json
def list_tenants(*, as_json: bool) -> None:
    """List the tenants, by name, with what they have and without any secret."""
    with opened() as ingestion:
        found = Tenants(ingestion.books).listed()
    said = [
        {
            "tenant": each.tenant,
            "project": each.settings.get("project"),
            "dataset": each.settings.get("dataset"),
            "sftp": each.settings.get("sftp", {}).get("host"),
            "secrets": sorted(each.secrets),
        }
        for each in found
    ]
    if as_json:
        print_json({"tenants": said})
        return
    for each in said:
        click.echo("  ".join(f"{key}={value or '-'}" for key, value in each.items()))
    if not said:
        click.echo("There is no tenant: libra tenant add NAME --settings FILE", err=True)


@command.command("test")
@click.argument("name")
@as_json
def test(*, name: str, as_json: bool) -> None:
    """Connect to both sources of the tenant NAME, and say what is wrong, each with its code.

    Nothing is loaded. Exit status 1 if a source cannot be read.
    """
    with opened() as ingestion, ingestion.sources(name) as sources:
        parts = [
            Part("page_view", sources.today() - timedelta(days=1)),
            *(Part(kind, None) for kind in FILES),
        ]
        found = [_tried(sources.open, part) for part in parts]
    if as_json:
        print_json({"tenant": name, "sources": found})
    else:
        for each in found:
            click.echo(f"{each['source']}: {each['code']}{each['message'] and ': '}{each['message']}")
    sys.exit(int(any(each["code"] != "ok" for each in found)))


@command.command("rotate")
@click.argument("name")
@click.option("--token", is_flag=True, help="Make a new token; the old one is taken no more.")
@click.option("--secret", type=click.Choice(NAMES), help="Which secret is replaced.")
@click.option(
    "--reference", help="The secret's name in Secret Manager: projects/P/secrets/S/versions/latest."
)
@click.option(
    "--from-file",
    type=click.File("r", encoding="utf-8"),
    help="A file with the secret; - reads it from standard input.",
)
@as_json
def rotate(
    *,
    name: str,
    token: bool,
    secret: str | None,
    reference: str | None,
    from_file: IO[str] | None,
    as_json: bool,
) -> None:
    """Replace the token or a secret of the tenant NAME.

    A secret from a file is sealed with LIBRA_INGESTION_KEY, which is not in the database.
    """
    if token == bool(secret) or bool(secret) != (bool(reference) != bool(from_file)):
        raise click.UsageError("give --token, or --secret with one of --reference and --from-file")
    with opened() as ingestion:
        tenants = Tenants(ingestion.books)
        if token:
            _say(tenants.rotate_token(name), name, as_json=as_json)
            return
        assert secret  # noqa: S101 - checked above
        if from_file:
            held = ingestion.settings.vault.seal(name, secret, from_file.read().removesuffix("\n"))
        else:
            held = {"reference": str(reference)}
        tenants.set_secret(name, secret, held)
    click.echo(f"The secret {secret} of {name} is replaced. Try it: libra tenant test {name}", err=True)


def _read(file: IO[str]) -> dict[str, Any]:
    try:
        found: object = json.load(file)
    except ValueError as error:
        raise click.BadParameter(f"{file.name} is no JSON: {error}", param_hint="--settings") from None
    if not isinstance(found, dict):
        raise click.BadParameter(f"{file.name} is no JSON object", param_hint="--settings")
    return found


def _tried(attempt: Callable[[Part], Any], part: Part) -> dict[str, str]:
    source = part.kind if part.day is None else f"GA4 of {part.day}"
    try:
        found = attempt(part)
        if not isinstance(found, str):
            with closing(found):
                next(found.batches(), None)  # whether the first rows can be read
    except PartError as error:
        return {"source": source, "code": error.code, "message": str(error)}
    if found == "absent":
        message = "the dataset has no table of that day yet: look whether the export is switched on"
        return {"source": source, "code": "missing_table", "message": message}
    return {"source": source, "code": "ok", "message": ""}


def _say(token: str, name: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenant": name, "token": token})
        return
    click.echo(token)
    click.echo(f"This is the token of {name}, and it is shown only now.", err=True)
