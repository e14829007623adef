"""`libra cost`: what a load costs, beside three other ways to count."""

import click
from rich.console import Console
from rich.table import Table

from cli.commands.options import amending
from cli.cost import Load, bills
from cli.prices import AS_OF, LOCATIONS, Prices

DAYS_A_MONTH = 365.25 / 12


@click.command("cost", short_help="Compute what a number of events per day costs.")
@click.option(
    "--events-per-day", required=True, type=click.IntRange(1, 10**10), help="Entries written per day."
)
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
    events_per_day: int,
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
    load = Load(
        events=events_per_day,
        looks=looks_per_day,
        busy_hours=busy_hours,
        served=served,
        ingredients=ingredients,
        linger=linger_ms / 1000,
        stored=events_per_day * days_stored,
        edits=edits,
        deletions=deletions,
    )
    prices = LOCATIONS[location]
    console = Console()
    console.print(_operations(load), _dollars(load, prices), sep="\n")
    console.print(
        f"{load.rate:,.1f} events a second for {busy_hours:g} hours: {load.together:.1f} ride together.\n"
        f"Libra's reads are those of a nightly recompute by index over {load.stored:,} entries.\n"
        f"List prices of {AS_OF} in {location}; free quotas are not deducted."
    )


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
