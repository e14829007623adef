"""Stretches of time in which a zone's clock shows one hour of one date. Pure.

A time field's entries are counted by stretches of instants, both ends included: Firestore's instants
are whole microseconds. Local hours are not always the 60 minutes between two full hours of UTC: zones lie
half or three quarters of an hour apart, clocks change by 30 or 60 minutes, and before about 1900 offsets
had seconds. So a stretch ends where the local hour (or date) would end if the offset stayed, or where the
offset changes, whichever comes first.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from shared.aggregation import Grain
from shared.watermark import MICROSECOND

Stretch: TypeAlias = Literal["hour", "date"]
"""What stays the same in a stretch: the hour and the date, or only the date."""

_SECOND = timedelta(seconds=1)
_LENGTHS: dict[Stretch, timedelta] = {"hour": timedelta(hours=1), "date": timedelta(days=1)}
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_DAYS = timedelta(days=2)


def stretch_of(grain: Grain) -> Stretch:
    """The longest kind of stretch in which a time key of this grain has one value."""
    return "hour" if grain in ("hour", "date_hour") else "date"


def first_instant(zone: ZoneInfo) -> datetime:
    """The earliest instant (UTC) that has a date in ``zone``: west of Greenwich year 1 begins later."""
    return _FIRST + max(timedelta(0), -_offset(_FIRST + _DAYS, zone))


def last_instant(zone: ZoneInfo) -> datetime:
    """The latest instant (UTC) that has a date in ``zone``: east of Greenwich year 9999 ends earlier."""
    return _LAST - max(timedelta(0), _offset(_LAST - _DAYS, zone))


def cell_last(start: datetime, kind: Stretch, zone: ZoneInfo) -> datetime:
    """The last instant (UTC) of a stretch that begins at ``start`` and has one hour or date in ``zone``.

    ``start`` lies between `first_instant` and `last_instant`, and so does the answer.
    """
    offset = _offset(start, zone)
    length = _LENGTHS[kind]
    rest = length - ((start - _FIRST) + offset) % length
    final = last_instant(zone)
    last = start + rest - MICROSECOND if rest <= final - start else final
    return last if _offset(last, zone) == offset else _change(start, last, zone) - MICROSECOND


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """When the offset of ``start`` changes, given that ``end`` has another. Changes are on the second."""
    offset, base = _offset(start, zone), start.replace(microsecond=0)
    same, other = 0, -(-(end - base) // _SECOND)
    while other - same > 1:
        middle = (same + other) // 2
        if _offset(base + middle * _SECOND, zone) == offset:
            same = middle
        else:
            other = middle
    return base + other * _SECOND
