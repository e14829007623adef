"""Validates the collector's bodies with pydantic and drops them. Nobody is asked for a key."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import FastAPI
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

app = FastAPI()


def _in_time(value: datetime) -> datetime:
    if not timedelta(days=-366) <= value - datetime.now(UTC) <= timedelta(hours=1):
        raise ValueError("a time from 366 days before now to 1 hour after it")
    return value


def _text(most: int) -> object:
    return Field(min_length=1, max_length=most)


class Event(BaseModel):
    """What `shared/schemas.py` declares of `user_events`."""

    model_config = ConfigDict(extra="forbid", strict=False)

    event_id: Annotated[str, _text(256)]
    user_id: Annotated[str, _text(256)]
    event_type: Annotated[str, _text(100)]
    session_id: Annotated[str | None, _text(256)] = None
    page: Annotated[str | None, _text(1_500)] = None
    product_id: Annotated[str | None, _text(256)] = None
    value: Annotated[float | None, Field(ge=-1e12, le=1e12)] = None
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_time)]


@app.post("/v1/events/user_events", status_code=202)
async def send(events: Event | Annotated[list[Event], Field(min_length=1, max_length=1_000)]) -> int:
    """Take events; the answer is how many."""
    return len(events) if isinstance(events, list) else 1
