"""`libra demo`: two weeks of a restaurant chain through the real trigger, checked to be exact."""

import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from cli.audit import ACTIONS, CATEGORIES, DATES, HOURS, Audit, Totals, differences, fold, reasons, stored
from cli.commands.options import ending, faulty, generating
from cli.generator import Plan, generate
from cli.relay import Faults
from cli.report import figures_table, page, progress_bars, shown, side_by_side, totals_table
from cli.stack import LocalStack
from cli.writing import Item, write
from shared.catalog import libra
from shared.settings import Settings
from shared.store import FirestoreStore, Query, Store

FAULTS = Faults(duplicate=0.2, delay=0.3, delay_seconds=0.5, reorder=20)
REFRESH_SECONDS = 0.25
QUIET_SECONDS = 600
DIFFERENCES_SHOWN = 20


@dataclass(frozen=True)
class Run:
    """What happened between the first write and the last delivery.

    Attributes:
        seconds: how long it took.
        relay: the relay's counters.
        ledger: the ledger's figures.
    """

    seconds: float
    relay: Mapping[str, Any]
    ledger: Mapping[str, int]


@click.command("demo")
@generating(entries=3000)
@faulty(FAULTS)
def command(
    *, entries: int, seed: int, until: date, days: int, malformed: float, rate: float, **faults: float
) -> None:
    """Watch a restaurant chain's entries arrive, the trigger fire and the totals come out exactly right.

    Starts the local stack, writes two weeks of entries, has a fifth of the events delivered twice and
    out of order, and compares the totals with an independent count. The exit status is 1 if they differ.
    """
    console = page()
    settings = Settings.from_environment(os.environ)
    plan = Plan(entries, until, settings.time_zone, days, seed, malformed)
    environment = {name: value for name, value in os.environ.items() if name.startswith("LIBRA_")}
    attached = settings.emulator_host is not None
    with (
        ending(),
        LocalStack(
            project=f"demo-libra-{uuid.uuid4().hex[:8]}" if attached else "demo-libra",
            settings={"LIBRA_LINGER_MS": "50"} | environment | {"LIBRA_LOG_LEVEL": "DEBUG"},
            faults=Faults(seed=seed).changed(faults),
            say=console.print,
        ) as stack,
    ):
        store = FirestoreStore.connect(stack.settings)
        try:
            exact = _show(console, stack, store, plan, rate)
        finally:
            store.close()
    if not exact:
        sys.exit(1)


def _show(console: Console, stack: LocalStack, store: Store, plan: Plan, rate: float) -> bool:
    console.print(
        f"[bold]{plan.days} days of a restaurant chain[/bold], {plan.entries:,} entries, seed {plan.seed}"
    )
    console.print(f"Firestore emulator {stack.emulator.address}, function {stack.function.address}\n")
    generated = generate(plan)
    items = [Item(entry.id, entry.id, entry.fields) for entry in generated]
    run = _run(console, stack, store, items, rate)
    found, expected = stored(store), fold((entry.fields for entry in generated), stack.settings)
    _print_totals(console, found, stack.settings)
    exact = _print_comparison(console, store, stack.settings, found, expected)
    console.print(figures_table("[bold]Figures[/bold]", _figures(run, expected, stack.settings)))
    return exact


# -- while it runs


def _run(console: Console, stack: LocalStack, store: Store, items: list[Item], rate: float) -> Run:
    with _Display(console, store, len(items)) as display:
        started = time.monotonic()

        def wrote(number: int) -> None:
            display.wrote(number)
            display.delivered(stack.relay_state)

        write(store, stack.settings, iter(items), rate=rate, progress=wrote)
        relay = stack.wait_until_quiet(
            len(items), seconds=QUIET_SECONDS, watch=lambda state: display.delivered(lambda: state)
        )
        seconds = time.monotonic() - started
        display.delivered(lambda: relay, now=True)
    return Run(seconds, relay, stack.figures())


class _Display:
    """Progress bars, and the totals as they move. In a pipe, the last state of the bars."""

    def __init__(self, console: Console, store: Store, entries: int) -> None:
        self._store = store
        self._entries = entries
        self._bars = progress_bars(console)
        self._written = self._bars.add_task("Written", total=entries)
        self._delivered = self._bars.add_task("Delivered", total=entries)
        self._totals: Table | None = None
        self._moving = console.is_terminal
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=8)
        self._due = 0.0

    def __enter__(self) -> "_Display":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._totals = None
        self._live.stop()

    def wrote(self, number: int) -> None:
        self._bars.advance(self._written, number)

    def delivered(self, state: Callable[[], Mapping[str, Any]], *, now: bool = False) -> None:
        """Look at the relay and the totals again, if the last look is long enough ago."""
        if time.monotonic() < self._due and not now:
            return
        told = state()
        total = self._entries + told["duplicated"] - told["dropped"]
        self._bars.update(self._delivered, total=total, completed=told["delivered"])
        if self._moving:
            self._totals = totals_table("", stored(self._store)[ACTIONS], most_rows=6)
        self._due = time.monotonic() + REFRESH_SECONDS

    def _render(self) -> RenderableType:
        return Group(self._bars, self._totals) if self._totals else self._bars


# -- what came out


def _print_totals(console: Console, found: Totals, settings: Settings) -> None:
    zone, action = settings.time_zone.key, settings.time_action or "every action"
    console.print()
    console.print(
        side_by_side(
            totals_table("[bold]Ingredients[/bold]", found[CATEGORIES], most_rows=14),
            totals_table("[bold]Actions[/bold]", found[ACTIONS], most_rows=14),
        )
    )
    console.print()
    console.print(
        side_by_side(
            totals_table(f"[bold]Hours[/bold] ({action}, {zone})", found[HOURS], most_rows=24, by_key=True),
            totals_table(f"[bold]Dates[/bold] ({action})", found[DATES], most_rows=24, by_key=True),
        )
    )
    console.print()


def _print_comparison(
    console: Console, store: Store, settings: Settings, found: Totals, expected: Audit
) -> bool:
    source = libra(settings)
    read_back = fold((document.fields for document in store.query(Query(source.collection))), settings)
    rejected, by_reason = reasons(store, source.rejected)
    console.print(
        totals_table(
            f"[bold]Rejected[/bold], {rejected} entries, by reason", by_reason, most_rows=12, name=52
        )
    )
    console.print()
    wrong = [*differences(found, expected.totals), *differences(found, read_back.totals)]
    if rejected != expected.rejected:
        wrong.append((source.rejected, "entries", rejected, expected.rejected))
    if read_back.entries != expected.entries:
        wrong.append((source.collection, "entries", read_back.entries, expected.entries))
    if wrong:
        console.print(_differences(wrong))
        return False
    number = sum(len(total) for total in found.values())
    console.print(
        f"[bold green]exact[/bold green]: {number} totals and {rejected} rejections equal an independent "
        f"count of the {expected.entries:,} entries, as generated and as read back."
    )
    console.print()
    return True


def _differences(wrong: list[tuple[str, object, int, int]]) -> Table:
    table = Table(title=f"[bold red]{len(wrong)} differences[/bold red]", title_justify="left")
    for name in ("collection", "key"):
        table.add_column(name, overflow="fold")
    for name in ("stored", "exact"):
        table.add_column(name, justify="right")
    for collection, key, stored_count, exact in wrong[:DIFFERENCES_SHOWN]:
        table.add_row(collection, shown(key), f"{stored_count:,}", f"{exact:,}")
    return table


def _figures(run: Run, expected: Audit, settings: Settings) -> list[tuple[str, str]]:
    relay, ledger = run.relay, run.ledger
    latency = relay["latency_ms"]
    entries = max(1, expected.entries)
    linger = settings.linger.total_seconds() * 1000
    return [
        ("deliveries", f"{relay['delivered']:,} of {relay['received']:,} events"),
        ("", f"{relay['duplicated']:,} made twice, {relay['redelivered']:,} again after a failure"),
        ("events a second", f"{relay['delivered'] / run.seconds:,.0f}, in {run.seconds:.1f} s"),
        (
            "event to total",
            f"{latency['p50']:.0f} ms median, {latency['p99']:.0f} ms p99, delays on purpose included",
        ),
        (
            "writes an event",
            f"{ledger['writes'] / entries:.2f}; unguarded increments: {expected.increments / entries:.2f}",
        ),
        ("commits", f"{ledger['commits']:,}, begun {linger:.0f} ms apart or more"),
    ]
