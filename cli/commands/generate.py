"""`libra generate`: a restaurant chain's entries, into whatever Firestore the environment names."""

from datetime import date

import click
from rich.console import Console

from cli.commands.options import amending, generating, real_project
from cli.generator import Plan, amend, generate
from cli.report import counting_up
from cli.writing import Item, named_store, write
from cli.writing import amend as change
from shared.catalog import LIBRA_HOME


@click.command("generate", short_help="Write entries of a restaurant chain.")
@generating(entries=1000)
@amending(edits=0.0, deletions=0.0)
@real_project
def command(
    *,
    entries: int,
    seed: int,
    until: date,
    days: int,
    malformed: float,
    rate: float,
    edits: float,
    deletions: float,
    real_project: str | None,
) -> None:
    """Write two weeks of entries of a realistic restaurant chain.

    The same seed writes the same entries. Entries that exist already stay as they are. With --edits and
    --deletions, that share of the entries is edited and deleted once all are written.
    """
    console = Console()
    with named_store(real_project) as (store, settings):
        plan = Plan(entries, until, settings.time_zone, days, seed, malformed, edits, deletions)
        written = generate(plan)
        items = (Item(entry.id, entry.id, entry.fields) for entry in written)
        with counting_up(console, "Written", entries) as progress:
            tally = write(store, LIBRA_HOME.entries, items, rate=rate, progress=progress)
        console.print(f"{tally.created:,} entries written, {tally.existing:,} were there already.")
        if amendments := amend(plan, written):
            with counting_up(console, "Amended", len(amendments)) as progress:
                done = change(store, LIBRA_HOME.entries, iter(amendments), rate=rate, progress=progress)
            console.print(f"{done:,} entries edited or deleted.")
