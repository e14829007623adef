"""What a reader of the board sees, and when."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from cli.audit import CATEGORIES, fold
from local.process import wait_until
from shared.aggregation import document_id
from shared.settings import Settings
from shared.store import Create, FieldPath, Merge, Query, Store
from tests.board.conftest import OPERATOR, STATE, VIEWER, Board, rules, store_of
from tests.firebase.conftest import PATIENCE, Suite

pytestmark = pytest.mark.timeout(300)

Entry = Mapping[str, object]
INGREDIENTS = (
    "Kettle Chips",
    "Mac/Cheese",
    "..",
    "%2F",
    "🥑 Guacamole",
    "",
    "<img src=x onerror=alert(1)>",
    "x" * 1_400,
)
PANELS = {
    "aggregates_categories": "Ingredients",
    "aggregates_actions": "Actions",
    "aggregates_time_hours": "Hours",
    "aggregates_time_dates": "Dates",
}


def entries(number: int) -> list[Entry]:
    """Entries of all odd ingredients, some actions, some days."""
    start = datetime(2025, 9, 4, 18, 57, tzinfo=UTC)
    return [
        {
            "device": {"model": "LibraV0", "serialNumber": "Lib298190"},
            "location": "Caldo Office",
            "ingredient": INGREDIENTS[at % len(INGREDIENTS)],
            "dataAction": "RanOut" if at % 5 == 0 else "Served",
            "amount": 12.5,
            "timestamp": start + timedelta(hours=7 * at),
        }
        for at in range(number)
    ]


def write(store: Store, prefix: str, written: Iterable[Entry]) -> datetime:
    """Write entries one by one, as devices do; when the last was committed."""
    commits = [
        store.commit([Create(f"libra/{prefix}{number}", entry)], timeout=10)
        for number, entry in enumerate(written)
    ]
    return commits[-1]


def one(suite: Suite, prefix: str) -> Entry:
    """Write an entry and wait until it is counted."""
    entry = entries(1)[0]
    write(store_of(suite), prefix, [entry])
    suite.wait_for({"aggregates_categories/Kettle Chips": 1})
    return entry


def exact(written: Iterable[Entry], collection: str = CATEGORIES) -> dict[str, int]:
    """What the totals have to be, by document id, counted by other code than the product's."""
    totals = fold(written, Settings()).totals[collection]
    return {document_id(key): count for key, count in totals.items()}  # type: ignore[arg-type]


def set_state(store: Store, fields: Mapping[FieldPath, object]) -> None:
    """Change the state document, as a run does."""
    store.commit([Merge(STATE, fields)], timeout=10)


def recompute_past(suite: Suite, commit: datetime) -> None:
    """Run the recompute until its watermark has passed a commit."""
    wait_until(
        lambda: datetime.fromisoformat(suite.tick()["watermark"]) >= commit,
        seconds=PATIENCE,
        what=f"a watermark past {commit}",
    )


def test_who_is_signed_out_sees_nothing(fresh: Suite, board: Board) -> None:
    """There is a form, no total, and not even a question to Firestore; a wrong password says so."""
    asked: list[str] = []
    board.page.on("request", lambda request: asked.append(request.url))
    board.open()
    expect(board.page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(board.page.get_by_role("navigation")).to_have_count(0)
    expect(board.page.get_by_role("table")).to_have_count(0)
    board.page.get_by_label("Email").fill(VIEWER.email)
    board.page.get_by_label("Password").fill("wrong")
    board.page.keyboard.press("Enter")
    expect(board.page.get_by_role("alert")).to_have_text("The email address or the password is wrong.")
    assert [url for url in asked if fresh.ports.address("firestore") in url] == []
    assert [text for text in board.said if "400" not in text] == []
    board.said.clear()


def test_every_total_moves_while_entries_are_written(fresh: Suite, board: Board) -> None:
    """A viewer watches an empty board fill, without a reload; in the end it shows the fold of the entries."""
    board.open().sign_in(VIEWER)
    expect(board.page.get_by_text("No entry has been counted here yet")).to_be_visible()
    board.page.evaluate(WATCH)
    written = entries(50)
    write(store_of(fresh), "live", written)
    board.expect_totals(exact(written))
    seen: dict[str, list[int]] = board.page.evaluate("window.seen")
    for key, count in exact(written).items():
        assert seen[key][-1] == count
        assert len(seen[key]) > 1, f"{key} went to {count} at once"
        assert seen[key] == sorted(seen[key])
    for collection, title in PANELS.items():
        board.panel(title)
        board.expect_totals(exact(written, collection))
    assert board.page.evaluate("window.seen !== undefined"), "the page was loaded again"
    expect(board.page.get_by_text("Proven up to")).to_have_count(0)
    expect(board.page.get_by_role("heading", name="Last recomputes")).to_have_count(0)
    expect(board.page.locator("#notices")).to_be_empty()


WATCH = """() => {
  window.seen = {};
  const look = () => {
    for (const row of document.querySelectorAll("table.totals tr[data-id]")) {
      const values = (window.seen[row.dataset.id] ??= []);
      const value = Number(row.querySelector(".value").textContent.replace(/,/g, ""));
      if (values.at(-1) !== value) values.push(value);
    }
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""
"""Note every value that each row ever shows."""


def test_a_key_is_shown_as_it_is(fresh: Suite, board: Board) -> None:
    """Whatever a device called an ingredient is text on the page, and nothing else."""
    store, keys = store_of(fresh), len(INGREDIENTS)
    write(store, "odd", entries(keys))
    wait_until(lambda: store.count(Query(CATEGORIES)) == keys, seconds=PATIENCE, what="a total for each key")
    board.open().sign_in(VIEWER)
    board.expect_totals(dict.fromkeys(map(document_id, INGREDIENTS), 1))
    shown = set(board.page.locator("table.totals .key").all_text_contents())
    assert shown == {key or "(empty)" for key in INGREDIENTS}
    expect(board.page.locator("img")).to_have_count(0)


def test_an_operator_sees_the_repair_of_a_recompute(fresh: Suite, board: Board) -> None:
    """A lost entry and a spoiled total: the run moves the numbers, and stands below with its drift."""
    store, (first, lost, *_) = store_of(fresh), entries(2)
    write(store, "kept", [first, first])
    fresh.wait_for({"aggregates_categories/Kettle Chips": 2})
    board.open().sign_in(OPERATOR)
    expect(board.page.get_by_text("No recompute has completed yet: no total is proven.")).to_be_visible()
    expect(board.page.locator("#pending")).to_have_text("2")
    fresh.triggers(on=False)
    commit = write(store, "lost", [lost])
    fresh.set_count("aggregates_categories/Kettle Chips", 100)
    fresh.triggers(on=True)
    board.expect_totals({"Kettle Chips": 100})
    recompute_past(fresh, commit)
    board.expect_totals(exact([first, first, lost]))
    expect(board.page.locator("#pending")).to_have_text("0")
    expect(board.page.locator("table.runs .drift", has_text="what was corrected")).not_to_have_count(0)
    board.page.get_by_text("what was corrected").last.click()
    expect(
        board.page.get_by_text(re.compile("aggregates_categories/Kettle Chips count: .* → 2"))
    ).to_be_visible()
    expect(board.page.locator("#proven")).to_contain_text("ago")


def test_an_operator_is_told_how_the_totals_stand(fresh: Suite, board: Board) -> None:
    """A run under way, one that found drift, one that failed, a watermark that is too old."""
    store, now = store_of(fresh), datetime.now(UTC)
    old = now - timedelta(hours=30)
    board.open().sign_in(OPERATOR)
    notices = board.page.locator("#notices")
    expect(notices).to_have_text("No recompute has completed yet: no total is proven.")
    run = {
        "state": "completed",
        "queued_at": old,
        "watermark": old,
        "drift": 7,
        "corrected": 3,
        "corrections": [],
    }
    store.commit([Create("aggregates_runs/old", run)], timeout=10)
    set_state(store, {("timestamp",): old, ("proven",): old})
    expect(notices).to_contain_text("Drift: the last recompute found 3 wrong numbers, by 7 in sum")
    expect(notices).to_contain_text("The watermark is too old")
    lease = {"run_id": "new", "token": 2, "expires_at": now + timedelta(minutes=2)}
    set_state(store, {("lease",): lease, ("timestamp",): now, ("proven",): now})
    store.commit([Create("aggregates_runs/new", {"state": "processing", "queued_at": now})], timeout=10)
    expect(notices).to_contain_text("A recompute is under way.")
    expect(notices).not_to_contain_text("too old")
    expect(board.page.locator("#run")).to_have_text("under way: new")
    set_state(store, {("lease",): lease | {"expires_at": None}})
    expect(notices).to_contain_text("The last recompute failed: it died: its lease is over.")
    expect(board.page.locator("table.runs .state").first).to_have_text("failed")


def test_who_may_not_read_is_told(fresh: Suite, board: Board) -> None:
    """Rules of the project's own refuse the totals; once they allow them, a button is enough."""
    one(fresh, "secret")
    nobody = "service cloud.firestore { match /{all=**} { allow read: if false; } }"
    with rules(fresh, nobody):
        board.open().sign_in(OPERATOR)
        expect(board.page.get_by_text("Your account may not read these totals.")).to_be_visible()
        expect(board.page.get_by_text("may not read the state document and the runs")).to_be_visible()
        expect(board.page.locator("table.totals")).to_be_hidden()
    board.page.get_by_role("button", name="Try again").click()
    board.expect_totals({"Kettle Chips": 1})
    board.said.clear()  # the SDK reports what was refused


def test_who_is_offline_is_told_and_catches_up(fresh: Suite, board: Board) -> None:
    """The last numbers stay, marked as such; what was counted meanwhile comes with the connection."""
    store, first = store_of(fresh), one(fresh, "before")
    board.open().sign_in(VIEWER)
    board.expect_totals({"Kettle Chips": 1})
    board.page.context.set_offline(True)
    expect(board.page.get_by_text("Offline: these are the last numbers that arrived.")).to_be_visible()
    write(store, "meanwhile", [first])
    fresh.wait_for({"aggregates_categories/Kettle Chips": 2})
    board.expect_totals({"Kettle Chips": 1})
    board.page.context.set_offline(False)
    board.expect_totals({"Kettle Chips": 2})
    expect(board.page.locator("#notices")).to_be_empty()
    board.said.clear()  # the SDK reports what it could not reach


def test_signing_out_takes_the_totals_away(fresh: Suite, board: Board) -> None:
    """Nothing of the board stays for who comes next."""
    one(fresh, "left")
    board.open().sign_in(OPERATOR)
    board.expect_totals({"Kettle Chips": 1})
    board.page.get_by_role("button", name="Sign out").click()
    expect(board.page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(board.page.get_by_role("table")).to_have_count(0)
    expect(board.page.get_by_text("Kettle Chips")).to_have_count(0)
    expect(board.page.locator("#notices")).to_be_empty()


def test_a_panel_says_that_it_is_loading(fresh: Suite, board: Board) -> None:
    """Until Firestore has answered, nothing is shown as empty."""
    one(fresh, "slow")
    board.page.route(re.compile("/Listen/channel"), lambda _: None)  # no answer yet
    board.open().sign_in(VIEWER, answered=False)
    expect(board.page.get_by_text("Loading …")).to_be_visible()
    expect(board.page.get_by_text("No entry has been counted here yet")).to_have_count(0)
    board.page.unroute_all(behavior="ignoreErrors")
    board.expect_totals({"Kettle Chips": 1})


def test_a_tab_that_nobody_looks_at_stops_listening(fresh: Suite, board: Board) -> None:
    """After a minute in the background it costs nothing; it catches up when somebody looks again."""
    store, first = store_of(fresh), one(fresh, "seen")
    board.page.clock.install()
    board.open().sign_in(VIEWER)
    board.expect_totals({"Kettle Chips": 1})
    looked_at = Board(board.page.context.new_page(), fresh).open()
    looked_at.expect_totals({"Kettle Chips": 1})
    board.page.evaluate(LOOK, False)
    board.page.clock.fast_forward(61_000)
    write(store, "unseen", [first])
    looked_at.expect_totals({"Kettle Chips": 2})
    assert board.totals() == {"Kettle Chips": "1"}
    board.page.evaluate(LOOK, True)
    board.expect_totals({"Kettle Chips": 2})


LOOK = """(looks) => {
  Object.defineProperty(document, "hidden", { value: !looks, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""What the browser does when a tab goes to the background, or comes back."""
