"""What the collector answers, as OpenAPI shows it. Answers are made without these, in `application`."""

from typing import Literal

from pydantic import BaseModel, Field

from shared.http import problems


class Violation(BaseModel):
    """What is wrong with one field of an event."""

    field: str = Field(description="The field's name; empty: the event as a whole.", examples=["timestamp"])
    found: str = Field(
        description="What was found: its type or its size, not its value.", examples=["nothing"]
    )
    allowed: str = Field(description="What is allowed.", examples=["a value"])


class Event(BaseModel):
    """What became of one event."""

    index: int = Field(description="Its place in the body, from 0.")
    id: str | None = Field(description="What names it; null: it cannot be read.", examples=["e1"])
    outcome: Literal["accepted", "counted", "duplicate", "invalid", "unavailable"] = Field(
        description=(
            "`accepted`: Pub/Sub has it. `counted`: the totals have it. `duplicate`: it came before, and is "
            "as safe. `invalid`: it never can be taken. `unavailable`: send it again."
        )
    )
    violations: list[Violation] = Field(default_factory=list, description="Everything that is wrong with it.")


class Answer(BaseModel):
    """What became of the events of a body."""

    source: str = Field(examples=["user_events"])
    outcomes: dict[str, int] = Field(description="How many there are of each.", examples=[{"accepted": 1}])
    events: list[Event]


class ProblemBody(problems.ProblemBody):
    """What went wrong (RFC 9457)."""

    source: str | None = None
    outcomes: dict[str, int] | None = None
    events: list[Event] | None = Field(default=None, description="What became of each, if they were read.")
