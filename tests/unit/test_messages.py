"""What a message says: an event, or why it holds none; and when Libra accepted it."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.messages import LONGEST_AGO, UnreadableError, accepted, decode, plain
from shared.topics import ACCEPTED

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=2)

UNREADABLE = {
    b"\xff\xfe": "bytes that are not UTF-8",
    b"": "text that is not JSON",
    b"{": "text that is not JSON",
    b'{"value": NaN}': "text that is not JSON",
    b'{"value": -Infinity}': "text that is not JSON",
    b"[" * 100_000: "JSON that is nested too deeply",
}


@pytest.mark.parametrize(("data", "why"), UNREADABLE.items(), ids=lambda it: repr(it)[:20])
def test_what_holds_no_json_says_why_and_not_what(data: bytes, why: str) -> None:
    """The reason goes into a record and a log: nothing of the content does."""
    with pytest.raises(UnreadableError, match=f"^{why}$"):
        decode(data)


@pytest.mark.parametrize("data", [b'{"a": 1}', b"[]", b"null", b'"text"', '{"ä": "🌶️"}'.encode()])
def test_any_json_goes_on_to_the_schema(data: bytes) -> None:
    """The schema says what an event is."""
    decode(data)


@pytest.mark.parametrize(
    ("attributes", "when"),
    [
        ({}, NOW),
        ({ACCEPTED: EARLIER.isoformat()}, EARLIER),
        ({ACCEPTED: "2026-11-23T12:00:00Z"}, EARLIER),
        ({ACCEPTED: (NOW + timedelta(hours=1)).isoformat()}, NOW),
        ({ACCEPTED: "2026-11-23T12:00:00"}, NOW),
        ({ACCEPTED: "yesterday"}, NOW),
        ({ACCEPTED: ""}, NOW),
        ({ACCEPTED: "2026-11-23T13:00:00+01:00"}, EARLIER),
        ({ACCEPTED: "0001-01-01T00:00:00+23:59"}, NOW),
        ({ACCEPTED: "1970-01-01T00:00:00Z"}, NOW),
        ({ACCEPTED: (NOW - LONGEST_AGO).isoformat()}, NOW - LONGEST_AGO),
        ({ACCEPTED: (NOW - LONGEST_AGO - timedelta(microseconds=1)).isoformat()}, NOW),
    ],
)
def test_an_event_is_judged_as_of_when_it_was_accepted(attributes: dict[str, str], when: datetime) -> None:
    """A replay names the time of the first publication; what is no such time is passed over.

    It is in UTC: Beam takes no other, and a time that has none in UTC would fail each try of its bundle.
    """
    found = accepted(attributes, NOW)
    assert (found, found.tzinfo) == (when, UTC)


def test_a_time_of_pubsubs_becomes_an_ordinary_one() -> None:
    """The client's own class loses its nanoseconds in arithmetic, and raises later."""
    time = plain(NOW + timedelta(microseconds=7))
    assert type(time) is datetime
    assert time == NOW + timedelta(microseconds=7)
