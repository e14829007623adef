"""The pictures of docs/board.md, taken on request: `make screenshots`."""

import os
from datetime import date, datetime

import pytest
from playwright.sync_api import expect

from cli.generator import Plan, generate
from deploy.stage import ROOT
from shared.settings import UTC
from shared.store import Create, Query, Store
from tests.board.conftest import OPERATOR, Board, store_of
from tests.board.test_board import recompute_past
from tests.firebase.conftest import Suite

FOLDER = os.environ.get("LIBRA_SCREENSHOTS", "")

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not FOLDER, reason="pictures are taken on request: make screenshots"),
]
ENTRIES, OPEN = 1_500, 200
GROUP = 50
PICTURES = (
    ("light", "Ingredients", 1100),
    ("dark", "Ingredients", 1100),
    ("dates", "Dates", 1100),
    ("phone", "Actions", 390),
)


def count(store: Store, suite: Suite, entries: list[Create]) -> datetime:
    """Write entries and wait until each is counted; when the last was committed."""
    markers = Query("aggregates_seen")
    wanted = store.count(markers) + len(entries)
    commits = [store.commit(entries[at : at + GROUP], timeout=30) for at in range(0, len(entries), GROUP)]
    suite.wait(lambda: store.count(markers) >= wanted, what=f"{wanted} entries counted")
    return commits[-1]


@pytest.fixture
def busy(fresh: Suite) -> Suite:
    """Two weeks of the restaurant chain, most of it proven; one run repaired a total."""
    store = store_of(fresh)
    plan = Plan(ENTRIES, date(2025, 9, 4), UTC, malformed=0.0)
    entries = [Create(f"libra/{it.id}", it.fields) for it in generate(plan)]
    commit = count(store, fresh, entries[OPEN:])
    fresh.set_count("aggregates_actions/Served", 1)
    recompute_past(fresh, commit)
    fresh.tick()
    count(store, fresh, entries[:OPEN])
    return fresh


@pytest.mark.usefixtures("busy")
def test_the_pictures_are_taken(board: Board) -> None:
    """Light, dark, with a time axis, on a phone."""
    folder = ROOT / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    board.page.emulate_media(reduced_motion="reduce")
    board.open().sign_in(OPERATOR)
    for name, title, width in PICTURES:
        scheme = "dark" if name == "dark" else "light"
        board.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type,unused-ignore]
        board.page.set_viewport_size({"width": width, "height": 900})
        board.panel(title)
        expect(board.page.locator("table.totals tbody tr").first).to_be_visible()
        board.page.screenshot(path=folder / f"{name}.png")
