"""What the collector takes and answers, as OpenAPI shows it. The route itself does without."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from services.collector import body
from shared.http import problems
from shared.http.responses import SIGNED_IN
from shared.http.responses import problems as problems_of


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


_REF = "#/components/schemas/{model}"
_EVENT = {"type": "object", "description": "The fields of one event, as its source declares them."}
_MANY = {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": body.MAX_EVENTS}
_ANSWER = {"application/json": {"schema": {"$ref": _REF.format(model=Answer.__name__)}}}
_OPERATION = {
    "tags": ["events"],
    "operationId": "send",
    "summary": "Send",
    "description": (
        "Take one event, an array of them, or NDJSON: up to 1,000 in 1 MiB, which may be packed with gzip."
    ),
    "parameters": [
        {
            "name": "source",
            "in": "path",
            "required": True,
            "description": "The name of a source.",
            "schema": {"type": "string"},
            "example": "user_events",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            body.JSON[0]: {"schema": {"oneOf": [_EVENT, _MANY]}},
            body.NDJSON[0]: {"schema": {"type": "string", "description": "An event a line."}},
        },
    },
    "responses": {
        "200": {"description": "Every valid event is in the totals.", "content": _ANSWER},
        "202": {"description": "Pub/Sub has every valid event.", "content": _ANSWER},
        **{str(status): said for status, said in problems_of(*SIGNED_IN, 404, 415, 429).items()},
    },
    "security": [{"key": []}, {"bearer": []}],
}


def described(path: str) -> dict[str, dict[str, Any]]:
    """The route at that path, for `shared.http.application`."""
    answer = Answer.model_json_schema(ref_template=_REF)
    return {
        "paths": {path: {"post": _OPERATION}},
        "schemas": {**answer.pop("$defs"), Answer.__name__: answer},
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or an ID token."},
        },
    }
