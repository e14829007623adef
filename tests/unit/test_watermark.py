"""Buckets round up, watermarks round down, and labels say what they cover."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.errors import SettingError, StateError, WatermarkAhead
from shared.watermark import (
    SAFETY_MARGIN,
    Bucket,
    bucket_of,
    check_lag,
    choose_watermark,
    is_fresh,
    next_watermark,
    open_amounts,
    parse_label,
    stored_watermark,
)

TEN_MINUTES = timedelta(minutes=10)
MICROSECOND = timedelta(microseconds=1)
W = datetime(2025, 9, 4, 19, 10, tzinfo=UTC)


def test_an_entry_at_the_watermark_belongs_to_the_bucket_it_closes() -> None:
    """Committed exactly at W, a microsecond before and after."""
    assert bucket_of(W, TEN_MINUTES).end == W
    assert bucket_of(W - MICROSECOND, TEN_MINUTES).end == W
    assert bucket_of(W + MICROSECOND, TEN_MINUTES).end == W + TEN_MINUTES


def test_labels_are_readable_and_read_back() -> None:
    """A label names the end and the length; other measures than the count add their name."""
    bucket = Bucket(W, TEN_MINUTES)
    assert bucket.label() == "t20250904T191000Z_600"
    assert parse_label(bucket.label()) == (bucket, "count")
    assert parse_label(bucket.label("milli_grams")) == (bucket, "milli_grams")


@pytest.mark.parametrize(
    "label", ["", "2025", "t20250904T191000Z", "t20250904T191000Z_0", "t20251304T191000Z_600", "x" * 30]
)
def test_what_is_no_label_is_refused(label: str) -> None:
    """A field that something else wrote into `recent` is not taken for a bucket."""
    with pytest.raises(ValueError, match=r"is not a bucket's label|month must be|day is out of range"):
        parse_label(label)


def test_the_watermark_trails_the_clock_and_closes_a_bucket() -> None:
    """`now - lag`, rounded down; an exact boundary stays."""
    now = datetime(2025, 9, 4, 19, 27, 3, 5, tzinfo=UTC)
    assert choose_watermark(now, TEN_MINUTES, TEN_MINUTES) == W
    assert choose_watermark(W + TEN_MINUTES, TEN_MINUTES, TEN_MINUTES) == W
    elsewhere = now.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert choose_watermark(elsewhere, TEN_MINUTES, TEN_MINUTES) == W


def test_a_bucket_is_cut_by_a_watermark_inside_it_only() -> None:
    """At its start and its end a bucket is wholly open or wholly closed."""
    bucket = Bucket(W, TEN_MINUTES)
    assert bucket.straddles(W - MICROSECOND)
    assert bucket.straddles(W - TEN_MINUTES + MICROSECOND)
    assert not bucket.straddles(W)
    assert not bucket.straddles(W - TEN_MINUTES)


def test_freshness_keeps_the_margin() -> None:
    """Younger than the lag less the margin; a short lag leaves nothing fresh, even from the future."""
    assert is_fresh(W, W + timedelta(minutes=5) - MICROSECOND, TEN_MINUTES)
    assert not is_fresh(W, W + timedelta(minutes=5), TEN_MINUTES)
    assert not is_fresh(W, W, SAFETY_MARGIN)
    assert is_fresh(W + timedelta(minutes=1), W, TEN_MINUTES)


def test_a_naive_time_is_refused() -> None:
    """It would mean whatever zone the machine is in."""
    naive = datetime(2025, 9, 4)  # noqa: DTZ001 - naive on purpose
    for ask in (
        lambda: bucket_of(naive, TEN_MINUTES),
        lambda: choose_watermark(naive, TEN_MINUTES, TEN_MINUTES),
        lambda: Bucket(naive, TEN_MINUTES),
    ):
        with pytest.raises(ValueError, match="must carry a time zone"):
            ask()


def test_the_stored_watermark_is_a_timestamp_or_nothing() -> None:
    """Before the first recompute there is none; anything else is damage, not 'none'."""
    assert stored_watermark(None) is None
    assert stored_watermark({"lease": {}}) is None
    assert stored_watermark({"timestamp": W}) == W
    with pytest.raises(StateError) as caught:
        stored_watermark({"timestamp": "2025-09-04"})
    assert str(caught.value) == (
        "the watermark's document holds timestamp='2025-09-04': expected a Timestamp; "
        "put back the watermark of the last completed run (see the runs collection)"
    )


NOW = datetime(2025, 9, 4, 19, 17, 29, tzinfo=UTC)
LAG = timedelta(minutes=10)


@pytest.mark.parametrize(
    "stored", [None, datetime(2025, 9, 4, 19, tzinfo=UTC), datetime(2025, 9, 1, tzinfo=UTC)]
)
def test_the_next_watermark_is_the_last_bucket_end_that_is_a_lag_old(stored: datetime | None) -> None:
    """Whatever was sealed before it."""
    assert next_watermark(NOW, stored, LAG, LAG) == (datetime(2025, 9, 4, 19, tzinfo=UTC), None)


def test_a_later_watermark_that_is_old_enough_is_used_again() -> None:
    """It was sealed under a shorter bucket length; a watermark never moves back."""
    stored = datetime(2025, 9, 4, 19, 5, tzinfo=UTC)
    assert next_watermark(NOW, stored, LAG, LAG) == (stored, None)


@pytest.mark.parametrize("stored", [datetime(2025, 9, 4, 19, 8, tzinfo=UTC), NOW])
def test_a_watermark_that_is_too_young_makes_the_run_wait(stored: datetime) -> None:
    """Another run may have corrected at it, and fresh commits may still pass it."""
    with pytest.raises(WatermarkAhead, match=f"run again after {stored + LAG:%Y-%m-%dT%H:%M:%S}"):
        next_watermark(NOW, stored, LAG, LAG)


def test_a_watermark_is_used_again_from_the_moment_that_it_is_a_lag_old() -> None:
    """Then no fresh commit can pass it; a microsecond earlier one might."""
    stored = NOW - LAG
    assert next_watermark(NOW, stored, LAG, LAG) == (stored, None)
    with pytest.raises(WatermarkAhead, match=r"by hand\. Nothing was changed; run again"):
        next_watermark(NOW, stored + MICROSECOND, LAG, LAG)


def test_a_watermark_in_the_future_is_set_back_with_a_note() -> None:
    """No run has corrected at it, for there is no snapshot of the future."""
    chosen, note = next_watermark(NOW, NOW + timedelta(seconds=1), LAG, LAG)
    assert chosen == datetime(2025, 9, 4, 19, tzinfo=UTC)
    assert note == (
        "the watermark 2025-09-04T19:17:30+00:00 lay in the future: set back to 2025-09-04T19:00:00+00:00"
    )


def test_a_naive_time_is_refused_by_name() -> None:
    """It would mean whatever zone the machine is in."""
    naive = datetime(2025, 1, 1)  # noqa: DTZ001 - on purpose
    with pytest.raises(ValueError, match=r"^now must carry a time zone"):
        choose_watermark(naive, LAG, LAG)
    with pytest.raises(ValueError, match=r"^a commit time must carry a time zone"):
        bucket_of(naive, LAG)
    with pytest.raises(ValueError, match=r"^a bucket's end must carry a time zone"):
        Bucket(naive, LAG)


@pytest.mark.parametrize("seconds", [0, 299, 300])
def test_a_lag_within_the_safety_margin_is_for_tests_only(seconds: int) -> None:
    """It leaves no entry fresh, and a run could pass entries that an older instance takes for fresh."""
    lag = timedelta(seconds=seconds)
    with pytest.raises(SettingError, match=rf"LIBRA_LAG_SECONDS='{seconds}': more than 300"):
        check_lag(lag, test=False)
    check_lag(lag, test=True)
    check_lag(timedelta(seconds=301), test=False)


def test_open_buckets_are_those_that_end_after_the_watermark() -> None:
    """By measure; without a watermark all are open; what Libra never writes counts for nothing."""
    before, after, far = Bucket(W, TEN_MINUTES), Bucket(W + TEN_MINUTES, TEN_MINUTES), W + timedelta(days=1)
    recent = {
        before.label(): 1,
        after.label(): 20,
        after.label("grams"): -300,
        bucket_of(far, TEN_MINUTES).label(): 5,
    }
    assert open_amounts(recent, W, far) == {"count": 25, "grams": -300}
    assert open_amounts(recent, W, far - MICROSECOND) == {"count": 20, "grams": -300}
    assert open_amounts(recent, None, far) == {"count": 26, "grams": -300}
    odd = {"junk": 7, "t99991231T235959Z_999999": 7, after.label("bool"): True, after.label("half"): 0.5}
    assert open_amounts(odd, W, far) == open_amounts("none", W, far) == open_amounts(None, None, far) == {}
