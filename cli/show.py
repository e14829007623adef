"""What `libra demo` shows: entries go in, totals come out, and both are compared."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from cli.audit import ACTIONS, CATEGORIES, DATES, HOURS, Audit, Totals, differences, fold, reasons, stored
from cli.generator import Plan, Written, amend, amended, generate
from cli.report import figures_table, progress_bars, shown, side_by_side, totals_table
from cli.writing import Item, write
from cli.writing import amend as change
from local.stack import LocalStack
from shared.catalog import LIBRA_HOME, libra
from shared.store import Query, Store

REFRESH_SECONDS = 0.25
QUIET_SECONDS = 600
ROWS = 12

Difference = tuple[str, object, int, int]


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


class Show:
    """A demonstration in a running stack: first `count`, then, if you like, `repair`."""

    def __init__(self, console: Console, stack: LocalStack, store: Store) -> None:
        self._console = console
        self._stack = stack
        self._store = store
        self._source = libra(stack.settings)
        self._written: list[Written] = []

    def count(self, plan: Plan, rate: float) -> bool:
        """Write a plan's entries and show what the trigger makes of them; True if that is exact."""
        self._console.print(
            f"[bold]{plan.days} days of a restaurant chain[/bold]: "
            f"{plan.entries:,} entries, seed {plan.seed}\n"
            f"Firestore emulator {self._stack.emulator.address}, function {self._stack.function.address}\n"
        )
        self._stack.recompute.launch()
        generated = generate(plan)
        run = self._run(generated, rate)
        totals = stored(self._store)
        self._print_totals(totals)
        wrong = self._differences(totals) + self._rejected()
        self._print_verdict(totals, wrong)
        self._print_table("Figures", figures(run, self._expected(), self._stack))
        return not wrong

    def amend(self, plan: Plan) -> bool:
        """Edit and delete entries of a plan; True if the totals are exact then, too."""
        amendments = amend(plan, self._written)
        if not amendments:
            return True
        received = self._stack.relay_state()["received"]
        done = change(self._store, LIBRA_HOME.entries, iter(amendments))
        self._written = amended(self._written, amendments)
        self._stack.wait_until_quiet(received + done, seconds=QUIET_SECONDS)
        deleted = sum(each.fields is None for each in amendments)
        self._console.print(f"\n[bold]{done - deleted:,} entries are edited, {deleted:,} deleted:[/bold]")
        totals = stored(self._store)
        wrong = self._differences(totals) + self._rejected()
        self._print_verdict(totals, wrong)
        return not wrong

    def repair(self, plan: Plan) -> bool:
        """Lose the events of a plan's entries, have the totals recomputed; True if they are exact then."""
        self._stack.set_faults(drop=1.0)
        received = self._stack.relay_state()["received"]
        generated = generate(plan)
        self._write(generated, 0, lambda _: None)
        self._stack.wait_until_quiet(received + plan.entries, seconds=QUIET_SECONDS)
        lost = self._differences(stored(self._store))
        short = sum(exact - found for *_, found, exact in lost)
        self._console.print(
            f"\n[bold]{plan.entries:,} more entries, whose events are lost for good:[/bold] "
            f"{len(lost):,} totals are short, by {short:,} in all."
        )
        report = self._recompute()
        totals = stored(self._store)
        wrong = self._differences(totals)
        self._print_table("Recompute", repaired(report))
        self._print_verdict(totals, wrong)
        return not wrong

    # -- what is done

    def _run(self, generated: list[Written], rate: float) -> Run:
        with Display(self._console, self._store, len(generated)) as display:
            started = time.monotonic()

            def wrote(number: int) -> None:
                display.wrote(number)
                display.delivered(self._stack.relay_state)

            self._write(generated, rate, wrote)
            relay = self._stack.wait_until_quiet(
                len(generated), seconds=QUIET_SECONDS, watch=lambda state: display.delivered(lambda: state)
            )
            seconds = time.monotonic() - started
            display.delivered(lambda: relay, now=True)
        return Run(seconds, relay, self._stack.figures())

    def _write(self, generated: list[Written], rate: float, progress: Callable[[int], None]) -> None:
        items = (Item(entry.id, entry.id, entry.fields) for entry in generated)
        write(self._store, LIBRA_HOME.entries, items, rate=rate, progress=progress)
        self._written += generated

    def _recompute(self) -> dict[str, Any]:
        """Run it once the watermark it will choose is behind the last entry."""
        settings = self._stack.settings
        self._stack.recompute.wait_healthy()
        time.sleep((settings.lag + settings.bucket + timedelta(seconds=0.1)).total_seconds())
        return self._stack.run_recompute()

    # -- what is compared

    def _expected(self) -> Audit:
        return fold((entry.fields for entry in self._written), self._stack.settings)

    def _read_back(self) -> Audit:
        documents = self._store.query(Query(LIBRA_HOME.entries))
        return fold((document.fields for document in documents), self._stack.settings)

    def _differences(self, totals: Totals) -> list[Difference]:
        """From the entries as they were generated, and as they can be read."""
        expected, read_back = self._expected(), self._read_back()
        wrong = list(differences(totals, expected.totals))
        wrong += [one for one in differences(totals, read_back.totals) if one not in wrong]
        if read_back.entries != expected.entries:
            wrong.append((LIBRA_HOME.entries, "entries", read_back.entries, expected.entries))
        return wrong

    def _rejected(self) -> list[Difference]:
        rejected, by_reason = reasons(self._store, LIBRA_HOME.rejected)
        title = f"Rejected: {rejected} entries, by reason"
        self._console.print(totals_table(title, by_reason, most_rows=ROWS, name=52))
        exact = self._expected().rejected
        return [(LIBRA_HOME.rejected, "entries", rejected, exact)] if rejected != exact else []

    # -- what is printed

    def _print_totals(self, totals: Totals) -> None:
        settings = self._stack.settings
        action = settings.time_action or "every action"
        pairs = (
            (("Ingredients", CATEGORIES, False), ("Actions", ACTIONS, False)),
            (
                (f"Hours ({action}, {settings.time_zone.key})", HOURS, True),
                (f"Dates ({action})", DATES, True),
            ),
        )
        for pair in pairs:
            tables = [
                totals_table(title, totals[name], most_rows=24 if by_key else ROWS, by_key=by_key)
                for title, name, by_key in pair
            ]
            self._console.print()
            self._console.print(side_by_side(*tables))
        self._console.print()

    def _print_verdict(self, totals: Totals, wrong: list[Difference]) -> None:
        self._console.print()
        if wrong:
            self._console.print(differences_table(wrong))
            return
        self._console.print(
            f"[bold green]exact[/bold green]: {sum(len(total) for total in totals.values())} totals equal an "
            f"independent count of the {len(self._written):,} entries, as generated and as read back."
        )

    def _print_table(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        self._console.print()
        self._console.print(figures_table(title, list(rows)))


class Display:
    """Progress bars and, in a terminal, the totals as they move. In a pipe, the last state of the bars."""

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

    def __enter__(self) -> Self:
        """Begin to show."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bars as they are now."""
        self._totals = None
        self._live.stop()

    def wrote(self, number: int) -> None:
        """So many more entries are written."""
        self._bars.advance(self._written, number)

    def delivered(self, state: Callable[[], Mapping[str, Any]], *, now: bool = False) -> None:
        """Look at the relay and the totals again, if the last look is long enough ago."""
        if time.monotonic() < self._due and not now:
            return
        found = state()
        total = self._entries + found["duplicated"] - found["dropped"]
        self._bars.update(self._delivered, total=total, completed=found["delivered"])
        if self._moving:
            self._totals = totals_table("", stored(self._store)[ACTIONS], most_rows=6)
        self._due = time.monotonic() + REFRESH_SECONDS

    def _render(self) -> RenderableType:
        return Group(self._bars, self._totals) if self._totals else self._bars


def figures(run: Run, expected: Audit, stack: LocalStack) -> Iterable[tuple[str, str]]:
    """How fast it went and what it cost."""
    relay, ledger, entries = run.relay, run.ledger, max(1, expected.entries)
    latency = relay["latency_ms"]
    linger = stack.settings.linger.total_seconds() * 1000
    yield "deliveries", f"{relay['delivered']:,} of {relay['received']:,} events"
    yield "", f"{relay['duplicated']:,} made twice, {relay['redelivered']:,} again after a failure"
    yield "events a second", f"{relay['delivered'] / run.seconds:,.0f}, in {run.seconds:.1f} s"
    yield (
        "event to total",
        f"{latency['p50']:.0f} ms median, {latency['p99']:.0f} ms p99, delays on purpose included",
    )
    yield "writes an event", f"{ledger['writes'] / entries:.2f}, markers included"
    yield "", f"{expected.increments / entries:.2f} with an unguarded increment for each total"
    yield "commits", f"{ledger['commits']:,}, begun {linger:.0f} ms apart or more"


def repaired(report: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What a recompute found and did."""
    corrections = report["corrections"]
    yield "watermark", report["watermark"]
    yield "strategy", f"{report['strategy']}: {report['why']}"
    yield "counted", f"{report['entries']:,} entries, {report['documents']:,} totals"
    yield "drift", f"{report['drift']:,} in {len(corrections):,} totals"
    yield "cost", f"{report['reads']:,} reads, {report['writes']:,} writes, {report['seconds']:.1f} s"
    for one in sorted(corrections, key=lambda one: -abs(one["exact"] - one["stored"]))[:ROWS]:
        yield f"{one['exact'] - one['stored']:+,}", f"{one['document']}"
    if len(corrections) > ROWS:
        yield "", f"and {len(corrections) - ROWS} more"


def differences_table(wrong: list[Difference]) -> Table:
    """What is stored beside what is exact."""
    table = Table(title=f"{len(wrong)} differences", title_justify="left", title_style="bold red")
    for name in ("collection", "key"):
        table.add_column(name, overflow="fold")
    for name in ("stored", "exact"):
        table.add_column(name, justify="right")
    for collection, key, found, exact in wrong[:ROWS]:
        table.add_row(collection, shown(key), f"{found:,}", f"{exact:,}")
    if len(wrong) > ROWS:
        table.add_row("…", f"{len(wrong) - ROWS} more", "", "")
    return table
