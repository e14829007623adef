"""What a tab that listens receives, measured on request: `make measure-board`.

A real browser shows the board on the Firebase suite. Bytes are those of the SDK's channel to Firestore, as
Chromium counts them. It cannot show what Firestore does: the emulator compresses nothing, holds no change
back, and takes more writes a second of one document than Firestore's one.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.stage import ROOT
from local.process import wait_until
from shared.store import Create, Delete, FieldPath, Merge, Store
from shared.watermark import bucket_of
from tests.board.conftest import VIEWER, Board, store_of
from tests.board.test_board import entries
from tests.firebase.conftest import PATIENCE, Suite

PAGE = os.environ.get("LIBRA_MEASURE", "")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PAGE, reason="measured on request: make measure-board"),
]
TEN_MINUTES = timedelta(minutes=10)
BUCKETS = {
    0: "none",
    1: "ten minutes",
    6: "an hour",
    12: "a day, compacted every hour",
    144: "a day, never compacted",
    1_008: "a week, never compacted",
}
"""Open buckets of ten minutes, and how long no recompute has run. Before the next hourly compaction there are
the merged bucket, six of that hour, and up to five that a compaction leaves alone."""
CHANGES = 20
RATES = (1, 5, 20)
"""Entries a second."""
SECONDS = 20
HEAD = """# What a tab that listens to the board receives

Made by `make measure-board` (tests/board/test_listener.py). The first table is one total of which one column
is counted. It cannot show what Firestore does: the emulator compresses nothing, holds no change back, and
takes more writes a second of one document than Firestore's one.
"""


class Channel:
    """Counts the bytes that the browser receives from Firestore."""

    def __init__(self, board: Board) -> None:
        self.received = 0
        self._requests: set[str] = set()
        protocol = board.page.context.new_cdp_session(board.page)
        protocol.send("Network.enable")
        protocol.on("Network.requestWillBeSent", self._sent)
        protocol.on("Network.dataReceived", self._received)

    def _sent(self, event: dict[str, Any]) -> None:
        if "/Listen/channel" in event["request"]["url"]:
            self._requests.add(event["requestId"])

    def _received(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._requests:
            self.received += event["dataLength"]


def bytes_of_a_change(board: Board, channel: Channel, store: Store, buckets: int) -> float:
    """What one change of a total with that many open buckets makes the tab receive, on average."""
    path, now = f"aggregates_actions/With {buckets}", datetime.now(UTC)
    labels = [bucket_of(now - TEN_MINUTES * each, TEN_MINUTES).label() for each in range(buckets)]
    total = {"key": "Served", "count": 1_000, "updated_at": now, "recent": dict.fromkeys(labels, 17)}
    store.commit([Create(path, total)], timeout=10)
    increments: dict[FieldPath, int] = {("count",): 1} | {("recent", label): 1 for label in labels[:1]}

    def shown(count: int) -> Callable[[], bool]:
        return lambda: board.totals().get(f"With {buckets}") == f"{count:,}"

    wait_until(shown(1_000), seconds=PATIENCE, what=f"{path} on the page")
    before = channel.received
    for number in range(1, CHANGES + 1):
        store.commit([Merge(path, increments=increments, server_times=(("updated_at",),))], timeout=10)
        wait_until(shown(1_000 + number), seconds=PATIENCE, what=f"change {number} of {path}")
    received = channel.received - before
    store.commit([Delete(path)], timeout=10)
    return received / CHANGES


def changes_a_second(board: Board, store: Store, rate: int) -> tuple[float, float]:
    """Entries a second that were written, and how often the total of their action changed on the page."""
    board.page.evaluate(COUNT_CHANGES)
    entry, begun = entries(2)[1], time.monotonic()
    for number in range(rate * SECONDS):
        board.page.wait_for_timeout(max(0.0, begun + number / rate - time.monotonic()) * 1000)
        store.commit([Create(f"libra/at-{rate}-{number}", entry)], timeout=10)
    seconds = time.monotonic() - begun
    return rate * SECONDS / seconds, board.page.evaluate("window.changes") / seconds


COUNT_CHANGES = """() => {
  window.changes = 0;
  window.watching?.disconnect();
  window.watching = new MutationObserver(() => (window.changes += 1));
  const value = document.querySelector("tr[data-id=Served] .value");
  window.watching.observe(value, { childList: true, subtree: true, characterData: true });
}"""


def test_what_a_tab_receives(fresh: Suite, board: Board) -> None:
    """Every change brings the whole total: the more buckets are open, the more bytes."""
    store, channel = store_of(fresh), Channel(board)
    board.open("#aggregates_actions").sign_in(VIEWER)
    sizes = {buckets: bytes_of_a_change(board, channel, store, buckets) for buckets in BUCKETS}
    store.commit([Create("libra/first", entries(2)[1])], timeout=10)
    board.expect_totals({"Served": 1})
    rates = [changes_a_second(board, store, rate) for rate in RATES]
    rows = ["| without a recompute for | open buckets | bytes a change |", "|---|---|---|"]
    rows += [f"| {BUCKETS[each]} | {each:,} | {size:,.0f} |" for each, size in sizes.items()]
    rows += ["", "| entries a second | changes a second of their total |", "|---|---|"]
    rows += [f"| {written:.1f} | {seen:.1f} |" for written, seen in rates]
    (ROOT / PAGE).write_text("\n".join([HEAD, *rows, ""]), encoding="utf-8")
    assert list(sizes.values()) == sorted(sizes.values())
