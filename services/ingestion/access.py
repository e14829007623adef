"""Who may ask for which tenant.

A tenant's own token asks for that tenant. An operator, who is a Google account that
`LIBRA_INGESTION_ACCOUNTS` names or has the claim ``libra`` with the value ``operator``, asks for each.
"""

from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.ingestion.tenants import PREFIX, Tenant, TenantError, Tenants
from shared.http.identity import Verifier, refused
from shared.http.problems import Problem, shown

_bearer = HTTPBearer(
    auto_error=False,
    description="A tenant's token (`libra tenant add` prints it), or an operator's ID token.",
)


def tenant(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    x_tenant_id: Annotated[str, Header(description="The tenant.", examples=["acme"])],
) -> Tenant:
    """The tenant that is asked for, by somebody who may. Not a coroutine: it runs in a thread.

    Raises:
        Problem: 401, nobody who is known, or another tenant's token; 403, no operator; 404, an operator asks
            for a tenant that is not there.
    """
    if bearer is None:
        raise refused("no bearer token: send Authorization: Bearer TOKEN")
    tenants = Tenants(request.app.state.books())
    if bearer.credentials.startswith(PREFIX):
        if not tenants.knows(x_tenant_id, bearer.credentials):
            raise refused(f"not a token of the tenant {shown(x_tenant_id)}: it is unknown, or it was rotated")
    else:
        verifier: Verifier = request.app.state.verifier
        caller = verifier.identity(bearer.credentials)
        if caller.account is None and caller.role != "operator":
            raise Problem(403, "this takes a tenant's token, or the role operator")
    try:
        return tenants.find(x_tenant_id)
    except TenantError as error:
        raise Problem(404, str(error)) from None


OfTenant = Annotated[Tenant, Depends(tenant)]
