"""Stretches of time with one local hour or date, in every kind of zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.aggregation import TimeKey, Unusable
from shared.counting.cells import Stretch, cell_last, first_instant, last_instant
from shared.watermark import MICROSECOND

ZONES = [ZoneInfo(name) for name in sorted(available_timezones())]
KOLKATA, KATHMANDU, BERLIN = (
    ZoneInfo(f"{name}") for name in ("Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin")
)
LORD_HOWE, AMSTERDAM = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Europe/Amsterdam")


def at(text: str) -> datetime:
    """An instant of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "grain", "start", "last"),
    [
        (ZoneInfo("UTC"), "hour", "2025-09-04T18:57:29", "2025-09-04T18:59:59.999999"),
        (ZoneInfo("UTC"), "date", "2025-09-04T18:57:29", "2025-09-04T23:59:59.999999"),
        (KOLKATA, "hour", "2025-09-04T18:00:00", "2025-09-04T18:29:59.999999"),
        (KATHMANDU, "date", "2025-09-04T10:00:00", "2025-09-04T18:14:59.999999"),
        # 2025-10-26 01:00 UTC: three becomes two again in Berlin; the hour is the same, the stretch ends
        (BERLIN, "hour", "2025-10-26T00:30:00", "2025-10-26T00:59:59.999999"),
        # A date of 25 hours is two stretches
        (BERLIN, "date", "2025-10-25T22:00:00", "2025-10-26T00:59:59.999999"),
        # 2025-04-05 15:00 UTC: two becomes half past one on Lord Howe; the hour goes on for 30 minutes more
        (LORD_HOWE, "hour", "2025-04-05T14:00:00", "2025-04-05T14:59:59.999999"),
        (LORD_HOWE, "hour", "2025-04-05T15:00:00", "2025-04-05T15:29:59.999999"),
        # 2025-10-04 15:30 UTC: two becomes half past two on Lord Howe
        (LORD_HOWE, "hour", "2025-10-04T15:30:00", "2025-10-04T15:59:59.999999"),
        # Local mean time of Berlin was 53 minutes and 28 seconds ahead
        (BERLIN, "hour", "1890-01-01T00:00:00", "1890-01-01T00:06:31.999999"),
    ],
)
def test_a_stretch_ends_with_the_local_hour_or_where_the_offset_changes(
    zone: ZoneInfo, grain: Stretch, start: str, last: str
) -> None:
    """Half-hour zones, both kinds of clock change, offsets with seconds."""
    assert cell_last(at(start), grain, zone) == at(last)


@given(
    st.sampled_from(ZONES),
    st.sampled_from(["hour", "date"]),
    st.datetimes(timezones=st.just(UTC)),
    st.floats(0, 1),
)
def test_a_stretch_has_one_hour_and_one_date(
    zone: ZoneInfo, grain: Stretch, start: datetime, share: float
) -> None:
    """At both ends and anywhere between, in any zone and year."""
    start = min(max(start, first_instant(zone)), last_instant(zone))
    last = cell_last(start, grain, zone)
    assert start <= last <= last_instant(zone)
    key = TimeKey("t", grain, zone)
    assert len({key.of({"t": instant}) for instant in (start, start + share * (last - start), last)}) == 1


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.key)
def test_what_is_counted_is_what_has_a_date(zone: ZoneInfo) -> None:
    """The first and last instants have a date in the zone; a microsecond further there is none."""
    key = TimeKey("t", "date", zone)
    for edge, step in ((first_instant(zone), -MICROSECOND), (last_instant(zone), MICROSECOND)):
        key.of({"t": edge})
        with pytest.raises((Unusable, OverflowError)):
            key.of({"t": edge + step})


@pytest.mark.parametrize("zone", [BERLIN, LORD_HOWE, KATHMANDU, AMSTERDAM], ids=lambda zone: zone.key)
def test_stretches_cover_a_year_without_gap_or_overlap(zone: ZoneInfo) -> None:
    """Each hour that a clock showed in that year is one stretch, or two where the clock changed in it."""
    instant, end, stretches = at("1937-01-01T00:00:00"), at("1938-01-01T00:00:00"), 0
    while instant < end:
        instant = cell_last(instant, "hour", zone) + MICROSECOND
        stretches += 1
    assert 8_760 <= stretches <= 8_764
    assert instant - end < timedelta(hours=1)
