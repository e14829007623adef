"""`GET /v1/usage/{merchant}`: what it asks of the books, how it answers, and where there are no books."""

from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from libra.client import ApiError, Client
from libra.records import UsageWindow
from services.api import usage as api_usage
from services.api.application import application
from services.api.settings import ApiSettings
from services.api.usage import Usage
from shared.errors import SettingError
from shared.usage import Read, Window
from tests.support.api import ENVIRONMENT, PROJECT, Api, check_problem, token
from tests.support.bridge import Bridge

THROUGH = datetime(2026, 11, 24, 6, tzinfo=UTC)


class Books(Usage):
    """Books with one answer; they keep what was asked."""

    def __init__(self) -> None:
        super().__init__(None, patience=timedelta(seconds=1))
        self.asked: list[tuple[object, ...]] = []

    def windows(self, merchant: str, by: str, first: date | None, last: date | None) -> Read:
        """Two windows, whatever is asked."""
        self.asked.append((merchant, by, first, last))
        begin = THROUGH if by == "hour" else date(2026, 11, 24)
        return Read(THROUGH, [Window(begin, "calls", 2**53, sealed=False), Window(begin, "pages", 1, True)])


@pytest.fixture
def books() -> Books:
    """What the API asks."""
    return Books()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, books: Books) -> Api:
    """An API with these books."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    return Api(application(ApiSettings.from_environment(ENVIRONMENT), usage=books), PROJECT)


def bare(monkeypatch: pytest.MonkeyPatch, **given: str) -> Api:
    """An API of this environment."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    return Api(application(ApiSettings.from_environment(ENVIRONMENT | given)), PROJECT)


def test_a_merchant_is_asked_for_by_window_and_dates(api: Api, books: Books) -> None:
    """The merchant's id is decoded, and the window is a day unless another is named."""
    answer = api.get("/v1/usage/Mac%2FCheese")
    assert answer.json() == {
        "exact_through": "2026-11-24T06:00:00Z",
        "windows": [
            {"begin": "2026-11-24", "metric": "calls", "value": 2**53, "sealed": False},
            {"begin": "2026-11-24", "metric": "pages", "value": 1, "sealed": True},
        ],
    }
    hours = api.get("/v1/usage/%F0%9F%8D%9D?by=hour&from=2026-11-01&to=2026-11-30").json()
    assert {it["begin"] for it in hours["windows"]} == {"2026-11-24T06:00:00Z"}
    assert books.asked == [
        ("Mac/Cheese", "day", None, None),
        ("🍝", "hour", date(2026, 11, 1), date(2026, 11, 30)),
    ]


def test_only_an_operator_reads_it(api: Api, books: Books) -> None:
    """What a merchant pays for is nobody else's to read."""
    for role, status in (("reader", 403), ("device", 403), (None, 401)):
        check_problem(api.get("/v1/usage/m", role=role if role != "reader" else ""), status)
    assert books.asked == []


@pytest.mark.parametrize(
    "target", ["m?by=year", "m?from=yesterday", "%00", "m" * 257, "%FF"], ids=lambda it: it[:20]
)
def test_what_cannot_be_asked_is_refused(api: Api, books: Books, target: str) -> None:
    """Before PostgreSQL is asked."""
    check_problem(api.get(f"/v1/usage/{target}"), 422)
    assert books.asked == []


def test_without_postgresql_it_says_which_variable_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """404, which is no failure of the service: nothing is read here."""
    problem = check_problem(bare(monkeypatch).get("/v1/usage/m"), 404)
    said = "LIBRA_POSTGRES_URL is not set; ./deploy.sh up --api-usage-secret=SECRET:VERSION sets it"
    assert problem["detail"] == f"this API reads no usage: {said}"


def test_an_address_that_nothing_here_could_use_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image was built without usage. The address, which holds a password, is not shown."""
    monkeypatch.setattr(api_usage, "find_spec", lambda name: None if name == "psycopg" else name)
    with pytest.raises(SettingError, match=r"LIBRA_POSTGRES_URL.*without psycopg") as caught:
        bare(monkeypatch, LIBRA_POSTGRES_URL="postgresql://u:secret@h/d")
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next request tries again."""
    api = bare(monkeypatch, LIBRA_POSTGRES_URL="postgresql://u:secret@127.0.0.1:1/d")
    for _ in range(2):
        problem = check_problem(api.get("/v1/usage/m"), 503)
        assert problem["detail"] == "PostgreSQL did not answer as it should: try again"


def test_the_client_asks_for_it(api: Api, books: Books) -> None:
    """Dates as dates, and a record of each window."""
    signed = token(PROJECT, "operator")
    with Client("http://api", signed, transport=Bridge(api)) as client:
        found = client.usage("a/b", by="month", start=date(2026, 11, 1))
    assert found.exact_through == THROUGH
    assert found.windows[1] == UsageWindow("2026-11-24", "pages", 1, sealed=True)
    assert books.asked == [("a/b", "month", date(2026, 11, 1), None)]
    refused = httpx.MockTransport(lambda _: httpx.Response(404, json={"detail": "no"}))
    with Client("http://api", signed, transport=refused) as client, pytest.raises(ApiError):
        client.usage("m")
