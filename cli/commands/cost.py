"""`libra cost`: what a load costs, beside three other ways to count."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click
import google.auth
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from rich.console import Console
from rich.table import Table

from cli.commands.options import amending
from cli.cost import Load, bills
from cli.observed import Call, counters, facts, load_of
from cli.prices import AS_OF, LOCATIONS, Prices
from cli.writing import connected
from deploy.google import ApiError, call
from local.errors import StackError
from shared.catalog import LIBRA_HOME

DAYS_A_MONTH = 365.25 / 12
SCOPE = "https://www.googleapis.com/auth/monitoring.read"


@click.command("cost", short_help="Compute what a number of events per day costs.")
@click.option("--events-per-day", type=click.IntRange(1, 10**10), help="Entries written per day.  [required]")
@click.option("--observed", is_flag=True, help="Set what was counted in the last day beside the prediction. "
              "The last recomputes tell how many entries come.")  # fmt: skip
@click.option("--location", type=click.Choice(list(LOCATIONS)), default="nam5", show_default=True)
@click.option("--busy-hours", type=click.FloatRange(0.1, 24), default=12.0, show_default=True,
              help="Hours of the day into which they fall.")  # fmt: skip
@click.option("--served", type=click.FloatRange(0, 1), default=0.6, show_default=True,
              help="Share that hours and dates count.")  # fmt: skip
@click.option("--ingredients", type=click.IntRange(1), default=60, show_default=True)
@click.option("--linger-ms", type=click.IntRange(0, 10_000), default=0, show_default=True,
              help="LIBRA_LINGER_MS.")  # fmt: skip
@click.option("--looks-per-day", type=click.IntRange(0), default=10_000, show_default=True,
              help="Totals that anyone reads.")  # fmt: skip
@click.option("--days-stored", type=click.IntRange(0), default=30, show_default=True,
              help="Days of entries that a nightly recompute counts.")  # fmt: skip
@amending(edits=0.0, deletions=0.0)
def command(
    *,
    events_per_day: int | None,
    observed: bool,
    location: str,
    busy_hours: float,
    served: float,
    ingredients: int,
    linger_ms: int,
    looks_per_day: int,
    days_stored: int,
    edits: float,
    deletions: float,
) -> None:
    """Compute what events cost, by list price. The devices' own writes are not counted."""
    if observed == (events_per_day is not None):
        raise click.UsageError("Give --events-per-day N, or --observed: one of them.")
    load = Load(
        events=events_per_day or 0,
        looks=looks_per_day,
        busy_hours=busy_hours,
        served=served,
        ingredients=ingredients,
        linger=linger_ms / 1000,
        stored=(events_per_day or 0) * days_stored,
        edits=edits,
        deletions=deletions,
    )
    prices = LOCATIONS[location]
    console = Console()
    if observed:
        _observed(console, load, prices)
        return
    console.print(_operations(load), _dollars(load, prices), sep="\n")
    console.print(
        f"{load.rate:,.1f} events a second for {busy_hours:g} hours: {load.together:.1f} ride together.\n"
        f"Libra's reads are those of a nightly recompute by index over {load.stored:,} entries.\n"
        f"List prices of {AS_OF} in {location}; free quotas are not deducted."
    )


def _observed(console: Console, load: Load, prices: Prices) -> None:
    now = datetime.now(UTC)
    with connected() as (store, settings):
        load, reads = load_of(store, LIBRA_HOME, load)
        project = store.root.split("/")[1]
    local = settings.emulator_host is not None
    found = list(facts(load, reads, {} if local else counters(_monitoring(), project, now)))
    table = _table("In a day", "predicted", "observed")
    for fact in found:
        told = "not known" if fact.observed is None else f"{fact.observed:,.0f}"
        table.add_row(fact.name, f"{fact.predicted:,.0f}", told)
    console.print(table)
    observed = {fact.name: fact.observed for fact in found}
    _, _, writes, read, deletes, _ = observed.values()
    if writes is not None and read is not None:
        spent = (writes * prices.writes + read * prices.reads + (deletes or 0) * prices.deletes) / 100_000
        reckoned = (bills(load)[0].firestore(prices) + load.events * prices.writes / 100_000) * DAYS_A_MONTH
        console.print(
            f"Firestore a month, by list price: {reckoned:,.2f} predicted, "
            f"{spent * DAYS_A_MONTH:,.2f} observed."
        )
    if local:
        console.print("An emulator has no metrics: only the recomputes tell what they read.")
    console.print("Google counts the whole database. What other programs read and write there is in it.")


def _monitoring() -> Call:
    """Asks Cloud Monitoring with the operator's own credentials.

    Raises:
        StackError: there are none, or Google refused.
    """
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
        credentials.refresh(Request())  # type: ignore[no-untyped-call]  # Google's
    except GoogleAuthError as error:
        raise StackError(f"no credentials for Cloud Monitoring: {error}") from error
    environment = os.environ | {"LIBRA_TOKEN": str(credentials.token)}

    def ask(path: str) -> Mapping[str, Any]:
        try:
            return call(environment, "GET", "monitoring", path)
        except ApiError as error:
            raise StackError(
                f"Cloud Monitoring refused (it needs roles/monitoring.viewer): {error}"
            ) from error

    return ask


def _table(title: str, *columns: str) -> Table:
    made = Table("", title=title, title_justify="left")
    for column in columns:
        made.add_column(column, justify="right")
    return made


def _operations(load: Load) -> Table:
    made = _table("For a million entries", "writes", "reads", "deletes", "invocations")
    for bill in bills(load):
        numbers = [bill.writes, bill.reads, bill.deletes, bill.events]
        made.add_row(bill.name, *(f"{number * 1e6 / load.events:,.0f}" for number in numbers))
    return made


def _dollars(load: Load, prices: Prices) -> Table:
    made = _table("Dollars a month", "Firestore", "functions", "together")
    made.add_column("exact")
    for bill in bills(load):
        dollars = [bill.firestore(prices), bill.functions(prices), bill.dollars(prices)]
        made.add_row(bill.name, *(f"{number * DAYS_A_MONTH:,.2f}" for number in dollars), bill.exact)
    return made
