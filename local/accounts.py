"""People for the local suite's Auth emulator: one for each role that firestore.rules knows to read."""

import json
from dataclasses import dataclass

import httpx

OWNER = {"Authorization": "Bearer owner"}
"""The emulator's administrator."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can sign in to the local suite."""

    email: str
    password: str
    role: str
    """The claim `libra`; empty for somebody who only reads totals."""


PREPARED = (
    Account("operator@libra.example", "libra-demo", "operator"),
    Account("viewer@libra.example", "libra-demo", ""),
)


def prepare(address: str, project: str) -> None:
    """Create the prepared accounts.

    Args:
        address: of the Auth emulator, `host:port`.
        project: the suite's project.
    """
    identity = f"http://{address}/identitytoolkit.googleapis.com/v1"
    with httpx.Client(timeout=30, headers=OWNER) as http:
        for account in PREPARED:
            body = {"email": account.email, "password": account.password}
            created = http.post(f"{identity}/projects/{project}/accounts", json=body).raise_for_status()
            claims = {"libra": account.role} if account.role else {}
            update = {"localId": created.json()["localId"], "customAttributes": json.dumps(claims)}
            http.post(f"{identity}/projects/{project}/accounts:update", json=update).raise_for_status()
