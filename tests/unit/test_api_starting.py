"""Starting a run over HTTP: what the recompute answers, or does not, and what the caller is told."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from google.auth.exceptions import DefaultCredentialsError

from services.api.starting import Answer, Starter, ask
from shared.http.problems import Problem


def nobody() -> None:
    """No run holds the lease."""


def starter(call: Callable[[str, Mapping[str, object]], Answer], patience: float = 10) -> Starter:
    """A starter whose recompute is a function."""
    return Starter("https://recompute", patience=patience, call=call)


def test_a_run_that_ended_before_the_lease_was_seen_is_named() -> None:
    """A small database is counted in no time."""
    asked: list[object] = []

    def call(url: str, options: Mapping[str, object]) -> Answer:
        asked.extend((url, options))
        return 200, {"run_id": "r1"}

    assert starter(call).start({"strategy": "scan"}, nobody) == "r1"
    assert asked == ["https://recompute", {"strategy": "scan"}]


def test_a_run_that_goes_on_is_named_as_soon_as_it_holds_the_lease() -> None:
    """The caller does not wait for its end."""
    begun, ended = threading.Event(), threading.Event()

    def call(*_: object) -> Answer:
        begun.set()
        ended.wait(60)
        return 200, {"run_id": "r1"}

    assert starter(call).start({}, lambda: "r1" if begun.is_set() else None) == "r1"
    ended.set()


def test_another_run_that_comes_first_is_not_taken_for_this_one() -> None:
    """It takes the lease between the look and the call; the recompute answers 409."""
    looks: list[None] = []

    def held() -> str | None:
        looks.append(None)
        return "another" if len(looks) > 1 else None

    def call(*_: object) -> Answer:
        return 409, {"reason": "run another holds the lease"}

    with pytest.raises(Problem) as raised:
        starter(call).start({}, held)
    assert (raised.value.status_code, raised.value.detail) == (409, "run another holds the lease")


def test_while_a_run_is_under_way_none_is_asked_for() -> None:
    """409 names it."""

    def call(*_: object) -> Answer:
        raise AssertionError("it was called")

    with pytest.raises(Problem) as raised:
        starter(call).start({}, lambda: "r1")
    assert (raised.value.status_code, raised.value.members) == (409, {"run_id": "r1"})


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        ((400, {"reason": "strategy scan cannot count this"}), 400, "strategy scan cannot count this"),
        ((500, {"reason": "secret"}), 502, "the recompute failed"),
        ((403, {}), 502, "the recompute failed"),
        ((200, {}), 502, "the recompute failed"),
        (httpx.ConnectError("secret"), 502, "the recompute cannot be called"),
        (httpx.ReadTimeout("secret"), 502, "the recompute cannot be called"),
        (DefaultCredentialsError("secret"), 502, "the recompute cannot be called"),  # type: ignore[no-untyped-call]  # as it comes
    ],
    ids=repr,
)
def test_what_the_recompute_answers_is_told_without_its_secrets(
    answer: Answer | Exception, status: int, detail: str
) -> None:
    """What is wrong with the options is the caller's affair; a failure's text is not."""

    def call(*_: object) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(Problem) as raised:
        starter(call).start({}, nobody)
    assert raised.value.status_code == status
    assert detail in raised.value.detail
    assert "secret" not in raised.value.detail


def test_a_run_that_does_not_begin_is_not_waited_for_for_ever() -> None:
    """504, and where to look later."""
    ended = threading.Event()

    def call(*_: object) -> Answer:
        ended.wait(60)
        return 200, {"run_id": "r1"}

    with pytest.raises(Problem) as raised:
        starter(call, patience=0.1).start({}, nobody)
    ended.set()
    assert raised.value.status_code == 504
    assert "/v1/runs" in raised.value.detail


def test_without_an_address_nothing_is_started() -> None:
    """The message names the variable."""
    with pytest.raises(Problem, match="LIBRA_API_RECOMPUTE_URL") as raised:
        Starter(None, patience=1).start({}, nobody)
    assert raised.value.status_code == 501


@pytest.mark.parametrize(
    ("url", "header"), [("https://recompute", "Bearer for https://recompute"), ("http://127.0.0.1:1", None)]
)
def test_a_token_goes_to_the_cloud_alone(
    monkeypatch: pytest.MonkeyPatch, url: str, header: str | None
) -> None:
    """A recompute on this machine takes none; and an answer that is no JSON object is an empty one."""
    sent: dict[str, Any] = {}

    def post(_: str, **options: Any) -> httpx.Response:
        sent.update(options)
        return httpx.Response(200, text="[]")

    monkeypatch.setattr(httpx, "post", post)
    assert ask(url, {"strategy": "auto"}, lambda to: f"for {to}") == (200, {})
    assert sent["headers"].get("Authorization") == header
    assert sent["json"] == {"strategy": "auto"}
