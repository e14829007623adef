"""Totals as they move: Firestore tells each change to a listener, and nothing is asked again."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias

import click
from rich.console import Group
from rich.live import Live

from cli.listing import key_text, typed_key
from cli.report import page, shown
from cli.totals import plain, proven_line, totals_table
from shared.aggregation import Aggregation, Cell, Source
from shared.catalog import LIBRA_HOME
from shared.errors import Transient
from shared.settings import Settings
from shared.store import Document
from shared.store.client import FirestoreStore
from shared.windows import Order, Proof, Total, order_of, parse_key, proof_of, total_of, zero

LOOK_SECONDS = 1.0
"""How often it is looked whether the listeners still live."""

Told: TypeAlias = "dict[str, list[Document]]"


class Listener:
    """What Firestore's listeners have told last. They call in threads of their own."""

    def __init__(self, store: FirestoreStore) -> None:
        self._store = store
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._told: Told = {}
        self._watches: list[Any] = []

    def listen(self, name: str, target: Any) -> None:
        """Listen to a query or a document."""
        self._watches.append(target.on_snapshot(self._take(name)))

    def _take(self, name: str) -> Callable[[Any, Any, Any], None]:
        def take(snapshots: Any, *_: object) -> None:
            with self._lock:
                self._told[name] = [self._document(each) for each in snapshots if each.exists]
            self._changed.set()

        return take

    def _document(self, snapshot: Any) -> Document:
        path = self._store.path(snapshot.reference._document_path)
        return Document(path, snapshot.to_dict(), snapshot.create_time, snapshot.update_time)

    def changes(self, names: int) -> Iterator[Told]:
        """What is told, after each change, once all ``names`` have been told of.

        Raises:
            Transient: a listener has ended.
        """
        while True:
            if self._changed.wait(LOOK_SECONDS):
                self._changed.clear()
                with self._lock:
                    told = dict(self._told)
                if len(told) == names:
                    yield told
            if not all(watch.is_active for watch in self._watches):
                raise Transient("Firestore ended the listener: look at libra status, and start again")

    def close(self) -> None:
        """End the listeners, and wait for their threads."""
        for watch in self._watches:
            watch.unsubscribe()


@contextmanager
def _listening(store: FirestoreStore, settings: Settings) -> Iterator[tuple[Listener, Any]]:
    from google.cloud import firestore  # takes half a second to load, and no other command needs it

    client = firestore.Client(project=store.database.split("/")[1], database=settings.database)
    listener = Listener(store)
    try:
        yield listener, client
    finally:
        listener.close()
        client.close()  # type: ignore[no-untyped-call]  # Google's


def watch_totals(
    store: FirestoreStore,
    settings: Settings,
    source: Source,
    aggregation: Aggregation,
    key: Sequence[str],
    *,
    order: str,
    limit: int,
    as_json: bool,
) -> None:
    """Show totals as they move, until Ctrl-C. In a terminal a table; else a line for each that changed."""
    with _listening(store, settings) as (listener, client):
        parsed = parse_key(aggregation, typed_key(aggregation, key)) if key else None
        sort = order_of(aggregation, order)
        if parsed is not None:
            target: Any = client.document(LIBRA_HOME.total(Cell(aggregation.name, parsed)))
        else:
            target = client.collection(LIBRA_HOME.collection(aggregation.name)).limit(limit)
            direction = "DESCENDING" if sort.direction else "ASCENDING"
            for name in sort.by:
                target = target.order_by(name.removeprefix("-"), direction=direction)
        listener.listen("state", client.document(LIBRA_HOME.state))
        listener.listen("totals", target)
        with _view(aggregation, as_json=as_json) as show:
            for told in listener.changes(2):
                now = proof_of(source, LIBRA_HOME, datetime.now(UTC), next(iter(told["state"]), None))
                found = [total_of(aggregation, document, now) for document in told["totals"]]
                # The listener tells the right totals, in no order.
                found.sort(key=lambda one: _rank(sort, one), reverse=bool(sort.direction))
                show(found or ([zero(aggregation, parsed, now)] if parsed is not None else []), now)


def _rank(order: Order, total: Total) -> tuple[int | str, bytes]:
    """Where a total stands in an order."""
    by: int | str = total.values.get(order.field, 0)
    if order.field == "key" and isinstance(total.key, str | int):
        by = total.key
    return by, total.id.encode()


@contextmanager
def _view(aggregation: Aggregation, *, as_json: bool) -> Iterator[Callable[[list[Total], Proof], None]]:
    """In a terminal a table; in a pipe, and as JSON, a line for each total that changed."""
    console = page()
    if console.is_terminal and not as_json:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda found, now: live.update(
                Group(proven_line(aggregation, now), totals_table(aggregation, found)), refresh=True
            )
        return
    before: dict[str, Total] = {}

    def lines(found: list[Total], _: Proof) -> None:
        for one in found:
            known = before.get(one.id)
            if known is None or known.values != one.values:
                click.echo(_line(aggregation, one, known, as_json=as_json))
        before.update({one.id: one for one in found})

    yield lines


def _line(aggregation: Aggregation, one: Total, before: Total | None, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(plain(aggregation, one), ensure_ascii=False)
    moved = one.values["count"] - before.values["count"] if before else 0
    changed = f" ({moved:+,})" if moved else ""
    return f"{shown(key_text(aggregation, one.key, one.id)).plain}  {one.values['count']:,}{changed}"
