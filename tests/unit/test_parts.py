"""Parts by name, their join, the seal, and what a row of Redis says."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.parts import (
    MOST,
    Hour,
    Name,
    Part,
    Place,
    Unreadable,
    closed_through,
    counter_key,
    flaw,
    hour_of,
    join,
    part_field,
    parts_key,
    parts_pattern,
    place,
    read,
    sealed,
)

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
TODAY = date(2026, 11, 25)
AT = Place("acme", TODAY, NOON)
VALUES = st.integers(0, MOST)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=100)


@given(st.lists(VALUES, min_size=1), st.randoms())
def test_values_join_in_any_order_and_any_number_of_times(values: list[int], rng: st.DataObject) -> None:
    """Sorted, shuffled or repeated: the value is the largest, and the gains add up to it."""
    shuffled = values * 2
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # it is a random.Random
    value, gained = 0, 0
    for each in shuffled:
        joined = join(value, each)
        assert joined.value >= value
        value, gained = joined.value, gained + joined.gain
    assert value == gained == max(values)


@given(
    NAMES,
    NAMES,
    st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    VALUES,
    st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)
def test_a_part_is_read_back_as_it_was_named(
    merchant: str, metric: str, incarnation: str, value: int, instant: datetime
) -> None:
    """Whatever characters a merchant's id and a metric's name hold."""
    hour = hour_of(instant, ZoneInfo("Asia/Kolkata"))
    at = place(parts_key(merchant, hour).encode())
    assert at == Place(merchant, hour.date, hour.begin)
    assert isinstance(at, Place)
    found = read(at, part_field(metric, incarnation).encode(), str(value).encode(), now=instant)
    assert found == Part(Name(merchant, hour.date, metric, hour.begin, incarnation), value)


@given(
    st.sets(st.tuples(st.text("a:{}%7B", min_size=1), st.text("a:{}%7B", min_size=1)), min_size=2, max_size=2)
)
def test_two_names_never_share_a_key(names: set[tuple[str, str]]) -> None:
    """A colon or a brace in a name does not make it another one's."""
    keys = {(parts_key(merchant, Hour(NOON, TODAY)), part_field(metric, "i")) for merchant, metric in names}
    counters = {counter_key(merchant, TODAY, metric) for merchant, metric in names}
    assert len(keys) == len(counters) == 2


def test_keys_read_well_and_share_the_hash_tag_of_their_merchant() -> None:
    """The part of a key in braces decides its node in a cluster."""
    assert parts_key("acme", Hour(NOON, TODAY)) == "usage-parts:{acme}:2026-11-25:2026-11-25T12:00Z"
    assert counter_key("acme", TODAY, "requests") == "usage:{acme}:2026-11-25:requests"
    assert counter_key("a:b{}", TODAY, "x%") == "usage:{a%3Ab%7B%7D}:2026-11-25:x%25"
    assert parts_pattern() == "usage-parts:*"
    assert parts_pattern(day=TODAY) == "usage-parts:{*}:2026-11-25:*"
    assert parts_pattern("a*[b]", TODAY) == "usage-parts:{a\\*\\[b\\]}:2026-11-25:*"


@pytest.mark.parametrize(
    ("instant", "zone", "begin", "day"),
    [
        ("2026-11-25T23:59:59.999999+00:00", "UTC", "2026-11-25T23:00+00:00", "2026-11-25"),
        ("2026-11-25T18:29:59+00:00", "Asia/Kolkata", "2026-11-25T17:30+00:00", "2026-11-25"),
        ("2026-11-25T18:30:00+00:00", "Asia/Kolkata", "2026-11-25T18:30+00:00", "2026-11-26"),
        ("2026-10-25T00:30:00+00:00", "Europe/Zurich", "2026-10-25T00:00+00:00", "2026-10-25"),
        ("2026-10-25T01:30:00+00:00", "Europe/Zurich", "2026-10-25T01:00+00:00", "2026-10-25"),
    ],
)
def test_an_hour_is_an_hour_of_the_zone(instant: str, zone: str, begin: str, day: str) -> None:
    """Half an hour off, and the hour that comes twice when summer time ends."""
    hour = hour_of(datetime.fromisoformat(instant), ZoneInfo(zone))
    assert (hour.begin, hour.date) == (datetime.fromisoformat(begin), date.fromisoformat(day))
    assert hour.end - hour.begin == timedelta(hours=1)


def test_an_hour_is_sealed_once_it_was_over_for_long_enough() -> None:
    """Through an instant: the hour that ends there is sealed, the next one is not."""
    through = closed_through(NOON + timedelta(minutes=59), timedelta(hours=1))
    assert through == NOON - timedelta(hours=1)
    assert sealed(NOON - timedelta(hours=2), through)
    assert not sealed(NOON - timedelta(hours=1), through)
    assert not sealed(NOON - timedelta(hours=1, minutes=30), through)
    assert not sealed(NOON, None)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (b"usage-parts:acme:2026-11-25:2026-11-25T12:00Z", "is not usage-parts"),
        (b"usage-parts:{ac:me}:2026-11-25:2026-11-25T12:00Z", "is not usage-parts"),
        (b"usage-parts:{\xff}:2026-11-25:2026-11-25T12:00Z", "is not usage-parts"),
        (b"usage-parts:{acme}:2026-13-25:2026-11-25T12:00Z", "no date and hour"),
        (b"usage-parts:{acme}:2026-11-25:2026-11-28T12:00Z", "not of the date"),
        (b"usage-parts:{" + b"x" * 257 + b"}:2026-11-25:2026-11-25T12:00Z", "257 characters"),
    ],
)
def test_a_key_that_says_nothing_is_set_aside_with_its_reason(key: bytes, says: str) -> None:
    """The key is kept as text, so that an operator finds it."""
    found = place(key)
    assert isinstance(found, Unreadable)
    assert says in found.reason
    assert found.key.startswith("usage-parts:")


@pytest.mark.parametrize(
    ("field", "raw", "says"),
    [
        (b"requests", b"5", "METRIC:INCARNATION"),
        (b"a:b:i", b"5", "METRIC:INCARNATION"),
        (b"\xff:i", b"5", "METRIC:INCARNATION"),
        (b":i", b"5", "0 characters"),
        (b"requests:i", b"five", "no whole number"),
        (b"requests:i", b"-5", "no whole number"),
        (b"requests:i", b"1e3", "no whole number"),
        (b"requests:i", "٣".encode(), "no whole number"),
        (b"requests:i", b"9007199254740992", "above 9007199254740991"),
        (b"bytes:i", b"5", "not declared: requests"),
    ],
)
def test_a_field_that_says_nothing_is_set_aside_with_its_reason(field: bytes, raw: bytes, says: str) -> None:
    """And with what stands there."""
    metrics = frozenset({"requests"}) if field.startswith(b"bytes") else None
    found = read(AT, field, raw, now=NOON, metrics=metrics)
    assert isinstance(found, Unreadable)
    assert says in found.reason
    assert found.key == "usage-parts:{acme}:2026-11-25:2026-11-25T12:00Z"


def test_the_largest_value_is_read_and_the_future_is_not() -> None:
    """2^53 - 1 is exact. An hour that begins more than an hour from now was counted by a wrong clock."""
    assert read(AT, b"requests:i", b"9007199254740991", now=NOON) == Part(
        Name("acme", TODAY, "requests", NOON, "i"), MOST
    )
    assert isinstance(read(AT, b"requests:i", b"1", now=NOON - timedelta(hours=1)), Part)
    early = read(AT, b"requests:i", b"1", now=NOON - timedelta(hours=1, seconds=1))
    assert isinstance(early, Unreadable)
    assert "future" in early.reason


@pytest.mark.parametrize(
    ("merchant", "metric", "says"),
    [
        ("x" * 256, "requests", None),
        ("x" * 257, "requests", "257 characters"),
        ("", "requests", "0 characters"),
        (7, "requests", "the merchant is int"),
        ("acme", "x" * 101, "the metric has 101"),
        ("a\0b", "requests", "NUL"),
        ("a\ud800b", "requests", "surrogate"),
    ],
)
def test_a_name_that_cannot_be_counted_says_why(merchant: object, metric: object, says: str | None) -> None:
    """What was found and what is allowed."""
    found = flaw(merchant, metric)
    assert (found is None) if says is None else (found is not None and says in found)
