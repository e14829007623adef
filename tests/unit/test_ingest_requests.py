"""What may be asked of ingestion, and the parts that it is."""

from datetime import date, timedelta

import pytest

from services.ingestion.requests import EVENTS, Part, Request, RequestError, asked, is_final

TODAY = date(2026, 3, 3)


def test_what_is_not_said_is_today_and_the_four_days_before() -> None:
    """GA4 changes a day for 72 hours: each night loads again what may have changed until then."""
    found = asked(["page_view", "users", "page_view"], None, None, TODAY)
    assert found == Request(("page_view", "users"), TODAY - timedelta(4), TODAY)
    assert [str(it) for it in found.parts] == [
        "users",
        "page_view of 2026-02-27",
        "page_view of 2026-02-28",
        "page_view of 2026-03-01",
        "page_view of 2026-03-02",
        "page_view of 2026-03-03",
    ]


def test_days_go_before_types() -> None:
    """A job that ends early leaves whole days."""
    parts = list(asked(EVENTS, TODAY - timedelta(1), TODAY, TODAY).parts)
    assert parts[:6] == [Part(kind, TODAY - timedelta(1)) for kind in EVENTS]


@pytest.mark.parametrize(
    ("kinds", "first", "last", "reason"),
    [
        ([], None, None, "kinds: found none, allowed are one or more of purchase, "),
        (["shoes", "users"], None, None, "kinds: found 'shoes', allowed are purchase, "),
        (["users"], TODAY, None, "first and last: users come as files"),
        (
            ["purchase"],
            TODAY,
            TODAY - timedelta(1),
            "first: found 2026-03-03, which is after last, 2026-03-02",
        ),
        (
            ["purchase"],
            None,
            TODAY + timedelta(1),
            "last: found 2026-03-04, which is after today, 2026-03-03",
        ),
        (["purchase"], TODAY - timedelta(400), TODAY, "more than 400 days"),
    ],
)
def test_what_cannot_be_asked_says_why(
    kinds: list[str], first: date | None, last: date | None, reason: str
) -> None:
    """The message names the field, what was found and what is allowed."""
    with pytest.raises(RequestError) as found:
        asked(kinds, first, last, TODAY)
    assert reason in str(found.value)


@pytest.mark.parametrize(("age", "final"), [(0, False), (3, False), (4, True)])
def test_a_day_is_final_after_three_days_in_any_zone(age: int, final: bool) -> None:
    """The day itself ends 24 hours after it began."""
    assert is_final(TODAY - timedelta(age), TODAY) is final


def test_each_day_is_loaded_once_when_it_is_final() -> None:
    """By a job each night that says no days: none stays provisional, and none is loaded too early only."""
    final = set()
    for night in range(10):
        today = TODAY + timedelta(night)
        final |= {it.day for it in asked(["page_view"], None, None, today).parts if is_final(it.day, today)}  # type: ignore[arg-type]
    assert final == {TODAY + timedelta(number) for number in range(-4, 6)}


def test_the_first_days_of_the_calendar_can_be_asked_for() -> None:
    """There is no day before them."""
    assert asked(["page_view"], None, date.min, TODAY).first == date.min
