"""`libra import`: entries from a file, into whatever Firestore the environment names."""

import sys
from pathlib import Path

import click
from rich.console import Console

from cli.admitting import admit
from cli.commands.options import real_project
from cli.importing import read
from cli.report import counting_up
from cli.writing import Item, named_store, write
from shared.catalog import LIBRA_HOME
from shared.intake import Intake
from shared.schemas import self_written
from shared.settings import Settings


@click.command("import", short_help="Write entries from .jsonl or .csv.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--rate", type=click.FloatRange(0), default=0, help="Entries per second, at most.  [default: no bound]"
)
@click.option(
    "--source",
    type=click.Choice(["libra", *self_written(Settings())]),
    default="libra",
    show_default=True,
    help="What the lines are.",
)
@real_project
def command(file: Path, rate: float, source: str, real_project: str | None) -> None:
    """Write the entries of a .jsonl or .csv FILE.

    Each line is an entry with the fields device (CSV: device.model, device.serialNumber), location,
    ingredient, dataAction, amount, timestamp (RFC 3339 with a zone) and, if you like, id. Without an id,
    it gets one that depends on its content, so importing a file again changes nothing. Wrong lines are
    named and left out; the rest is written. The exit status is 1 if there was one.

    With --source, each line is an event of a source that Libra writes itself, with the fields of its schema
    (docs/intake.md). It is stored and counted at once.
    """
    console = Console()
    wrong = 0

    def complain(problem: str) -> None:
        nonlocal wrong
        wrong += 1
        click.echo(f"{file}:{problem}", err=True)

    if source != "libra":
        with named_store(real_project) as (store, settings), counting_up(console, "Read", None) as progress:
            declared, home = self_written(settings)[source]
            intake = Intake(store, declared, home, settings)
            became = admit(file, declared.schema, intake, complain, progress)
        console.print(
            f"{became['counted']:,} events counted, {became['duplicate']:,} were counted before, "
            f"{wrong:,} wrong lines."
        )
        if wrong:
            sys.exit(1)
        return
    with named_store(real_project) as (store, _):
        items = (Item(str(line.number), line.id, line.fields) for line in read(file, complain))
        with counting_up(console, "Read", None) as progress:
            tally = write(store, LIBRA_HOME.entries, items, rate=rate, progress=progress)
    for number, reason in tally.refused.items():
        complain(f"{number}: Firestore refuses it: {reason}")
    console.print(
        f"{tally.created:,} entries written, {tally.existing:,} were there already, {wrong:,} wrong lines."
    )
    if wrong:
        sys.exit(1)
