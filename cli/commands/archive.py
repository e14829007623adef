"""`libra archive`: old entries leave Firestore for files and stay counted; `archive verify` proves it."""

import os
import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.text import Text

from cli.commands.options import ending, real_project
from cli.comparison import SHOWN, as_json, print_json, progress_line
from cli.report import figures_table, page, shown
from cli.writing import connected, named_store
from shared.archive import Archive, ArchiveReport, Repair, Verification, Verified, destination
from shared.catalog import LIBRA_HOME, libra
from shared.settings import Settings

LOCAL = "archive"
"""Where an archive of an emulator goes by default."""

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
OLDEST = timedelta(days=36_500)


class Age(click.ParamType[timedelta]):
    """How old an entry is: a whole number of hours, days or weeks."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse it, or end the command with what is allowed."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,6})([hdw])", value)
        age = int(match[1]) * UNITS[match[2]] if match else OLDEST + UNITS["h"]
        if age > OLDEST:
            self.fail(f"{value!r} is not an age such as 36h, 400d or 12w, of at most 36500d", param, ctx)
        return age


@click.group("archive", invoke_without_command=True)
@click.option("--older-than", type=Age(), help="The age, such as 400d, 12w or 36h.  [required]")
@click.option(
    "--to",
    metavar="DIR|gs://BUCKET/PREFIX",
    help=f"Where the files go.  [default: {LOCAL}, for an emulator; required for a real project]",
)
@click.option(
    "--by-commit-time",
    is_flag=True,
    help="Go by when Firestore committed an entry, and read the whole collection.",
)
@click.option(
    "--at-most",
    type=click.IntRange(1),
    metavar="ENTRIES",
    help="End after so many entries; the next archive goes on.  [default: no bound]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and write nothing.")
@as_json
@real_project
@click.pass_context
def command(
    ctx: click.Context,
    *,
    older_than: timedelta | None,
    to: str | None,
    by_commit_time: bool,
    at_most: int | None,
    dry_run: bool,
    as_json: bool,
    real_project: str | None,
) -> None:
    """Move old entries from Firestore into files. Every total stays as it is.

    It moves entries whose event time is older than AGE and that a recompute has proven. Each page of up to
    500 entries is written to a gzipped JSONL file and verified before its entries are deleted. Run it again
    after Ctrl-C or a crash: it goes on with what is left. While it runs no recompute can, and the other way
    round.
    """
    if ctx.invoked_subcommand:
        return
    if older_than is None:
        raise click.UsageError("Missing option '--older-than': an age such as 400d, 12w or 36h.")
    begun, where = datetime.now(UTC), destination(_place(to))
    store_of = connected() if dry_run else named_store(real_project)
    with ending(), store_of as (store, settings), progress_line(quiet=as_json) as progress:
        archive = Archive(store, libra(settings), LIBRA_HOME, where, progress=progress)
        do = archive.dry_run if dry_run else archive.run
        report = do(begun - older_than, by_commit_time=by_commit_time, at_most=at_most)
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)


def _place(to: str | None) -> str:
    if to:
        return to
    if Settings.from_environment(os.environ).emulator_host is None:
        raise click.UsageError(
            "Missing option '--to': name a folder that outlives this machine, or gs://BUCKET/PREFIX. The "
            "files hold the only copy of what is archived."
        )
    return LOCAL


def _show(report: ArchiveReport) -> None:
    console, moved = page(), report.moved
    done = "were moved" if report.run_id else "would be moved; nothing was changed"
    console.print(Text(f"{moved.entries:,} entries {done}.", style="bold green" if moved.entries else "bold"))
    if report.unsealed:
        console.print(f"{report.unsealed:,} old entries stay until a recompute has proven them.")
    if moved.changed:
        console.print(f"{moved.changed:,} entries changed meanwhile and stay.")
    if moved.first and moved.last:
        console.print(figures_table("", [(report.by, f"{moved.first} to {moved.last}")]))
    if moved.totals:
        rows = [(shown(path).plain, f"{added.get('count', 0):,}") for path, added in report.largest(SHOWN)]
        if len(moved.totals) > SHOWN:
            rows.append((f"{len(moved.totals) - SHOWN:,} more", ""))
        console.print("\nArchived entries by total, which still counts them:")
        console.print(figures_table("", rows))
    cost = (
        f"{report.reads:,} reads, {report.writes:,} writes, {moved.entries:,} deletes, "
        f"{report.seconds:.1f} s; {moved.entries:,} more deletes when the markers expire"
    )
    rows = [
        ("older than", f"{report.before:%Y-%m-%d %H:%M:%S} UTC"),
        ("watermark", f"{report.watermark:%Y-%m-%d %H:%M:%S} UTC"),
        ("files", f"{moved.pages:,}, {moved.size:,} bytes, {report.place}"),
        ("cost", cost),
        *([("run", report.run_id)] if report.run_id else []),
    ]
    console.print(figures_table("", rows))


@command.command("verify")
@click.option(
    "--from",
    "place",
    metavar="DIR|gs://BUCKET/PREFIX",
    help="Where all files are now.  [default: where each was written]",
)
@as_json
def verify(*, place: str | None, as_json: bool) -> None:
    """Prove that every archived entry is in its file and in the totals. It writes nothing.

    It reads every file. Each has its checksum and its number of entries, and all entries add up to the field
    archived of every total. The exit status is 1 if something is missing, damaged or different. Files that
    belong to no archived page are listed: an archive was stopped after it wrote them, and moved nothing.
    """
    with ending(), connected() as (store, settings), progress_line(quiet=as_json) as progress:
        found = Verification(store, libra(settings), LIBRA_HOME, place=place, progress=progress).run()
    if as_json:
        print_json(found.as_json())
    else:
        _show_verified(found)
    if found.faults:
        sys.exit(1)


@command.command("repair")
@as_json
@real_project
def repair(*, as_json: bool, real_project: str | None) -> None:
    """Put back what totals hold of archived entries, if somebody changed or deleted a total.

    It sets the field archived to what the page records add up to. Run `libra recompute` afterwards: it
    puts the counts right.
    """
    with ending(), named_store(real_project) as (store, settings), progress_line(quiet=as_json):
        repaired = Repair(store, libra(settings), LIBRA_HOME).run()
    if as_json:
        print_json({"repaired": [asdict(each) for each in repaired]})
        return
    for each in repaired:
        click.echo(f"{shown(each.total).plain}: archived was {each.was}, is {dict(each.archived)}")
    again = "; run libra recompute now" if repaired else ""
    click.echo(f"{len(repaired):,} totals were repaired{again}.")


def _show_verified(found: Verified) -> None:
    console = page()
    if found.faults:
        console.print(
            f"{found.faults:,} {'thing is' if found.faults == 1 else 'things are'} wrong:", style="bold red"
        )
    elif found.pages:
        console.print(
            f"The archive is right: {found.entries:,} entries in {found.pages:,} files add up to what "
            f"{found.totals:,} totals hold as archived.",
            style="bold green",
        )
    else:
        console.print("Nothing is archived.", style="bold yellow")
    for what in found.wrong[:SHOWN]:
        console.print(shown(what), style="red")
    if found.faults > SHOWN:
        console.print(f"{found.faults - SHOWN:,} more; --json lists them")
    for name, entries in sorted(found.added.items()):
        console.print(
            f"{name} was declared after {entries:,} entries were archived: its totals do not hold them.",
            style="yellow",
        )
    for name in sorted(found.removed):
        console.print(f"{name} is archived and no longer declared: it was not checked.", style="yellow")
    for name in found.left_over:
        console.print(f"left over: {name}", style="yellow", markup=False)
