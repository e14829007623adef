"""Whether the process runs, and whether it can read. The platform asks; nobody has to be signed in."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.api.books import Read
from services.api.responses import problems

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """It is well."""

    status: str = Field(examples=["ok"])


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the process answers. It reads nothing, so a Firestore that is down restarts no process."""
    return Health(status="ok")


@router.get("/readyz", responses=problems(503))
def readyz(books: Read) -> Health:
    """Whether Firestore answers. It costs one document read."""
    books.ready()
    return Health(status="ok")
