"""How the board is delivered, and whether everybody can use it."""

import gzip
import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.board.conftest import OPERATOR, VIEWER, Board, store_of
from tests.board.test_board import entries, recompute_past, write
from tests.firebase.conftest import Suite

pytestmark = pytest.mark.timeout(300)

MOST_SCRIPT = 200 * 1024
"""Bytes of script, gzipped."""
SCHEMES = ("light", "dark")


@pytest.fixture
def filled(fresh: Suite) -> Suite:
    """Totals, of which a run has proven some."""
    store = store_of(fresh)
    recompute_past(fresh, write(store, "proven", entries(40)))
    write(store, "open", entries(20))
    fresh.wait_for({"aggregates_categories/Kettle Chips": 8})
    return fresh


def test_the_headers_are_strict(suite: Suite) -> None:
    """Nothing inline, nothing of strangers, no framing; what carries a hash in its name is kept for ever."""
    with httpx.Client(base_url=f"http://{suite.ports.address('hosting')}", timeout=30) as http:
        page = http.get("/")
        policy = dict(
            part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";")
        )
        assert "unsafe-" not in page.headers["content-security-policy"]
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["strict-transport-security"].startswith("max-age=")
        assert "permissions-policy" in page.headers
        assert "referrer-policy" in page.headers
        assert page.headers["cache-control"] == "no-cache"
        for asset in re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text):
            assert "immutable" in http.get(f"/{asset}").headers["cache-control"]


def test_the_script_is_small(suite: Suite) -> None:
    """All of it, gzipped, fits what a phone loads in a second or two."""
    with httpx.Client(base_url=f"http://{suite.ports.address('hosting')}", timeout=30) as http:
        scripts = re.findall(r'src="(assets/[^"]+\.js)"', http.get("/").text)
        sizes = {script: len(gzip.compress(http.get(f"/{script}").content, 9)) for script in scripts}
    assert sizes
    assert sum(sizes.values()) <= MOST_SCRIPT, sizes


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.usefixtures("filled")
def test_everybody_can_use_it(board: Board, scheme: str) -> None:
    """axe-core finds nothing on any panel, nor on the page of who is signed out."""
    board.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type,unused-ignore]
    board.open()
    expect(board.page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert board.violations() == []
    board.sign_in(OPERATOR)
    for title in ("Ingredients", "Actions", "Hours", "Dates"):
        board.panel(title)
        expect(board.page.locator("table.totals tbody tr").first).to_be_visible()
        expect(board.page.locator("table.runs tbody tr").first).to_be_visible()
        assert board.violations() == []


@pytest.mark.usefixtures("filled")
def test_it_fits_a_phone(board: Board) -> None:
    """At a width of 360 pixels nothing is cut off, with the longest key as well."""
    board.page.set_viewport_size({"width": 360, "height": 740})
    board.open()
    assert not board.overflows()
    board.sign_in(OPERATOR)
    for title in ("Ingredients", "Hours", "Dates"):
        board.panel(title)
        expect(board.page.locator("table.totals tbody tr").first).to_be_visible()
        expect(board.page.locator("table.runs tbody tr").first).to_be_visible()
        assert not board.overflows(), title


@pytest.mark.usefixtures("filled")
def test_a_keyboard_is_enough(board: Board) -> None:
    """Sign in, change the panel and sign out, without a mouse."""
    board.open()
    expect(board.page.get_by_role("heading", name="Sign in")).to_be_visible()
    keys = board.page.keyboard
    keys.press("Tab")
    keys.type(VIEWER.email)
    keys.press("Tab")
    keys.type(VIEWER.password)
    keys.press("Enter")
    expect(board.page.get_by_role("link", name="Ingredients")).to_be_visible()
    board.page.get_by_role("link", name="Ingredients").focus()
    keys.press("Tab")
    keys.press("Enter")
    expect(board.page.get_by_role("heading", name="Actions")).to_be_visible()
    expect(board.page.get_by_role("link", name="Actions")).to_have_attribute("aria-current", "page")
    keys.press("Shift+Tab")
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(board.page.get_by_role("heading", name="Sign in")).to_be_visible()
