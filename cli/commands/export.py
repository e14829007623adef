"""`libra export`: totals or entries as a snapshot, complete or absent."""

import os
from datetime import UTC, datetime

import click
from rich.text import Text

from cli.commands.options import Ended, ending, source
from cli.comparison import as_json, print_json, progress_line
from cli.report import figures_table, page
from cli.writing import connected
from shared.catalog import sources
from shared.exports import FORMATS, Manifest, Snapshot, opened
from shared.exports.places import PLACES
from shared.exports.tables import What


@click.command("export", short_help="Write totals or entries to files, a bucket, BigQuery or PostgreSQL.")
@click.argument("what", type=click.Choice(("totals", "entries")), default="totals")
@source
@click.option("--to", "place", required=True, metavar="PLACE", help=f"{PLACES}.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Of the files in a DIR or a bucket.  [default: parquet]",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="Of the snapshots in a DIR or a bucket, keep the newest and remove the others.  [default: keep all]",
)
@as_json
def command(
    *, what: What, source: str, place: str, form: str | None, keep: int | None, as_json: bool
) -> None:
    """Write a snapshot of WHAT, totals or entries, to PLACE. Readers find all of it, or the one before.

    Totals are those of now; the columns proven_* say how much of each is exact at the watermark of the last
    completed recompute. Entries are those of that watermark: Firestore keeps it for an hour, or for seven
    days with point-in-time recovery. An entry costs a read, and so does a total.

    postgres is the database of LIBRA_POSTGRES_URL. An export that is killed or stopped changes nothing: run
    it again. docs/exports.md describes the tables and files.
    """
    if (form or keep) and place.partition(":")[0] in ("bigquery", "postgres"):
        raise click.UsageError(f"--format and --keep are for files, and {place} is no DIR.")
    begun = datetime.now(UTC)
    try:
        with ending(), connected() as (store, settings), progress_line(quiet=as_json) as progress:
            books = sources(settings)[source]
            project = store.database.split("/")[1]
            with opened(place, os.environ, project, form=form or FORMATS[0], keep=keep) as target:
                snapshot = Snapshot(store, *books, what, progress=progress)
                manifest = target.save(snapshot)
                where = target.place
    except Ended:
        raise click.Abort from None
    seconds = (datetime.now(UTC) - begun).total_seconds()
    if as_json:
        print_json({"to": where, "seconds": round(seconds, 3), **manifest.as_json()})
    else:
        _show(manifest, where, seconds)


def _show(manifest: Manifest, where: str, seconds: float) -> None:
    console = page()
    rows = sum(each.rows for each in manifest.tables)
    console.print(
        Text(f"Exported {rows:,} {manifest.what} of {manifest.source} to {where}.", style="bold green")
    )
    for each in manifest.tables:
        if each.exact_through is None:
            console.print(Text(f"{each.table.name} is not proven yet: run libra recompute.", style="yellow"))
    tables = [(each.table.name, f"{each.rows:,} rows") for each in manifest.tables]
    about = [
        ("proven up to", f"{manifest.watermark:%Y-%m-%d %H:%M:%S} UTC"),
        ("read at", f"{manifest.read_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("snapshot", manifest.snapshot),
        ("took", f"{seconds:.1f} s"),
    ]
    console.print(figures_table("", [*tables, *about]))
