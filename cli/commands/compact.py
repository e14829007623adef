"""`libra compact`: keep totals small between two recomputes."""

import click

from cli.commands.options import ending, real_project
from cli.comparison import as_json, print_json, progress_line
from cli.writing import named_store
from shared.catalog import LIBRA_HOME, libra
from shared.recompute import Recompute


@click.command("compact")
@as_json
@real_project
def command(*, as_json: bool, real_project: str | None) -> None:
    """Merge old open buckets of totals, so that listeners receive little.

    A total keeps what was added in each ten minutes since the last recompute. This merges what is older than
    LIBRA_LAG_SECONDS and a bucket. No value changes, and the triggers keep running. Cloud Scheduler does
    it every hour (--compact-schedule of deploy.sh).
    """
    with ending(), named_store(real_project) as (store, settings), progress_line(quiet=as_json) as progress:
        done = Recompute(store, libra(settings), LIBRA_HOME, settings, progress=progress).compact()
    if as_json:
        print_json(done.as_json())
        return
    click.echo(f"{done.writes:,} totals are smaller: their buckets up to {done.until} were merged.")
    if done.left:
        click.echo(f"{done.left:,} totals stay as they are: triggers kept changing them. Run this again.")
