"""The API in this process: what signs in, and what asks it without a server."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
from fastapi import FastAPI

PROJECT = "demo-kitchen"
ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": PROJECT,
    "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1",
    "LIBRA_API_AUDIENCE": "https://api.example",
    "LIBRA_API_OPERATORS": "job@kitchen.iam.gserviceaccount.com, ann@example.com",
}
"""Of an application whose Firestore does not answer."""
ROLES = {"anonymous": None, "reader": "", "device": "device", "operator": "operator"}
"""The claim `libra` of each kind of caller; None: nobody is signed in."""


def token(project: str, role: str = "", **claims: object) -> str:
    """A token as Firebase's auth emulator makes them: nobody signed it."""
    said = {
        "iss": f"https://securetoken.google.com/{project}",
        "aud": project,
        "sub": "somebody",
        **({"libra": role} if role else {}),
        **claims,
    }
    return jwt.encode(said, key="", algorithm="none")


class Api:
    """Asks an application in this process, one request at a time.

    Attributes:
        project: whose tokens it takes.
    """

    def __init__(self, app: FastAPI, project: str) -> None:
        self.app = app
        self.project = project

    def ask(
        self,
        method: str,
        path: str,
        *,
        role: str | None = "operator",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Send a request as a caller of this role; None: without a token."""
        signed = {} if role is None else {"Authorization": f"Bearer {token(self.project, role)}"}

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, headers={**signed, **(headers or {})}, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET, as an operator unless another role is named."""
        return self.ask("GET", path, **options)


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "private, no-store"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["detail"]
    assert body.keys() <= {"type", "title", "status", "detail", "run_id", "source", "outcomes", "events"}
    return body
