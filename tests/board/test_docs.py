"""The API's own page, /docs, in a real browser: it shows every operation, and asks no other host."""

import os
import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, Response, expect

from local.served import Served, unsigned_token
from tests.firebase.conftest import PATIENCE

PROJECT = "demo-docs"
NOWHERE = "127.0.0.1:1"
MISBEHAVE = """(other) => {
  window.refused = [];
  const keep = (event) => window.refused.push(event.effectiveDirective);
  document.addEventListener("securitypolicyviolation", keep);
  fetch(`${other}/elsewhere`).catch(() => null);
  const add = (name, fields) => document.body.append(Object.assign(document.createElement(name), fields));
  add("script", { src: `${other}/script.js` });
  add("script", { textContent: "window.ran = true" });
  add("iframe", { src: location.href });
}"""
"""What a page under the policy cannot do."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API as it is served. The page needs no Firestore."""
    environment = {"FIRESTORE_EMULATOR_HOST": NOWHERE, "GOOGLE_CLOUD_PROJECT": PROJECT}
    served = Served.api(NOWHERE, tmp_path_factory.mktemp("api") / "api.txt", os.environ | environment)
    served.start()
    yield served
    served.stop()


@pytest.fixture
def asked() -> list[str]:
    """The addresses that the page asks for."""
    return []


@pytest.fixture
def page(browser: Browser, api: Served, asked: list[str]) -> Iterator[Page]:
    """The page, in a tab of its own. What its console complains about fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"http://{api.address}/docs")
    yield page
    context.close()
    assert said == []


def operations(api: Served) -> set[tuple[str, str]]:
    """What the schema describes."""
    paths = httpx.get(f"http://{api.address}/openapi.json", timeout=30).json()["paths"]
    return {(method.upper(), path) for path, each in paths.items() for method in each}


def shown(page: Page) -> set[tuple[str, str]]:
    """What the page shows. It puts a character of no width behind each slash, so that lines may break."""
    rows = page.locator(".opblock-summary").all()
    texts = ((row.locator(".opblock-summary-method"), row.locator(".opblock-summary-path")) for row in rows)
    return {(one.inner_text(), re.sub(r"\u200b", "", other.inner_text())) for one, other in texts}


def test_the_page_shows_every_operation_and_asks_no_other_host(
    page: Page, api: Served, asked: list[str]
) -> None:
    """All of the schema is there, and all that was loaded came from the API."""
    expect(page.locator(".opblock-summary")).to_have_count(len(operations(api)), timeout=PATIENCE * 1_000)
    assert shown(page) == operations(api)
    expect(page.get_by_role("heading", name="Libra API")).to_be_visible()
    outside = [url for url in asked if not url.startswith((f"http://{api.address}/", "data:"))]
    assert outside == []
    assert f"http://{api.address}/openapi.json" in asked


def test_an_operation_is_tried_from_the_page(page: Page, api: Served) -> None:
    """Signed in with a token: the policy lets the page ask the API, and the page shows the answer."""
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    dialog.get_by_role("textbox").fill(unsigned_token(PROJECT, ""))
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").click()
    operation = page.locator(".opblock", has_text="/v1/aggregations").first
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    with page.expect_response(f"http://{api.address}/v1/aggregations") as answered:
        operation.get_by_role("button", name="Execute").click()
    answer: Response = answered.value
    assert answer.status == 200
    expect(operation.locator(".live-responses-table")).to_contain_text("aggregates_categories")


def test_the_policy_is_in_force(browser: Browser, api: Served) -> None:
    """No other host is reached, no script runs but the API's own, and nothing is framed."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://{api.address}/docs")
        page.evaluate(MISBEHAVE, f"http://127.0.0.1:{other.getsockname()[1]}")
        page.wait_for_function("window.refused.length >= 4", timeout=PATIENCE * 1_000)
        assert set(page.evaluate("window.refused")) == {"connect-src", "script-src-elem", "frame-src"}
        assert page.evaluate("window.ran") is None
        context.close()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
