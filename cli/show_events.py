"""The act of `libra demo` in which events come over HTTP and through Pub/Sub, and a worker is killed."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from rich.console import Console

from cli import sending
from cli.behaviour import Crowd, Event, behave
from cli.report import figures_table, side_by_side, totals_table
from local.collecting import Collector
from local.doors import Doors
from local.errors import StackError
from local.process import wait_until
from local.stack import LocalStack
from shared.schemas import self_written
from shared.store import Query, Store

SOURCE = "user_events"
TYPES, DATES = "analytics_aggregates", "analytics_aggregates_dates"
DUPLICATES, INVALID = 0.2, 0.02
SECONDS = 120

Totals = dict[str, dict[object, int]]


def show_events(console: Console, stack: LocalStack, store: Store, events: int, seed: int) -> bool:
    """Send events, kill a worker that has some of them, and compare; True if every event counts once."""
    try:
        doors = Doors(stack, workers=2)
    except StackError as missing:
        console.print(f"\nThe act with events through Pub/Sub is left out: {missing}")
        return True
    crowd = Crowd(SOURCE, events, datetime.now(UTC), seed, DUPLICATES, INVALID)
    sent = list(behave(crowd))
    exact, once = count(sent, stack.settings.time_zone)
    console.print(
        f"\n[bold]{events:,} events of a shop's users over HTTP, through Pub/Sub:[/bold] "
        f"{len(sent) - events:,} are sent twice, and a worker is killed."
    )
    with doors, Collector(stack, doors.exports) as collector:
        started = time.monotonic()
        url = f"http://{collector.served.address}"
        with closing(sending.Collector(url, collector.key, SOURCE)) as sender:
            left = iter(sent)
            tally = sending.send(islice(left, len(sent) // 2), sender)
            doors.workers.kill(doors.workers.children[0])
            tally += sending.send(left, sender)
        wait_until(lambda: _entries(store, stack) >= once, seconds=SECONDS, what="every event stored")
        seconds = time.monotonic() - started
        found = {name: stored(store, name) for name in exact}
    console.print(
        side_by_side(
            totals_table("Event types", found[TYPES], most_rows=8),
            totals_table("Dates", found[DATES], most_rows=8, by_key=True),
        )
    )
    rows = [
        *(("answers", f"{number:,} {outcome}") for outcome, number in tally.most_common()),
        ("all counted", f"{seconds:.1f} s after the first was sent; Pub/Sub waits 10 s for a dead worker"),
    ]
    console.print(figures_table("Figures", rows))
    right = found == exact and _entries(store, stack) == once
    console.print(
        f"\n[bold green]exact[/bold green]: {sum(map(len, exact.values()))} totals equal an independent "
        f"count of the {once:,} different events."
        if right
        else f"\n[bold red]wrong[/bold red]: stored {found}, exact {exact}"
    )
    return right


def count(sent: Sequence[Event], zone: ZoneInfo) -> tuple[Totals, int]:
    """What the totals must be, and how many entries: by a count that knows nothing of Libra's."""
    once = {event["event_id"]: event for event in sent if is_right(event)}
    types = Counter(event["event_type"] for event in once.values())
    dates = Counter(
        datetime.fromisoformat(event["timestamp"]).astimezone(zone).date().isoformat()
        for event in once.values()
    )
    return {TYPES: dict(types), DATES: dict(dates)}, len(once)


def is_right(event: Event) -> bool:
    """Whether the crowd made no mistake in it."""
    user, when = event.get("user_id"), str(event.get("timestamp", ""))
    return isinstance(user, str) and when.startswith("20") and "colour" not in event


def stored(store: Store, collection: str) -> dict[object, int]:
    """The totals of a collection that are not zero."""
    found = {it.fields["key"]: it.fields["count"] for it in store.query(Query(collection))}
    return {key: number for key, number in found.items() if isinstance(number, int) and number}


def _entries(store: Store, stack: LocalStack) -> int:
    home = self_written(stack.settings)[SOURCE].home
    return sum(1 for _ in store.query(Query(home.entries)))
