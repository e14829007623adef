"""`libra usage`: what merchants use, counted in Redis and billed from PostgreSQL."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

import click
from rich.table import Table

from cli.commands.options import Day, Ended, ending, yesterday
from cli.comparison import as_json, iso, print_json
from cli.report import page, shown
from services.usage import aside
from services.usage.booking import Result
from services.usage.books import Books, Drift
from services.usage.flush import Asked
from services.usage.running import Opened, Scheduler, opened
from services.usage.settings import UsageSettings
from services.usage.tracker import UsageTracker
from shared import log
from shared.errors import Transient
from shared.parts import hour_of
from shared.settings import Settings
from shared.usage import GRAINS, Grain, Top, top, windows

SET_ASIDE = 3
"""The exit status of a flush that booked all it could read, and set something aside."""
INTERRUPTED = 130


class When(Day):
    """A date, or `yesterday`: the day before today in the time zone of bills, `LIBRA_TIME_ZONE`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Parse it, or end the command with what is allowed."""
        if value == "yesterday":
            return yesterday(Settings.from_environment(os.environ).time_zone)
        return super().convert(value, param, ctx)


@click.group("usage")
def command() -> None:
    """Count what merchants use, and book it into merchant_usage.

    Commands read LIBRA_REDIS_URL, LIBRA_POSTGRES_URL and LIBRA_USAGE_* from the environment.
    """


@contextmanager
def _opened() -> Iterator[tuple[Opened, UsageSettings]]:
    settings = UsageSettings.from_environment(os.environ)
    try:
        with ending(), opened(settings) as service:
            yield service, settings
    except (KeyboardInterrupt, Ended):
        click.echo("Interrupted. What was booked stays booked; run it again.", err=True)
        sys.exit(INTERRUPTED)


@command.command("track")
@click.argument("merchant")
@click.argument("metric")
@click.argument("amount", type=click.IntRange(1), default=1)
def track(*, merchant: str, metric: str, amount: int) -> None:
    """Count AMOUNT of METRIC for MERCHANT, once, as an application does, today in LIBRA_TIME_ZONE."""
    with UsageTracker(zone=Settings.from_environment(os.environ).time_zone) as tracker:
        tracker.track(merchant, metric, amount)
        if not tracker.flush():
            raise Transient(f"Redis has not confirmed {tracker.unconfirmed}: it may be lost")
    click.echo(f"Counted {amount:,} {shown(metric)} for {shown(merchant)}.")


@command.command("flush")
@click.option("--date", "day", type=When(), help="Only this date, or yesterday: in LIBRA_TIME_ZONE.")
@click.option("--from", "first", type=When(), help="Only from this date on.")
@click.option("--to", "last", type=When(), help="Only up to this date.")
@click.option("--merchant", help="Only this merchant.")
@click.option("--retry", is_flag=True, help="Only what was set aside because it could not be read.")
@as_json
def flush(
    *,
    day: date | None,
    first: date | None,
    last: date | None,
    merchant: str | None,
    retry: bool,
    as_json: bool,
) -> None:
    """Book what is in Redis into merchant_usage, and seal the hours that are over.

    It may run at any time, twice, or several times at once. With an option it books only that, and seals
    nothing. Status 0: all is booked; 1: it failed; 3: something was set aside (libra usage status).
    """
    if day and (first or last):
        raise click.UsageError("--date and --from or --to exclude each other")
    if retry and (day or first or last or merchant):
        raise click.UsageError("--retry reads what was set aside, whatever its date and merchant")
    asked = Asked(merchant, day or first, day or last)
    with _opened() as (service, _):
        keys = service.books.aside_keys() if retry else ()
        result = Result() if retry and not keys else service.flush.run(asked, keys=keys)
    if as_json:
        print_json(result.plain())
    else:
        click.echo(
            f"{result.records:,} parts read, {result.gained:,} booked, {result.errors:,} set aside, "
            f"{result.late:,} late, in {result.seconds:.1f} seconds. {_sealed(result.sealed_through)}"
        )
    if result.errors:
        sys.exit(SET_ASIDE)


@command.command("status")
@as_json
def status(*, as_json: bool) -> None:
    """Show how far usage is sealed, what is set aside and why, and the last runs."""
    with _opened() as (service, _):
        through, standing, runs = service.books.sealed_through(), service.books.aside(), service.books.runs(5)
    if as_json:
        rows = [{"reason": it.reason, "rows": it.rows, "due": it.due} for it in standing]
        told = [{"kind": it["kind"], "started": iso(it["started"])} | it["report"] for it in runs]
        print_json({"sealed_through": iso(through), "aside": rows, "runs": told})
        return
    click.echo(_sealed(through))
    for each in standing:
        due = f", {each.due:,} to admit (libra usage admit)" if each.due else ""
        click.echo(f"Set aside: {each.rows:,} rows{due}: {shown(each.reason)}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("started", "run"):
        table.add_column(name, no_wrap=True)
    for name in ("parts", "booked", "set aside", "seconds"):
        table.add_column(name, justify="right")
    for run in runs:
        told = run["report"]
        figures = [f"{told.get(it, 0):,}" for it in ("records", "gained", "errors", "seconds")]
        table.add_row(f"{run['started']:%Y-%m-%d %H:%M:%S}", run["kind"], *figures)
    page().print(table)


@command.command("totals")
@click.argument("merchant", required=False)
@click.option("--by", type=click.Choice(GRAINS), default="day", show_default=True, help="The windows.")
@click.option("--from", "first", type=When(), help="Only from this date on.")
@click.option("--to", "last", type=When(), help="Only up to this date.")
@click.option(
    "--top", "most", type=click.IntRange(1), default=10, show_default=True, help="Merchants to show."
)
@as_json
def totals(
    *, merchant: str | None, by: Grain, first: date | None, last: date | None, most: int, as_json: bool
) -> None:
    """Show what MERCHANT has used by hour, day, week or month; without MERCHANT, who uses most.

    A window that is not sealed may still grow.
    """
    with _opened() as (service, _):
        if merchant is None:
            _show_top(top(service.postgres, most, first=first, last=last), as_json)
            return
        found = windows(service.postgres, merchant, by, first=first, last=last)
    rows = [asdict(it) | {"begin": it.begin.isoformat()} for it in found.windows]
    if as_json:
        print_json({"merchant": merchant, "exact_through": iso(found.exact_through), "windows": rows})
        return
    for it in found.windows:
        begin = f"{it.begin:%Y-%m-%d %H:%M}" if by == "hour" else str(it.begin)
        note = "" if it.sealed else "   not sealed"
        click.echo(f"{begin}  {shown(it.metric)}  {it.value:,}{note}")
    click.echo(_sealed(found.exact_through))


def _show_top(found: Sequence[Top], as_json: bool) -> None:
    if as_json:
        print_json({"top": [asdict(it) for it in found]})
        return
    for it in found:
        click.echo(f"{shown(it.metric)}  {shown(it.merchant)}  {it.value:,}")


@command.command("verify")
@click.option("--repair", is_flag=True, help="Add to each total what it lacks.")
@click.option("--accept-loss", is_flag=True, help="Repair also where much would be taken away.")
@as_json
def verify(*, repair: bool, accept_loss: bool, as_json: bool) -> None:
    """Compare merchant_usage with the sum of its parts. Status 1: they differ, and were not repaired."""
    with _opened() as (service, settings):
        most = 1.0 if accept_loss else float(settings.books.max_loss)
        drifts = _repaired(service.books, most) if repair else service.books.verify()
    if as_json:
        rows = [it._asdict() | {"date": it.date.isoformat()} for it in drifts]
        print_json({"agree": not drifts, "repaired": repair and bool(drifts), "drifts": rows})
    else:
        for it in drifts:
            name = f"{shown(it.merchant)} {it.date} {shown(it.metric)}"
            click.echo(f"{name}: {it.total:,} is billed, its parts are {it.parts:,}")
        done = "were repaired" if repair else "differ: libra usage verify --repair"
        click.echo(f"{len(drifts):,} totals {done}." if drifts else "Every total is the sum of its parts.")
    if drifts and not repair:
        sys.exit(1)


def _repaired(books: Books, most: float) -> list[Drift]:
    started = datetime.now(UTC)
    drifts = books.repair(most)
    if drifts:
        told = [it._asdict() for it in drifts]
        books.record("repair", started, {"records": len(drifts), "gained": 0, "drifts": told})
    return drifts


@command.command("admit")
@as_json
def admit(*, as_json: bool) -> None:
    """Book what came after its hour was sealed, into the hour that runs."""
    with _opened() as (service, settings):
        now = datetime.now(UTC)
        admitted = service.books.admit(hour_of(now, settings.books.time_zone))
        service.books.record("admit", now, {"gained": admitted})
    if as_json:
        print_json({"admitted": admitted})
    else:
        click.echo(f"{admitted:,} admitted." if admitted else "Nothing is late.")


@command.command("aside")
@click.option("--most", type=click.IntRange(1), default=100, show_default=True, help="Rows to show.")
@as_json
def aside_(*, most: int, as_json: bool) -> None:
    """Show what is set aside, row by row, the newest first: its id, its key and field, and why."""
    with _opened() as (service, _):
        found = aside.rows(service.postgres, most)
    if as_json:
        print_json({"rows": [_plain(it) for it in found]})
        return
    if not found:
        click.echo("Nothing is set aside.")
    for it in found:
        due = f", {it.due:,} to admit" if it.due else ""
        click.echo(
            f"{it.id[:12]}  {shown(it.key)} {shown(it.field)} = {shown(it.raw)}{due}: {shown(it.reason)}"
        )


@command.command("forget")
@click.argument("row", nargs=-1, required=True)
@click.option("--because", required=True, help="Why nobody will bill it; kept in the list of runs.")
@as_json
def forget(*, row: tuple[str, ...], because: str, as_json: bool) -> None:
    """Forget a ROW that is set aside, named by the first characters of its id (libra usage aside).

    It is on no bill, and is not shown any more. What still stands in Redis and cannot be read comes back.
    """
    with _opened() as (service, _):
        found = aside.forget(service.postgres, row, because)
    if as_json:
        print_json({"because": because, "rows": [_plain(it) for it in found]})
        return
    for it in found:
        click.echo(f"Forgotten: {it.due:,} of {shown(it.key)} {shown(it.field)} = {shown(it.raw)}")


def _plain(row: aside.Row) -> dict[str, Any]:
    return asdict(row) | {"last_seen": iso(row.last_seen)}


@command.command("scheduler")
def scheduler() -> None:
    """Flush every LIBRA_USAGE_EVERY_SECONDS, until Ctrl-C or SIGTERM. A run under way is finished."""
    settings = UsageSettings.from_environment(os.environ)
    log.configure(settings.books.log_level)
    with opened(settings) as service:
        loop = Scheduler(service.flush.run, every=settings.every)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        loop.loop()


def _sealed(through: datetime | None) -> str:
    return f"Sealed through {through:%Y-%m-%d %H:%M} UTC." if through else "No hour is sealed yet."
