"""Whether the process runs, and whether it can work. The platform asks; nobody has to be signed in."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request

from shared.http.responses import problems

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """It is well."""

    status: str = Field(examples=["ok"])


def _ready(request: Request) -> Callable[[], None]:
    ready: Callable[[], None] = request.app.state.ready
    return ready


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the process answers. It reads nothing, so a Firestore that is down restarts no process."""
    return Health(status="ok")


@router.get("/readyz", responses=problems(503))
def readyz(ready: Annotated[Callable[[], None], Depends(_ready)]) -> Health:
    """Whether what the service works with answers. It costs one document read."""
    ready()
    return Health(status="ok")
