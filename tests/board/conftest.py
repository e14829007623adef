"""The board in a real browser, on the whole Firebase suite, for the tests of this folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from deploy.stage import ROOT
from local.accounts import OWNER, PREPARED, Account, prepare
from local.errors import StackError
from local.process import wait_until
from local.suite import PROJECT
from shared.settings import Settings
from shared.store import Delete, Query, Store
from shared.store.client import FirestoreStore
from tests.firebase.conftest import PATIENCE, QUICK, Suite, firebase  # noqa: F401 - the same suite, as a fixture

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPERATOR, VIEWER = PREPARED
STATE = "aggregates/last_processed"
ROWS = """() => {
  const rows = document.querySelectorAll("table.totals:not([hidden]) tr[data-id]");
  const shown = (row) => row.querySelector(".value").textContent;
  return Object.fromEntries([...rows].map((row) => [row.dataset.id, shown(row)]));
}"""

expect.set_options(timeout=PATIENCE * 1000)


@dataclass
class Board:
    """The page as somebody uses it.

    Attributes:
        page: the browser's tab.
        suite: what serves it.
        said: the errors that the browser's console showed; a test that expects some clears them.
    """

    page: Page
    suite: Suite
    said: list[str] = field(default_factory=list)

    def open(self, anchor: str = "") -> "Board":
        """Load the page."""
        self.page.goto(f"http://{self.suite.ports.address('hosting')}/{anchor}")
        return self

    def sign_in(self, account: Account, *, answered: bool = True) -> "Board":
        """Sign in as a user does, and wait for the board, and until Firestore has answered its listeners.

        The emulator loses a change that commits while it makes a listener's first answer (1 of 300 tries at
        the two together): a test writes before it signs in, and waits until that is counted, or after this.
        """
        self.page.get_by_label("Email").fill(account.email)
        self.page.get_by_label("Password").fill(account.password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        expect(self.page.get_by_role("navigation", name="Totals")).to_be_visible()
        if answered:
            expect(self.page.get_by_text("Loading …")).to_have_count(0)
        return self

    def panel(self, title: str) -> None:
        """Open a panel by its link."""
        self.page.get_by_role("link", name=title, exact=True).click()
        expect(self.page.get_by_role("heading", name=title, exact=True)).to_be_visible()

    def totals(self) -> dict[str, str]:
        """What the rows show, by the totals' document ids."""
        return dict(self.page.evaluate(ROWS))

    def expect_totals(self, totals: dict[str, int]) -> None:
        """Wait until the page shows these totals and no other."""
        wanted = {key: f"{count:,}" for key, count in totals.items()}
        with suppress(StackError):  # the comparison below says more
            wait_until(lambda: self.totals() == wanted, seconds=PATIENCE, what="the totals on the page")
        assert self.totals() == wanted

    def violations(self) -> list[str]:
        """What axe-core finds wrong for who uses a keyboard or a screen reader."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = self.page.evaluate("async () => (await axe.run()).violations")
        return [
            f"{it['id']}: {node['html']}: {node['failureSummary']}" for it in found for node in it["nodes"]
        ]

    def overflows(self) -> bool:
        """Whether the page is wider than the window."""
        return bool(self.page.evaluate("document.scrollingElement.scrollWidth > innerWidth"))


@pytest.fixture(scope="session")
def suite(firebase: Suite) -> Suite:  # noqa: F811 - the fixture
    """The Firebase suite, with a prepared user for each role."""
    prepare(firebase.ports.address("auth"), PROJECT)
    return firebase


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail("no Chromium on the PATH: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


def store_of(suite: Suite) -> Store:
    """The suite's Firestore, past the rules."""
    named = {"FIRESTORE_EMULATOR_HOST": suite.ports.address("firestore"), "GOOGLE_CLOUD_PROJECT": PROJECT}
    return FirestoreStore.connect(Settings.from_environment(named | QUICK))


@contextmanager
def rules(suite: Suite, content: str) -> Iterator[None]:
    """Other security rules for a while."""
    url = f"http://{suite.ports.address('firestore')}/emulator/v1/projects/{PROJECT}:securityRules"

    def put(text: str) -> None:
        body = {"rules": {"files": [{"name": "firestore.rules", "content": text}]}}
        httpx.put(url, json=body, headers=OWNER, timeout=30).raise_for_status()

    put(content)
    try:
        yield
    finally:
        put((ROOT / "firestore.rules").read_text(encoding="utf-8"))


@pytest.fixture
def fresh(suite: Suite) -> Suite:
    """The suite without a document, and without an event on its way: a deletion would count later."""
    store = store_of(suite)
    living, markers = list(store.query(Query("libra", select=()))), Query("aggregates_seen")
    wanted = store.count(markers) + len(living)
    if living:
        store.commit([Delete(entry.path) for entry in living], timeout=30)
        suite.wait(lambda: store.count(markers) >= wanted, what="the deletions counted")
    address = suite.ports.address("firestore")
    documents = f"http://{address}/emulator/v1/projects/{PROJECT}/databases/(default)/documents"
    httpx.delete(documents, headers=OWNER, timeout=30).raise_for_status()
    return suite


@pytest.fixture
def board(browser: Browser, suite: Suite) -> Iterator[Board]:
    """A tab of a browser that nobody has used, in English. Errors in its console fail the test."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC", viewport={"width": 1100, "height": 900})
    board = Board(context.new_page(), suite)

    def keep(message: ConsoleMessage) -> None:
        if message.type == "error":
            board.said.append(message.text)

    board.page.on("console", keep)
    board.page.on("pageerror", lambda error: board.said.append(str(error)))
    yield board
    context.close()
    assert board.said == []
