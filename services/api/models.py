"""What the API answers, as OpenAPI shows it. Records of `shared.windows` become these by their attributes.

Times are RFC 3339 in UTC. Integers have up to 64 bits: JavaScript reads those above 2^53 only by `BigInt`.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Part = str | bool | int
Values = Annotated[
    dict[str, int], Field(description="By measure; 0 where nothing was counted.", examples=[{"count": 42}])
]
Moment = Annotated[datetime, Field(examples=["2025-09-05T01:50:00Z"])]


NEXT: Any = Field(description="`after` of the next page; null: this page is the last one.", examples=[None])


class Answer(BaseModel):
    """What every model has."""

    model_config = ConfigDict(from_attributes=True)


class KeyPart(Answer):
    """A part of a key."""

    name: str = Field(examples=["ingredient"])
    field: str = Field(description="The entry's field.", examples=["ingredient"])
    kind: str = Field(description="string, integer, boolean, or the grain of time.", examples=["string"])
    zone: str | None = Field(default=None, description="The zone of a grain of time.")


class Aggregation(Answer):
    """One set of totals."""

    name: str = Field(examples=["aggregates_categories"])
    key: list[KeyPart]
    measures: list[str] = Field(description="What `values` of a total hold.", examples=[["count"]])
    where: str | None = Field(description="Which entries are counted; null: all.")


class Aggregations(Answer):
    """What is counted."""

    source: str = Field(examples=["libra"])
    aggregations: list[Aggregation]


class Total(Answer):
    """A total, and how far it is proven."""

    aggregation: str = Field(examples=["aggregates_categories"])
    id: str = Field(description="The id of its document.", examples=["Kettle Chips"])
    key: Part | list[Part] | None = Field(
        description="What it counts; one value for each part of a composite key. "
        "Null: the document is no total of this aggregation.",
        examples=["Kettle Chips"],
    )
    values: Values
    exact_through: Moment | None = Field(
        description="`values` less `pending` is exact for every change up to this time; null: for none."
    )
    pending: Values = Field(description="What `values` hold of later changes, which no recompute has proven.")
    settled: bool = Field(
        description="False after a recompute has sealed a later time, until one completes: `values` less "
        "`pending` may be exact at that time instead."
    )
    archived: Values = Field(description="What `values` hold of entries that have been archived.")
    extremes: Values = Field(description="Least and greatest values, by name, as of the last recompute.")
    updated_at: Moment | None


class Totals(Answer):
    """A page of totals."""

    exact_through: Moment | None = Field(description="How far the totals of this aggregation are proven.")
    totals: list[Total]
    next: str | None = NEXT


class Run(Answer):
    """A recompute."""

    run_id: str = Field(examples=["20250905T020000Z-0a1b2c3d"])
    state: str = Field(description="queued, processing, completed or failed.", examples=["completed"])
    started: Moment
    watermark: Moment | None = Field(description="Up to when it proved the totals.")
    strategy: str | None = Field(examples=["index"])
    entries: int | None = Field(description="How many entries it counted.")
    drift: int | None = Field(description="By how much the totals were wrong, added up.")
    corrected: int | None = Field(description="How many totals it corrected.")
    seconds: float | None
    error: str | None


class RunDetail(Answer):
    """A recompute with its whole record."""

    run: Run
    record: dict[str, Any] = Field(
        description="The fields of its record: corrections, notes and so on (docs/recompute.md)."
    )


class Runs(Answer):
    """A page of recomputes, the newest first."""

    runs: list[Run]
    next: str | None = NEXT


class Started(Answer):
    """A recompute that has been started. `GET /v1/runs/{run_id}` says how it goes."""

    run_id: str = Field(examples=["20250905T020000Z-0a1b2c3d"])


class AggregationFreshness(Answer):
    """How one aggregation stands."""

    name: str = Field(examples=["aggregates_categories"])
    state: str = Field(description="exact; filling or unseen: not exact yet.", examples=["exact"])
    exact_through: Moment | None
    pending: int = Field(description="How many changes were counted since, and are not proven yet.")


class SourceFreshness(Answer):
    """How fresh and how certain the totals of a source are."""

    source: str = Field(examples=["libra"])
    at: Moment = Field(description="When that was so, by Firestore's clock.")
    watermark: Moment | None = Field(description="Of the last completed recompute; null before the first.")
    lag_seconds: float | None = Field(description="How long ago the watermark was.")
    sealed: Moment | None = Field(
        description="Later than the watermark while a recompute is under way, and after one that failed."
    )
    run_id: str | None = Field(description="The recompute that is under way.")
    aggregations: list[AggregationFreshness]


class Freshness(Answer):
    """How fresh and how certain the totals are."""

    sources: list[SourceFreshness]


class Piece(Answer):
    """An entry that lives, and what it adds to the total."""

    id: str = Field(examples=["e1"])
    adds: Values
    running: Values = Field(description="What this entry and those before it add, of all pages.")
    committed: Moment = Field(description="When its current version was committed.")
    state: str = Field(description="As of `GET /v1/entries/{id}/status`.", examples=["verified"])


class Explanation(Answer):
    """A page of what makes a total."""

    total: Total
    at: Moment = Field(description="All pages are as of this instant.")
    entries: list[Piece]
    next: str | None = NEXT
    reads: int = Field(description="How many document reads this page cost.")
    waiting: Values = Field(description="What the entries so far add that no trigger has counted yet.")
    unexplained: dict[str, int] | None = Field(
        description="What neither living nor archived entries explain; null: only the last page can say."
    )
    reasons: list[str] = Field(description="Why that is not zero, as far as it is known.")


class Series(Answer):
    """Totals by time, without holes."""

    exact_through: Moment | None = Field(description="How far the totals of this aggregation are proven.")
    totals: list[Total]


class UsageWindow(Answer):
    """What a merchant has used of a metric in one window."""

    begin: str = Field(
        description="The first date, or the instant at which the hour begins.", examples=["2026-11-24"]
    )
    metric: str = Field(examples=["api_calls"])
    value: int = Field(examples=[1204])
    sealed: bool = Field(description="Whether every hour of it that has usage is sealed.")


class Usage(Answer):
    """What a merchant has used, as of one instant."""

    exact_through: Moment | None = Field(
        description="Hours that ended by then are sealed: late usage is set aside. Null: no hour is."
    )
    windows: list[UsageWindow]


class Rejection(Answer):
    """Why an aggregation could not count an entry. It never holds the value."""

    reason: str
    aggregation: str | None = None
    field: str | None = None


class EntryStatus(Answer):
    """What became of an entry."""

    id: str = Field(examples=["e1"])
    state: str = Field(
        description="verified, applied, received, unsure, uncounted, gone or unknown (docs/api.md).",
        examples=["verified"],
    )
    created: Moment | None
    updated: Moment | None = Field(description="When its current version was committed.")
    rejections: list[Rejection] = Field(description="What cannot be counted, by the declarations of today.")
    recorded: list[Rejection] = Field(description="The reasons in its record among the rejected.")
    exact_through: Moment | None = Field(description="The watermark that this is measured against.")


class Entry(Answer):
    """An entry as it is stored."""

    id: str = Field(examples=["e1"])
    fields: dict[str, Any]
    created: Moment
    updated: Moment = Field(description="When its current version was committed.")


class Entries(Answer):
    """A page of entries."""

    entries: list[Entry]
    next: str | None = NEXT


class Locations(Answer):
    """A page of the locations that entries name."""

    locations: list[str] = Field(examples=[["Caldo Office"]])
    next: str | None = NEXT


class Rejected(Answer):
    """A version of an entry that could not be counted, or an event that describes none."""

    id: str = Field(description="Of its record.")
    entry: str | None = Field(description="The entry's id; null: the event describes no entry.")
    event: str | None = Field(description="The event's id, where it describes no entry.")
    version: Moment | None = Field(description="The update time of the version.")
    reasons: list[Rejection]
    rejected_at: Moment | None


class RejectedPage(Answer):
    """A page of what could not be counted, the latest first."""

    rejected: list[Rejected]
    next: str | None = NEXT


class Retried(Answer):
    """What a second look found."""

    verdict: str = Field(
        description="counted, waiting, rejected, replaced or malformed (docs/api.md).", examples=["waiting"]
    )
    removed: bool = Field(description="Whether the record was out of date and is gone.")
    reasons: list[Rejection] = Field(description="Why it cannot be counted, by the declarations of today.")
