"""Who the API takes for whom: tokens of the auth emulator, of Firebase and of Google."""

import base64
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import formatdate
from typing import Any

import google.auth.exceptions
import google.oauth2.id_token
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from local.process import wait_until
from services.api.application import application
from services.api.settings import ApiSettings
from shared.http.identity import FETCH_SECONDS, PAUSE_SECONDS, Verifier
from shared.http.problems import Problem
from tests.support.api import ENVIRONMENT, PROJECT, Api, check_problem, token
from tests.support.collector import Clock
from tests.support.signing import Signer

FETCH = google.oauth2.id_token._fetch_certs
"""As the package has it."""


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Api:
    """An application that takes the tokens of the auth emulator."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    return Api(application(ApiSettings.from_environment(ENVIRONMENT)), PROJECT)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "no bearer token"),
        ("Basic dXNlcjpwYXNz", "no bearer token"),
        ("Bearer ", "no"),
        ("Bearer x.y.z", f"not a Firebase ID token of the project {PROJECT}"),
        ("Bearer " + "x" * 9_000, "more than 8192 characters"),
        (f"Bearer {token('demo-other')}", f"not a Firebase ID token of the project {PROJECT}"),
        (f"Bearer {token(PROJECT, sub='')}", "not a Firebase ID token"),
    ],
)
def test_who_is_not_signed_in_gets_nothing(emulated: Api, header: str | None, reason: str) -> None:
    """401 says what would be taken, and that a bearer token is."""
    headers = {} if header is None else {"Authorization": header}
    answer = emulated.get("/v1/aggregations", role=None, headers=headers)
    assert reason in check_problem(answer, 401)["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> tuple[Api, Signer]:
    """An application as it is deployed: it takes what Google's keys signed, and nothing else."""
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    return Api(application(ApiSettings.from_environment(ENVIRONMENT)), PROJECT), Signer(monkeypatch)


FIREBASE = {"iss": f"https://securetoken.google.com/{PROJECT}", "aud": PROJECT}
GOOGLE = {
    "iss": "https://accounts.google.com",
    "aud": "https://api.example",
    "email": "ann@example.com",
    "email_verified": True,
}


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        (FIREBASE, 200),
        (FIREBASE | {"aud": "another"}, 401),
        (GOOGLE, 200),
        (GOOGLE | {"email": "job@kitchen.iam.gserviceaccount.com"}, 200),
        (GOOGLE | {"email": "eve@example.com"}, 403),
        (GOOGLE | {"email_verified": False}, 403),
        (GOOGLE | {"aud": "https://elsewhere.example"}, 401),
        (FIREBASE | {"iss": "https://accounts.google.com"}, 401),
        (GOOGLE | {"iss": f"https://securetoken.google.com/{PROJECT}"}, 401),
    ],
)
def test_a_signed_token_is_taken_for_what_it_says(
    signed: tuple[Api, Signer], claims: dict[str, Any], status: int
) -> None:
    """Firebase's tokens of this project; Google's for this API, of the accounts that are named."""
    api, signer = signed
    headers = {"Authorization": f"Bearer {signer.token(claims)}"}
    answer = api.get("/v1/aggregations", role=None, headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("issuer", [[], {}, 7, None])
def test_an_issuer_that_is_no_text_is_refused(signed: tuple[Api, Signer], issuer: object) -> None:
    """Nobody need sign it: an answer of 500 would be theirs to order."""
    parts: tuple[dict[str, object], ...] = ({"alg": "RS256"}, {"iss": issuer}, {})
    token = ".".join(base64.urlsafe_b64encode(json.dumps(it).encode()).decode().rstrip("=") for it in parts)
    api, _ = signed
    check_problem(api.get("/v1/aggregations", role=None, headers={"Authorization": f"Bearer {token}"}), 401)


@pytest.mark.parametrize("claims", [FIREBASE, GOOGLE], ids=["Firebase", "Google"])
def test_an_expired_token_is_refused(signed: tuple[Api, Signer], claims: dict[str, Any]) -> None:
    """However well it is signed."""
    api, signer = signed
    bearer = signer.token(claims, lasts=timedelta(seconds=-60))
    check_problem(api.get("/v1/aggregations", role=None, headers={"Authorization": f"Bearer {bearer}"}), 401)


def test_a_token_that_somebody_else_signed_is_refused(
    signed: tuple[Api, Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key with the same name; and a token that nobody signed, outside of the emulator."""
    api, signer = signed
    forged = signer.token(FIREBASE)
    Signer(monkeypatch)
    for bearer in (forged, token(PROJECT, "operator")):
        answer = api.get("/v1/aggregations", role=None, headers={"Authorization": f"Bearer {bearer}"})
        check_problem(answer, 401)


def test_without_an_audience_no_google_token_is_taken(signed: tuple[Api, Signer]) -> None:
    """A token for any other service must not open this one."""
    settings = ApiSettings.from_environment({"GOOGLE_CLOUD_PROJECT": PROJECT})
    headers = {"Authorization": f"Bearer {signed[1].token(GOOGLE)}"}
    answer = Api(application(settings), PROJECT).get("/v1/aggregations", role=None, headers=headers)
    assert "LIBRA_API_AUDIENCE" in check_problem(answer, 401)["detail"]


def test_keys_that_cannot_be_had_are_no_fault_of_the_caller(
    signed: tuple[Api, Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, not 401: the same token may be taken a moment later."""

    def unreachable(*_: object) -> None:
        raise google.auth.exceptions.TransportError("secret")  # type: ignore[no-untyped-call]  # as it comes

    monkeypatch.setattr(google.oauth2.id_token, "_fetch_certs", unreachable)
    for claims in (FIREBASE, GOOGLE):
        headers = {"Authorization": f"Bearer {signed[1].token(claims)}"}
        answer = signed[0].get("/v1/aggregations", role=None, headers=headers)
        check_problem(answer, 503)
        assert "secret" not in answer.text


@pytest.mark.parametrize("claims", [FIREBASE, GOOGLE], ids=["Firebase", "Google"])
def test_keys_that_do_not_come_are_waited_for_by_one_and_for_a_while(
    signed: tuple[Api, Signer], monkeypatch: pytest.MonkeyPatch, claims: dict[str, Any]
) -> None:
    """Google does not answer: one request of many asks it, within a bound, and the next one after a pause."""
    bearer, timeouts, silent, clock = signed[1].token(claims), [], threading.Event(), Clock()
    many = 20

    def send(_: HTTPAdapter, __: requests.PreparedRequest, *options: object) -> requests.Response:
        timeouts.append(options[1])
        assert silent.wait(60)
        raise requests.ConnectionError("no answer")

    monkeypatch.setattr(google.oauth2.id_token, "_fetch_certs", FETCH)
    monkeypatch.setattr(HTTPAdapter, "send", send)
    verifier = Verifier(ApiSettings.from_environment(ENVIRONMENT).tokens, clock)

    def status(_: int) -> int:
        with pytest.raises(Problem) as caught:
            verifier.identity(bearer)
        return caught.value.status_code

    with ThreadPoolExecutor(many) as threads:
        answers = threads.map(status, range(many))
        wait_until(lambda: len(timeouts) == 1, seconds=60, what="one asks")
        silent.set()
        assert list(answers) == [503] * many
    assert timeouts == [FETCH_SECONDS]
    clock.now += PAUSE_SECONDS
    assert status(0) == 503
    assert timeouts == [FETCH_SECONDS] * 2


class Body(io.BytesIO):
    """An answer's body that says when it has been read, as that of a connection does."""

    @property
    def fp(self) -> io.BytesIO | None:
        """None at its end."""
        return None if self.tell() == self.getbuffer().nbytes else self


def test_googles_keys_are_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as Google says that they may be kept; a request to the API costs no other one."""
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    fetched: list[str] = []

    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, *_: object) -> requests.Response:
        fetched.append(str(request.url))
        raw = urllib3.HTTPResponse(
            Body(json.dumps({"k": signer.certificate}).encode()),
            headers={"cache-control": "public, max-age=3600", "date": formatdate(usegmt=True)},
            status=200,
            preload_content=False,
        )
        return adapter.build_response(request, raw)

    with monkeypatch.context() as patched:
        signer = Signer(patched)
    monkeypatch.setattr(HTTPAdapter, "send", send)
    api = Api(application(ApiSettings.from_environment(ENVIRONMENT)), PROJECT)
    headers = {"Authorization": f"Bearer {signer.token(GOOGLE)}"}
    for _ in range(3):
        assert api.get("/v1/aggregations", role=None, headers=headers).status_code == 200
    assert len(fetched) == 1
