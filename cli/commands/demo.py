"""`libra demo`: two weeks of a restaurant chain through the real trigger, checked to be exact."""

import os
import sys
import time
import uuid
from dataclasses import replace
from datetime import date
from importlib import import_module

import click

from cli.commands.options import amending, ending, faulty, generating
from cli.comparison import as_json
from cli.generator import Plan
from cli.report import page
from cli.show import Show
from cli.show_events import show_events
from local.errors import StackError
from local.faults import Faults
from local.stack import LocalStack
from shared.settings import Settings
from shared.store.client import FirestoreStore

SETTINGS = {
    "LIBRA_LINGER_MS": "50",  # fewer, larger commits: what contention makes of a busy deployment
    "LIBRA_LAG_SECONDS": "1",  # the recompute at the end need not wait ten minutes
    "LIBRA_BUCKET_SECONDS": "1",
}
FAULTS = Faults(duplicate=0.2, delay=0.3, delay_seconds=0.5, reorder=20)


@click.command("demo", short_help="Run the whole system and check that it is exact.")
@click.argument("act", type=click.Choice(["all", "usage", "ingestion"]), default="all")
@generating(entries=3000)
@amending(edits=0.05, deletions=0.02)
@click.option(
    "--lost",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Events lost at the end, for the recompute to find.",
)
@click.option(
    "--events",
    type=click.IntRange(0),
    default=2_000,
    show_default=True,
    help="Events over HTTP and Pub/Sub at the end; 0 leaves them out.",
)
@click.option(
    "--requests",
    type=click.IntRange(10),
    default=3_000,
    show_default=True,
    help="Requests that are served in `libra demo usage`.",
)
@faulty(FAULTS)
@as_json
def command(
    *,
    act: str,
    requests: int,
    entries: int,
    seed: int,
    until: date,
    days: int,
    malformed: float,
    rate: float,
    edits: float,
    deletions: float,
    lost: int,
    events: int,
    as_json: bool,
    **faults: float,
) -> None:
    """Watch a restaurant chain's entries arrive, the trigger fire and the totals come out exactly right.

    Starts the local stack, writes two weeks of entries, has a fifth of the events delivered twice and
    out of order, and compares the totals with an independent count. Then entries are edited and deleted,
    and the totals follow. At last events are lost for good, and the recompute finds and repairs what is
    missing. Then events of another source come over HTTP and through Pub/Sub, and a worker is killed. The
    exit status is 1 if a total was wrong after any of these.

    `libra demo usage` shows usage metering alone: four APIs count what merchants use, Redis loses it,
    processes are killed, and the bill is what was served.

    `libra demo ingestion` shows ingestion alone: three weeks of GA4 events and two files are loaded into
    PostgreSQL, the worker is killed, the sources change, and the tables hold what the sources hold.
    """
    if as_json and act != "ingestion":
        raise click.UsageError("--json goes with `libra demo ingestion`")
    if act != "all":
        try:
            shown = import_module(f"cli.show_{act}")  # late: its packages are a service's
        except ModuleNotFoundError as error:
            raise StackError(
                f"libra demo {act} needs the package {error.name}: make .venv/.all installs it"
            ) from error
        with ending():
            if act == "ingestion":
                exact = shown.show_ingestion(page(), as_json=as_json)
            else:
                exact = shown.show_usage(page(), requests, seed)
        sys.exit(0 if exact else 1)
    started = time.monotonic()
    console = page()
    environment = {name: value for name, value in os.environ.items() if name.startswith("LIBRA_")}
    settings = Settings.from_environment(os.environ)
    plan = Plan(entries, until, settings.time_zone, days, seed, malformed, edits, deletions)
    with (
        ending(),
        LocalStack(
            # An emulator that was running before may hold another demo's documents.
            project=f"demo-libra-{uuid.uuid4().hex[:8]}" if settings.emulator_host else "demo-libra",
            settings=SETTINGS | environment | {"LIBRA_LOG_LEVEL": "DEBUG"},
            faults=Faults(seed=seed).changed(faults),
            edits=edits + deletions > 0,
            say=console.print,
        ) as stack,
    ):
        store = FirestoreStore.connect(stack.settings)
        try:
            show = Show(console, stack, store)
            exact = show.count(plan, rate)
            exact = show.amend(plan) and exact
            if lost:
                exact = show.repair(replace(plan, entries=lost, seed=seed + 1, malformed=0.0)) and exact
            if events:
                exact = show_events(console, stack, store, events, seed) and exact
        finally:
            store.close()
    console.print(f"\nAll of it took {time.monotonic() - started:.0f} seconds.")
    if not exact:
        sys.exit(1)
