"""`libra generate`: a restaurant chain's entries, into whatever Firestore the environment names."""

from datetime import date

import click
from rich.console import Console

from cli.commands.options import generating, real_project
from cli.generator import Plan, generate
from cli.report import counting_up
from cli.writing import Item, named_store, write
from shared.catalog import LIBRA_HOME


@click.command("generate", short_help="Write entries of a restaurant chain.")
@generating(entries=1000)
@real_project
def command(
    *,
    entries: int,
    seed: int,
    until: date,
    days: int,
    malformed: float,
    rate: float,
    real_project: str | None,
) -> None:
    """Write two weeks of entries of a realistic restaurant chain.

    The same seed writes the same entries. Entries that exist already stay as they are.
    """
    console = Console()
    with named_store(real_project) as (store, settings):
        plan = Plan(entries, until, settings.time_zone, days, seed, malformed)
        items = (Item(entry.id, entry.id, entry.fields) for entry in generate(plan))
        with counting_up(console, "Written", entries) as progress:
            tally = write(store, LIBRA_HOME.entries, items, rate=rate, progress=progress)
    console.print(f"{tally.created:,} entries written, {tally.existing:,} were there already.")
