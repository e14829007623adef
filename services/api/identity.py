"""What each caller may do, as `firestore.rules` says it.

Anyone signed in reads the totals. The claim ``libra`` with the value ``operator`` reads everything and starts
recomputes. A Google account is an operator if `LIBRA_API_OPERATORS` names it.
"""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.http.identity import Identity, Verifier, refused
from shared.http.problems import Problem

_bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    description="A Firebase ID token, or the ID token of a Google account in LIBRA_API_OPERATORS.",
)


def signed_in(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Identity:
    """The caller, who has signed in. Not a coroutine, so that FastAPI verifies the token in a thread.

    Raises:
        Problem: 401, nobody is signed in.
    """
    if bearer is None:
        raise refused("no bearer token: send Authorization: Bearer TOKEN")
    verifier: Verifier = request.app.state.verifier
    return verifier.identity(bearer.credentials)


def operator(caller: Annotated[Identity, Depends(signed_in)]) -> Identity:
    """The caller, who is an operator.

    Raises:
        Problem: 401, nobody is signed in; 403, it is somebody else.
    """
    if caller.account is None and caller.role != "operator":
        raise Problem(
            403, "this takes the role operator: the claim libra of the token is another, or there is none"
        )
    return caller
