"""Tenants' secrets in Secret Manager: what it may answer, and the code and advice that it becomes."""

import base64
from typing import Any

import google.auth
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, TransportError
from google.auth.transport.requests import AuthorizedSession

from services.ingestion import secrets
from services.ingestion.errors import PartError, Unavailable

NAME = "projects/shop/secrets/acme-sftp/versions/latest"


def answering(monkeypatch: pytest.MonkeyPatch, answer: int | Exception, content: bytes = b"{}") -> None:
    """Secret Manager answers so, or does not."""

    def get(*_: object, **__: object) -> requests.Response:
        if isinstance(answer, Exception):
            raise answer
        made = requests.Response()
        made.status_code, made._content = answer, content
        return made

    def default(**_: object) -> tuple[Any, str]:
        return AnonymousCredentials(), "shop"  # type: ignore[no-untyped-call]  # as it comes

    monkeypatch.setattr(google.auth, "default", default)
    monkeypatch.setattr(AuthorizedSession, "get", get)


def test_a_secret_is_what_its_version_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever characters it has."""
    held = base64.b64encode("pässword\n".encode()).decode()
    answering(monkeypatch, 200, b'{"payload": {"data": "%s"}}' % held.encode())
    assert secrets.of_secret_manager(NAME) == "pässword\n"


@pytest.mark.parametrize(
    ("answer", "code", "advice"),
    [
        (403, "credentials", "grant roles/secretmanager.secretAccessor"),
        (404, "credentials", "grant roles/secretmanager.secretAccessor"),
        (DefaultCredentialsError("none"), "credentials", "cannot be asked"),  # type: ignore[no-untyped-call]
        (429, "unavailable", "start again later"),
        (503, "unavailable", "start again later"),
        (requests.ConnectTimeout(), "network", "look at the network"),
        (TransportError("no route"), "network", "look at the network"),  # type: ignore[no-untyped-call]
    ],
)
def test_each_refusal_has_its_code_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, answer: int | Exception, code: str, advice: str
) -> None:
    """What may go better is another class: it is tried again, and not only in the next night."""
    answering(monkeypatch, answer)
    with pytest.raises(PartError, match=NAME) as found:
        secrets.of_secret_manager(NAME)
    assert (found.value.code, isinstance(found.value, Unavailable)) == (code, code != "credentials")
    assert advice in str(found.value)
