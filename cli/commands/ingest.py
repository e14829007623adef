"""`libra ingest`: jobs that load tenants' data into PostgreSQL, and whether what they loaded is right."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

from cli.commands.options import Day
from cli.comparison import as_json, print_json
from cli.ingesting import opened
from services.ingestion.availability import available, booked
from services.ingestion.jobs import Job, Jobs
from services.ingestion.requests import AGAIN, EVENTS, KINDS, asked
from services.ingestion.tenants import Tenants
from services.ingestion.verification import verify

first_option = click.option("--from", "first", type=Day(), help="The first day of events.")
last_option = click.option("--to", "last", type=Day(), help="The last day of events.")


@click.group("ingest")
def command() -> None:
    """Start, watch and verify what is loaded from BigQuery and SFTP. Reads LIBRA_POSTGRES_URL."""


@command.command("migrate")
def migrate() -> None:
    """Make the tables, or bring them up to date. Needs the right to make roles the first time."""
    with opened() as ingestion:
        done = ingestion.books.migrate()
    click.echo(f"Applied migrations: {', '.join(map(str, done)) or 'none, the tables are up to date'}")


@command.command("start")
@click.argument("tenant")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="What is loaded; repeat it.  [default: everything]",
)
@first_option
@last_option
@click.option("--idempotency-key", "key", help="The same key and request are always the same job.")
@as_json
def start(
    *,
    tenant: str,
    kinds: Sequence[str],
    first: date | None,
    last: date | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Start a job of TENANT: by default everything, and today's events with those of the four days before."""
    with opened() as ingestion:
        zone = Tenants(ingestion.books).find(tenant).zone
        request = asked(kinds or KINDS, first, last, datetime.now(UTC).astimezone(zone).date())
        job, _ = Jobs(ingestion.books).start(tenant, request, key=key)
    _show([job], as_json=as_json)


@command.command("jobs")
@click.argument("tenant")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many.")
@as_json
def jobs(*, tenant: str, limit: int, as_json: bool) -> None:
    """List the jobs of TENANT, the latest first."""
    with opened() as ingestion:
        Tenants(ingestion.books).find(tenant)
        found = Jobs(ingestion.books).history(tenant, most=limit)
    _show(found, as_json=as_json)


@command.command("job")
@click.argument("tenant")
@click.argument("job_id", metavar="ID")
@as_json
def job(*, tenant: str, job_id: str, as_json: bool) -> None:
    """Show the job ID of TENANT and each of its parts."""
    with opened() as ingestion:
        books = Jobs(ingestion.books)
        found, parts = books.find(tenant, job_id), books.parts(tenant, job_id)
    if as_json:
        print_json(_plain(found) | {"parts": [_texts(each) for each in parts]})
        return
    _show([found], as_json=False)
    for each in parts:
        counts = f"{each['loaded']} of {each['source_rows']} rows" if each["state"] == "loaded" else ""
        said = (
            each["kind"],
            str(each["day"] or ""),
            each["state"],
            counts,
            each["error_code"] or "",
            each["error_message"] or "",
        )
        click.echo("  " + "  ".join(filter(None, said)))


@command.command("cancel")
@click.argument("tenant")
@click.argument("job_id", metavar="ID")
@as_json
def cancel(*, tenant: str, job_id: str, as_json: bool) -> None:
    """Cancel the job ID of TENANT: at once where no worker has it, else at its next batch."""
    with opened() as ingestion:
        found = Jobs(ingestion.books).cancel(tenant, job_id)
    _show([found], as_json=as_json)


@command.command("availability")
@click.argument("tenant")
@as_json
def availability(*, tenant: str, as_json: bool) -> None:
    """Show what is loaded of TENANT: from when to when, what is missing between, what may still change."""
    with opened() as ingestion:
        Tenants(ingestion.books).find(tenant)
        found = available(booked(ingestion.books, tenant), frozenset(EVENTS))
    if as_json:
        print_json({"tenant": tenant, "kinds": [_texts(asdict(each)) for each in found]})
        return
    for each in found:
        gaps = ", ".join(f"{first} to {last}" for first, last in each.gaps) or "none"
        click.echo(
            f"{each.kind}: {each.earliest} to {each.latest}, {each.loaded} rows, {each.rejected} rejected, "
            f"gaps: {gaps}, provisional: {', '.join(map(str, each.provisional)) or 'none'}"
        )
    if not found:
        click.echo(f"Nothing is loaded of {tenant}: libra ingest start {tenant}", err=True)


@command.command("verify")
@click.argument("tenant")
@first_option
@last_option
@as_json
def verify_(*, tenant: str, first: date | None, last: date | None, as_json: bool) -> None:
    """Compare BigQuery, the books and the tables of TENANT, by type and day. It changes nothing.

    By default today and the four days before. Exit status 1 if a count differs.
    """
    with opened() as ingestion, ingestion.sources(tenant) as sources:
        last = last or sources.today()
        first = first or last - timedelta(days=AGAIN - 1)
        found = list(verify(ingestion.books, tenant, sources, first, last))
    wrong = [each for each in found if not each.equal]
    if as_json:
        print_json(
            {
                "tenant": tenant,
                "compared": len(found),
                "differences": [_texts(asdict(each)) for each in wrong],
            }
        )
    else:
        for each in wrong:
            click.echo(
                f"{each.kind} of {each.day}: BigQuery has {each.source}, the book {each.booked} = "
                f"{each.loaded} loaded + {each.rejected} rejected, the table has {each.table}"
            )
        click.echo(
            f"{len(found)} days of types from {first} to {last} compared, {len(wrong)} differ", err=True
        )
    sys.exit(int(bool(wrong)))


def _show(found: Sequence[Job], *, as_json: bool) -> None:
    if as_json:
        print_json({"jobs": [_plain(each) for each in found]})
        return
    for each in found:
        rows = sum(counts["loaded"] for counts in each.records.values())
        days = f"{each.first} to {each.last}" if each.first else "files"
        code = f"  {each.error_code}: {each.error_message}" if each.error_code else ""
        click.echo(f"{each.job_id}  {each.state}  {', '.join(each.kinds)}  {days}  {rows} rows{code}")


def _plain(job: Job) -> dict[str, Any]:
    said = asdict(job)
    return _texts(said | {"records_processed": said.pop("records")})


def _texts(said: dict[str, Any]) -> dict[str, Any]:
    """Dates and times as JSON has them."""
    return {name: _text(value) for name, value in said.items()}


def _text(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_text(each) for each in value]
    return value.isoformat() if isinstance(value, (date, datetime)) else value
