"""Cursors: what a page gave out comes back, and what anybody else made up is refused."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from types import NoneType
from typing import Any

import pytest

from shared.errors import Unanswerable
from shared.windows import explain
from shared.windows.paging import cursor, position
from tests.support.recomputing import World

NOON = datetime(2025, 9, 4, 12, 0, 0, 123456, tzinfo=UTC)


def forged(*content: object) -> str:
    """A cursor of any content."""
    return urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "values",
    [(1, "id"), (0.5, ""), (True, "é\x00🧂"), (NOON, "x" * 1_500), (float("-inf"), "a"), ({"count": 5}, "a")],
)
def test_a_cursor_comes_back_as_it_was(values: tuple[object, ...]) -> None:
    """Whatever a list is sorted by, with its type."""
    found = position("list", cursor("list", *values), *(type(each) for each in values))
    assert [(type(each), each) for each in found] == [(type(each), each) for each in values]


@pytest.mark.parametrize(
    "content",
    [
        ["other", 1, "id"],
        ["list", 1],
        ["list", 1, "id", "id"],
        ["list", True, "id"],
        ["list", {"time": "0001-01-01T00:00:00+14:00"}, "id"],
        ["list", "1", "id"],
        ["list", 2**63, "id"],
        ["list", 1, "\ud800"],
        ["list", {"time": "2025-09-04T12:00:00"}, "id"],
        ["list", {"time": "soon"}, "id"],
        ["list", {"count": 2**63}, "id"],
        ["list", {"count": "1"}, "id"],
        [],
    ],
)
def test_a_forged_cursor_is_refused(content: list[object]) -> None:
    """Another list, another number or type of values, what Firestore cannot store, times without a zone."""
    with pytest.raises(Unanswerable, match="after="):
        position("list", forged(*content), (int, float, datetime, dict), str)


def test_a_cursor_has_no_place_for_what_json_has_none_for() -> None:
    """It would not come back."""
    with pytest.raises(TypeError, match="a cursor has no place for b'a'"):
        cursor("list", b"a")


@pytest.mark.parametrize("aggregation", ["aggregates_actions", "aggregates_time_hours"])
@pytest.mark.parametrize("time", [None, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("entry", [None, "e1"])
@pytest.mark.parametrize("sums", [{}, {"grams": 1}])
def test_a_forged_place_in_an_explanation_harms_nothing(
    aggregation: str, time: datetime | None, entry: str | None, sums: dict[str, int]
) -> None:
    """It gives another page, or none; so do sums of other measures."""
    world = World()
    world.serve(3)
    key = "Served" if aggregation == "aggregates_actions" else "18"
    first = explain(world.store, world.source, world.home, aggregation, key, limit=1)
    assert first.after
    text = first.after.encode() + b"=" * (-len(first.after) % 4)
    kinds: list[Any] = [datetime, (datetime, NoneType), (str, NoneType), dict, dict]
    scope = json.loads(urlsafe_b64decode(text))[0]
    at, *_ = position(scope, first.after, *kinds)
    after = cursor(scope, at, time, entry, sums, sums)
    page = explain(world.store, world.source, world.home, aggregation, key, after=after)
    assert len(page.entries) <= 3
